"""The C source code of a network of dense layers, with a program that tests it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.data.tables.columns import TableColumns
from limbeck.deploy.c_code.dense import DenseLayer, DenseNetwork
from limbeck.deploy.c_code.templates import CLASS, DENSE, TEST
from limbeck.models.table import TableEncoder

PER_LINE = 8
"""Number of values per line of an array."""
DIFFERENCE = "1e-4f"
"""Largest difference of an output, as a share of the input's largest one (of 1 at least)."""


@dataclass(frozen=True)
class SourceCode:
    """A network, and what its source code says about it.

    Attributes:
        network: Network.
        title: Description of the student for the first comment.
        inputs: Number of values of one input.
        is_bytes: Whether they are bytes (pixels from 0 to 255); floats otherwise.
        names: Names of the outputs.
        is_classifier: Whether the largest output is the class.
        columns: Columns of a table, or None.
        thresholds: Logits from which each of several labels applies, or None.
    """

    network: DenseNetwork
    title: str
    inputs: int
    is_bytes: bool
    names: Sequence[str]
    is_classifier: bool
    columns: TableColumns | None = None
    thresholds: np.ndarray | None = None

    @property
    def buffer_bytes(self) -> int:
        """Memory in bytes between the layers, which is fixed."""
        return 4 * sum(self._buffer_sizes())

    def _buffer_sizes(self) -> tuple[int, int]:
        """Return the numbers of floats of both buffers, which take turns."""
        widths = [len(layer.bias) for layer in self.network.layers[:-1]]
        encoder = self.network.encoder
        if encoder is not None:
            widths.insert(0, encoder.width)
        return max(widths[::2], default=0), max(widths[1::2], default=0)

    def header(self) -> str:
        """Return ``model.h``."""
        kind = "unsigned char" if self.is_bytes else "float"
        lines = [
            f"/* {_comment(self.title)} */",
            "#ifndef MODEL_H",
            "#define MODEL_H",
            "",
            f"#define MODEL_INPUTS {self.inputs}",
            f"#define MODEL_OUTPUTS {len(self.names)}",
            "",
            f"typedef {kind} model_input;",
            "",
            *self._input_comment(),
            "void model_run(const model_input inputs[MODEL_INPUTS], float outputs[MODEL_OUTPUTS]);",
            "",
        ]
        if self.is_classifier:
            lines += [
                "/* Return the number of the class with the largest output. */",
                "int model_class(const model_input inputs[MODEL_INPUTS]);",
                "",
            ]
        if self.thresholds is not None:
            lines += [
                "/* A label applies if its output is at least this. */",
                "extern const float model_thresholds[MODEL_OUTPUTS];",
                "",
            ]
        lines += [
            "/* Names of the outputs. */",
            "extern const char *const model_names[MODEL_OUTPUTS];",
            "",
            "#endif",
        ]
        return "\n".join(lines) + "\n"

    def _input_comment(self) -> list[str]:
        outputs = "the values, in their own units"
        if self.is_classifier or self.thresholds is not None:
            outputs = f"a logit for each {'class' if self.is_classifier else 'label'}"
        lines = [f"/* Compute outputs: {outputs}.", " *"]
        if self.columns is not None:
            lines.append(" * Inputs are the columns of a row; NAN is a missing value:")
            pairs = zip(self.columns.names, self.columns.categories, strict=True)
            for number, (name, categories) in enumerate(pairs):
                codes = [f"{code} {category}" for code, category in enumerate(categories or ())]
                values = ", ".join(codes) if codes else "a number"
                lines.append(f" *   {number}. {_comment(name)}: {_comment(values)}")
        elif self.is_bytes:
            lines.append(" * Inputs are pixels from 0 to 255: channel by channel, row by row.")
        else:
            lines.append(" * Inputs are values as in the training data, in the same order.")
        return [*lines, " * Not reentrant: the memory between the layers is static. */"]

    def model(self) -> str:
        """Return ``model.c``."""
        layers = self.network.layers
        first, second = self._buffer_sizes()
        parts = [
            f"/* {_comment(self.title)} */",
            '#include "model.h"',
            self._names(),
            *self._thresholds(),
            *(_layer_arrays(number, layer) for number, layer in enumerate(layers)),
        ]
        if first:
            parts.append(f"static float buffer_0[{first}];")
        if second:
            parts.append(f"static float buffer_1[{second}];")
        if self.network.encoder is not None:
            parts.append(_encoder(self.network.encoder))
            parts.append(_dense("dense", "float", layers[0]))
        else:
            parts.append(_dense("dense_first", "model_input", layers[0]))
            if len(layers) > 1:
                parts.append(_dense("dense", "float", layers[0]))
        parts.append(self._run())
        if self.is_classifier:
            parts.append(CLASS)
        return "\n\n".join(parts) + "\n"

    def _names(self) -> str:
        names = ",\n".join(f"    {_string(name)}" for name in self.names)
        return f"const char *const model_names[MODEL_OUTPUTS] = {{\n{names},\n}};"

    def _thresholds(self) -> list[str]:
        if self.thresholds is None:
            return []
        return [_array("const float model_thresholds[MODEL_OUTPUTS]", self.thresholds)]

    def _run(self) -> str:
        lines = [
            "void model_run(const model_input inputs[MODEL_INPUTS], float outputs[MODEL_OUTPUTS])",
            "{",
        ]
        source, buffer = "inputs", 0
        function = "dense_first"
        if self.network.encoder is not None:
            lines.append("    encode(inputs, buffer_0);")
            source, buffer, function = "buffer_0", 1, "dense"
        for number, layer in enumerate(self.network.layers):
            is_last = number == len(self.network.layers) - 1
            target = "outputs" if is_last else f"buffer_{buffer}"
            width, inputs = layer.weight.shape
            scale = "" if layer.scale is None else f"scale_{number}, "
            lines.append(
                f"    {function}({source}, {inputs}, {width}, weight_{number}, bias_{number}, "
                f"{scale}{int(layer.relu)}, {target});"
            )
            source, buffer, function = target, 1 - buffer, "dense"
        return "\n".join([*lines, "}"])

    def test(self, golden: np.ndarray, outputs: np.ndarray) -> str:
        """Return ``test.c``, which compares outputs with those of the student.

        Args:
            golden: Inputs, ``[N, inputs]``.
            outputs: Outputs of the student, ``[N, outputs]``.
        """
        rows = golden.reshape(len(golden), -1)
        kind = "model_input" if self.is_bytes else "float"
        return TEST.substitute(
            count=len(rows),
            difference=DIFFERENCE,
            inputs=_matrix(f"static const {kind} inputs[COUNT][MODEL_INPUTS]", rows),
            outputs=_matrix("static const float expected[COUNT][MODEL_OUTPUTS]", outputs),
        )


def _layer_arrays(number: int, layer: DenseLayer) -> str:
    """Return the arrays of a layer. Weights of one input are neighbours, so that 0 is skipped."""
    kind = "float" if layer.scale is None else "signed char"
    parts = [_array(f"static const {kind} weight_{number}[]", layer.weight.T)]
    if layer.scale is not None:
        parts.append(_array(f"static const float scale_{number}[]", layer.scale))
    parts.append(_array(f"static const float bias_{number}[]", layer.bias))
    return "\n".join(parts)


def _dense(name: str, kind: str, layer: DenseLayer) -> str:
    """Return the function that computes a dense layer of inputs of a type."""
    if layer.scale is None:
        weight, scale, result = "float", "", "y[o] + bias[o]"
    else:
        weight, scale, result = "signed char", "const float *scale, ", "y[o] * scale[o] + bias[o]"
    return DENSE.substitute(name=name, kind=kind, weight=weight, scale=scale, result=result)


def _encoder(encoder: TableEncoder) -> str:
    """Return the function that encodes a row of a table."""
    arrays, loops, start = [], [], 0
    numbers = [column for column, size in enumerate(encoder.sizes) if size == 0]
    if numbers:
        arrays += [
            _array("static const int number_columns[]", encoder.number_columns.numpy()),
            _array("static const float mean[]", encoder.mean.numpy()),
            _array("static const float deviation[]", encoder.std.numpy()),
        ]
        loops += [
            f"    for (i = 0; i < {len(numbers)}; i++) {{",
            "        float value = (row[number_columns[i]] - mean[i]) / deviation[i];",
            "        x[i] = value == value ? value : 0.0f; /* NAN differs from itself */",
            "    }",
        ]
        start = len(numbers)
    if any(encoder.sizes):
        arrays += [
            _array("static const int category_columns[]", encoder.category_columns.numpy()),
            _array("static const float codes[]", encoder.codes.numpy()),
        ]
        pairs = len(encoder.codes)
        loops += [
            f"    for (i = 0; i < {pairs}; i++)",
            f"        x[{start} + i] = row[category_columns[i]] == codes[i] ? 1.0f : 0.0f;",
        ]
        start += pairs
    if any(encoder.gaps):
        arrays.append(_array("static const int gap_columns[]", encoder.gap_columns.numpy()))
        loops += [
            f"    for (i = 0; i < {sum(encoder.gaps)}; i++) {{",
            "        float value = row[gap_columns[i]];",
            f"        x[{start} + i] = value != value ? 1.0f : 0.0f;",
            "    }",
        ]
    body = "\n".join(loops)
    function = f"static void encode(const float *row, float *x)\n{{\n    int i;\n{body}\n}}"
    return "\n".join(arrays) + "\n\n" + function


def _array(declaration: str, values: np.ndarray) -> str:
    """Return the definition of an array."""
    texts = [_number(value) for value in values.ravel()]
    lines = [
        "    " + ", ".join(texts[start : start + PER_LINE]) + ","
        for start in range(0, len(texts), PER_LINE)
    ]
    return "\n".join([f"{declaration} = {{", *lines, "};"])


def _matrix(declaration: str, rows: np.ndarray) -> str:
    """Return the definition of an array of two dimensions."""
    lines = ["    {" + ", ".join(map(_number, row)) + "}," for row in rows]
    return "\n".join([f"{declaration} = {{", *lines, "};"])


def _number(value: np.generic) -> str:
    """Return a number as C reads it back exactly."""
    if isinstance(value, np.integer):
        return str(int(value))
    if np.isnan(value):
        return "NAN"
    text = f"{float(value):.9g}"
    if not any(mark in text for mark in ".e"):
        text += ".0"
    return text + "f"


def _string(text: str) -> str:
    """Return a C string; other bytes than plain letters are written as octal numbers."""
    pieces = []
    for byte in text.encode():
        is_plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        pieces.append(chr(byte) if is_plain else f"\\{byte:03o}")
    return '"' + "".join(pieces) + '"'


def _comment(text: str) -> str:
    """Return text without what would end a comment, on one line."""
    return " ".join(text.replace("*/", "* /").replace("\\", "/").replace("??", "? ?").split())
