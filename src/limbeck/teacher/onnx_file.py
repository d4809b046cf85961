"""ONNX files as data: one model with all its weights, its inputs and its outputs.

A model may keep its weights in other files. They are read only from its own folder, and become part
of the content, so that one digest stands for the whole model. ONNX Runtime then reads no file.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import ResourceError, TeacherError, UntrustedFileError
from limbeck._base.printable import printable
from limbeck._base.reading import read_bytes
from limbeck._base.runtime.bundle_files import MAX_MODEL_BYTES

if TYPE_CHECKING:
    from onnx import ModelProto

PROBABILITIES, LOG_PROBABILITIES, SIGMOID, LOGITS = (
    "probabilities",
    "log-probabilities",
    "sigmoid",
    "logits",
)
"""What an output holds."""
PASSING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")
"""Operators that leave the meaning of an output as it is."""
MEANINGS = {"Softmax": PROBABILITIES, "LogSoftmax": LOG_PROBABILITIES, "Sigmoid": SIGMOID}
CLASSIFIERS = ("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier", "ZipMap")
"""Operators of ``ai.onnx.ml`` that output a label and probabilities."""
FLOATS = (1, 10, 11, 16)
"""Types of tensors that hold logits: float32, float16, float64, bfloat16."""
MAX_STEPS = 100
MAX_NAMES = 5


@dataclass(frozen=True)
class OnnxOutput:
    """An output of a model.

    Attributes:
        name: Name of the output.
        meaning: Kind of its numbers, one of the words above.
    """

    name: str
    meaning: str


def read_onnx(file: Path) -> bytes:
    """Read an ONNX model, with its weights in other files of its folder, as one file.

    Raises:
        TeacherError: If there is no such file.
        UntrustedFileError: If it is damaged or too large, or reads files elsewhere.
    """
    content = _read(file)
    if b"location" not in content:
        return content
    model = parse_onnx(content, str(file), allow_other_files=True)
    tensors = list(_outside_tensors(model))
    if not tensors:
        return content
    files: dict[str, bytes] = {}
    for tensor in tensors:
        _read_into(tensor, file, files)
    try:
        return model.SerializeToString(deterministic=True)
    except ValueError:  # a limit of Protocol Buffers
        raise UntrustedFileError(f"{file} and its weights are larger than 2 GiB.") from None


def parse_onnx(content: bytes, name: str, *, allow_other_files: bool = False) -> "ModelProto":
    """Parse an ONNX model.

    Args:
        content: Content of the file.
        name: Name of the file, for messages.
        allow_other_files: Whether the weights may be in other files.

    Raises:
        ResourceError: If onnx is not installed.
        UntrustedFileError: If it is damaged, or reads other files.
    """
    try:
        import onnx
    except ImportError:
        raise ResourceError(
            "An ONNX teacher needs onnx and onnxruntime, which are not installed. Install them "
            "with 'pip install onnx onnxruntime'."
        ) from None
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # the parser documents no common base class
        reason = " ".join(str(error).split())[:100]
        raise UntrustedFileError(
            f"{name} is damaged, or not an ONNX model ({reason}). Copy or download it again."
        ) from None
    if not model.graph.node or not model.graph.output:
        raise UntrustedFileError(f"{name} is damaged, or not an ONNX model: it has no graph.")
    if not allow_other_files and any(True for _ in _outside_tensors(model)):
        raise UntrustedFileError(
            f"{name} reads other files, which a copy of a model must not do. Choose the original."
        )
    return model


def count_weights(model: "ModelProto") -> int:
    """Count the numbers of floating-point type among the constants of a model."""
    sizes = [math.prod(tensor.dims) for tensor in _tensors(model) if tensor.data_type in FLOATS]
    return sum(sizes)


def choose_output(model: "ModelProto", name: str, classes: int | None) -> OnnxOutput:
    """Choose the output with the logits or probabilities.

    Args:
        model: Model.
        name: Name of the file, for messages.
        classes: Number of classes of the data; None if it is not known.

    Raises:
        TeacherError: If no output, or more than one, may be it.
    """
    outputs = list(model.graph.output)
    tensors = [output for output in outputs if output.type.tensor_type.elem_type in FLOATS]
    candidates = [output for output in tensors if output.name == "logits"] or tensors
    if len(candidates) > 1:
        candidates = [o for o in candidates if classes in (None, _last_side(o))] or candidates
    if len(candidates) != 1:
        raise TeacherError(_advice(name, outputs, len(tensors)))
    output = candidates[0].name
    return OnnxOutput(output, _meaning(model, output))


def _read(file: Path) -> bytes:
    try:
        return read_bytes(file, MAX_MODEL_BYTES)
    except FileNotFoundError:
        raise TeacherError(f"{file} does not exist. Choose an ONNX model.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UntrustedFileError(f"{file} cannot be read: {reason}.") from None


def _read_into(tensor: Any, file: Path, files: dict[str, bytes]) -> None:
    """Read the values of a tensor from another file in the folder of its model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = str(entries.get("location", ""))  # bytes if it is not UTF-8
    other = file.parent / location
    if location not in files:
        if Path(location).name != location:
            raise UntrustedFileError(
                f"{file} reads {printable(location)!r}, which is not a file of its folder."
            )
        # a cache may link to both files, in one other folder
        is_neighbour = other.resolve().parent == file.resolve().parent
        if other.exists() and not is_neighbour:
            raise UntrustedFileError(
                f"{other} is a link to another folder, so {file} may not read it. Copy it here."
            )
        if not other.exists():
            raise TeacherError(
                f"{file} needs the file {printable(location)!r} with its weights next to it."
            )
        files[location] = _read(other)
    try:
        start = int(entries.get("offset", 0))
        end = start + int(entries["length"]) if "length" in entries else len(files[location])
    except ValueError:
        start, end = -1, -1
    if not 0 <= start <= end <= len(files[location]):
        raise UntrustedFileError(
            f"{other} is damaged or does not belong to {file}: it has no bytes {start} to {end}."
        )
    tensor.raw_data = files[location][start:end]
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def _outside_tensors(model: "ModelProto") -> Iterator[Any]:
    """Yield the tensors whose values are in other files."""
    for tensor in _tensors(model):
        if tensor.data_location != 0 or tensor.external_data:
            yield tensor


def _tensors(model: "ModelProto") -> Iterator[Any]:
    """Yield all constants of a model, also those of its functions and of graphs in nodes."""
    yield from _tensors_of(model.graph)
    for function in model.functions:
        yield from _tensors_of(function)


def _tensors_of(graph: Any) -> Iterator[Any]:
    for tensor in getattr(graph, "initializer", ()):
        yield tensor
    for tensor in getattr(graph, "sparse_initializer", ()):
        yield from (tensor.values, tensor.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors_of(inner)


def _meaning(model: "ModelProto", output: str) -> str:
    """Say what an output holds, by the operator that computes it."""
    producers = {name: node for node in model.graph.node for name in node.output}
    name = output
    for _ in range(MAX_STEPS):
        node = producers.get(name)
        if node is None or node.op_type not in PASSING or not node.input:
            break
        name = node.input[0]
    if node is not None and node.op_type in MEANINGS:
        return MEANINGS[node.op_type]
    is_classifier = any(node.op_type in CLASSIFIERS for node in model.graph.node)
    is_label = node is not None and node.op_type in CLASSIFIERS
    if is_label or (is_classifier and "prob" in str(output).lower()):
        return PROBABILITIES
    return LOGITS


def _last_side(output: Any) -> int | None:
    sides = output.type.tensor_type.shape.dim
    return sides[-1].dim_value if sides else None


def _advice(name: str, outputs: Sequence[Any], tensors: int) -> str:
    names = ", ".join(printable(output.name) for output in outputs[:MAX_NAMES])
    if tensors:
        return (
            f"{name} has several outputs that may be logits ({names}). limbeck uses the one of the "
            "name logits: give it this name when you export the model."
        )
    advice = "Export it with its logits as an output."
    if any(output.type.HasField("sequence_type") for output in outputs):
        advice = (
            "Probabilities as dictionaries cannot be read: convert the model with "
            "options={'zipmap': False}."
        )
    return f"{name} has no output of floating-point numbers ({names}). {advice}"
