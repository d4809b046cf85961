"""From a PyTorch model to ONNX: raw inputs in, logits out, normalisation inside, no trace of this
machine.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base import bundle_runtime as runtime
from limbeck._base.errors import ConfigError, ExportError, ResourceError
from limbeck._base.files import write_atomically
from limbeck.data.dataset import as_float

INPUT, OUTPUT = "inputs", "logits"
CALIBRATION = 512
"""Training inputs from which static quantisation takes the ranges of activations."""
BATCH = 256
LARGEST_MODEL = (1 << 31) - (1 << 20)
"""Bytes that fit into one file of Protocol Buffers."""


class _FromRaw(nn.Module):
    """A model that takes inputs as the data set holds them: bytes of images, or floats."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(as_float(inputs))


def need_onnx() -> None:
    """Check that the libraries of the extra ``export`` are there.

    Raises:
        ResourceError: they are not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ResourceError(
            f"{error.name} is not installed: pip install 'limbeck[export]'"
        ) from None


def to_onnx(model: nn.Module, example: Tensor) -> Any:
    """Export a model by PyTorch's exporter for graphs (dynamo), with any number of inputs at once.

    Args:
        model: takes floats; put into eval mode.
        example: at least two inputs as the data set holds them, uint8 ``[N, C, H, W]`` or float32
            ``[N, ...]``.

    Returns:
        An ``onnx.ModelProto`` with input ``inputs`` and output ``logits`` ``[N, classes]``.

    Raises:
        ConfigError: the exporter cannot express the model.
        ResourceError: the model is too large for one file, or libraries are missing.
    """
    need_onnx()
    import onnx

    whole = _FromRaw(model.float().cpu().eval()).eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                whole,
                (example[:2].cpu(),),
                dynamo=True,
                verbose=False,
                optimize=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"inputs": {0: torch.export.Dim("N")}},
            )
    except Exception as error:  # the exporter and the libraries below it raise anything
        raise ConfigError(f"This model cannot be exported to ONNX: {_reason(error)}") from error
    assert program is not None
    exported = program.model_proto
    _forget_origin(exported)
    if exported.ByteSize() > LARGEST_MODEL:
        raise ResourceError(
            f"The model takes {exported.ByteSize() / 1e9:.1f} GB; an ONNX file holds at most 2 GB."
        )
    onnx.checker.check_model(exported, full_check=True)
    return exported


def calibration_inputs(inputs: Tensor) -> np.ndarray:
    """Some training inputs, drawn evenly, the same for the same split."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    return inputs[order[:CALIBRATION].sort().values].numpy()


def quantize(exported: Any, calibration: np.ndarray, folder: Path) -> Any:
    """A model with 8-bit weights and activations.

    Both are unsigned: products of signed weights overflow on older processors, and answers would
    differ there.
    Convolutions are quantised statically: the ranges of activations come from calibration inputs.
    Models without any
    are quantised dynamically: each batch has its own ranges.

    Args:
        exported: an ``onnx.ModelProto`` of :func:`to_onnx`.
        calibration: inputs of the training split.
        folder: for files that are needed on the way.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ConfigError: the quantiser cannot do it.
    """
    import onnx

    plain, small = folder / "plain.onnx", folder / "small.onnx"
    onnx.save(exported, plain)
    try:
        _quantize(plain, small, calibration, static=has_convolutions(exported))
    except Exception as error:  # the quantiser raises anything
        raise ConfigError(
            f"This model cannot be brought to 8 bits: {_reason(error)}. Export with int8=false."
        ) from error
    quantized = onnx.load(small)
    _forget_origin(quantized)
    return quantized


def _quantize(plain: Path, small: Path, calibration: np.ndarray, *, static: bool) -> None:
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    with _quiet():
        if static:
            quantize_static(
                plain,
                small,
                _Calibration(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        else:
            quantize_dynamic(plain, small, per_channel=True, weight_type=QuantType.QUInt8)


def onnx_logits(model: bytes, kind: str, inputs: Tensor, class_names: Sequence[str]) -> np.ndarray:
    """Logits ``[N, classes]`` of inputs as a device has them from an exported model.

    Args:
        model: the bytes of the file.
        kind: ``fp32`` or ``int8``, for messages.
        inputs: as the data set holds them, ``[N, ...]``.
        class_names: in the order of the logits.

    Raises:
        ExportError: the model cannot be run.
    """
    loaded = runtime.Model(model, runtime.KINDS[kind], class_names)
    try:
        return np.concatenate([loaded.logits(part.numpy()) for part in inputs.split(BATCH)])
    except runtime.BundleError as error:
        raise ExportError(f"the exported model cannot be run: {error}") from None


def has_convolutions(exported: Any) -> bool:
    """Whether a graph holds one."""
    return any(node.op_type.startswith("Conv") for node in exported.graph.node)


class _Calibration:
    """Inputs in batches, as ONNX Runtime asks for them."""

    def __init__(self, inputs: np.ndarray, batch: int = 64):
        self._batches: Iterable[np.ndarray] = iter(
            [inputs[k : k + batch] for k in range(0, len(inputs), batch)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the input's name, or None."""
        batch = next(self._batches, None)  # type: ignore[call-overload]
        return None if batch is None else {INPUT: batch}


def _forget_origin(model: Any) -> None:
    """Remove notes on where the model came from: stack traces with paths of this machine among
    them.
    """
    model.doc_string = model.producer_version = ""
    model.producer_name = "limbeck"
    del model.metadata_props[:]
    for function in model.functions:
        _forget_in(function)
    _forget_in(model.graph)


def _forget_in(part: Any) -> None:
    """Likewise in a graph or a function, and in what they hold."""
    part.doc_string = ""
    del part.metadata_props[:]
    for name in ("input", "output", "value_info", "initializer"):
        for value in getattr(part, name, ()):
            if not isinstance(value, str):
                value.doc_string = ""
                del value.metadata_props[:]
    for node in part.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                _forget_in(graph)


@contextlib.contextmanager
def _quiet() -> Any:
    """Exporters talk much: to the log, in warnings and on standard output."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]


def write_model(model: Any, path: Path) -> None:
    """Write an ``onnx.ModelProto`` atomically, all in one file."""
    write_atomically(
        path, lambda temporary: temporary.write_bytes(model.SerializeToString(deterministic=True))
    )
