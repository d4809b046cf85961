"""Export of PyTorch models to ONNX: raw inputs in, logits out, normalisation inside the model."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.compiler_cache import use_private_compiler_cache
from limbeck._base.errors import ConfigError, ExportError, ResourceError
from limbeck._base.files import write_bytes
from limbeck._base.runtime.errors import BundleError
from limbeck._base.runtime.file_names import KINDS
from limbeck._base.runtime.model import Model
from limbeck.data.dataset import as_float
from limbeck.data.padding import cut_padding
from limbeck.deploy.exporters import FromRawInputs, cause_of, quiet
from limbeck.deploy.onnx_layers import INPUT, OUTPUT, layers_to_onnx
from limbeck.models.output import without_wrapper

if TYPE_CHECKING:
    from onnx import ModelProto

CALIBRATION_INPUTS = 512
"""Number of training inputs that calibrate static quantisation."""
BATCH = 256
MAX_MODEL_SIZE = (1 << 31) - (1 << 20)
"""Maximum size of an ONNX file in bytes, a limit of Protocol Buffers."""


def check_onnx_is_installed() -> None:
    """Check that the libraries for the export are installed.

    Raises:
        ResourceError: If one is missing.
    """
    for name in ("onnx", "onnxruntime", "onnxscript"):
        if find_spec(name) is None:  # importing them takes seconds
            raise ResourceError(
                f"The export needs {name}, which is not installed. Install it with 'pip install "
                "onnx onnxscript onnxruntime'."
            )


def to_onnx(model: nn.Module, example: Tensor) -> "ModelProto":
    """Export a model, for any batch size.

    The graphs of plain networks are written by :func:`~limbeck.deploy.onnx_layers.layers_to_onnx`,
    those of others by PyTorch's dynamo exporter.

    Args:
        model: Model on floats or token ids, which is set to eval mode.
        example: At least two inputs as in the dataset, uint8 ``[N, C, H, W]``, float32
            ``[N, ...]``, or token ids int32 ``[N, L]``. Texts may then have any length up to L.

    Returns:
        The ONNX model with input ``inputs`` and output ``logits`` ``[N, classes]``.

    Raises:
        ConfigError: If the model cannot be exported.
        ResourceError: If the model is too large for one file, or a library is missing.
    """
    check_onnx_is_installed()
    import onnx

    plain_model = model.float().cpu().eval()
    _check_size(sum(weight.nbytes for weight in plain_model.state_dict().values()))
    model_proto = layers_to_onnx(plain_model, example)
    if model_proto is None or not _has_same_outputs(model_proto, plain_model, example[:2]):
        model_proto = _export(plain_model, example)
    _remove_origin(model_proto)
    _check_size(model_proto.ByteSize())
    onnx.checker.check_model(model_proto, full_check=True)
    return model_proto


def _check_size(size: int) -> None:
    if size > MAX_MODEL_SIZE:
        raise ResourceError(
            f"The model takes {size / 1e9:.1f} GB, but an ONNX file can hold at most 2 GB."
        )


def _has_same_outputs(model_proto: "ModelProto", model: nn.Module, inputs: Tensor) -> bool:
    """Whether an ONNX model gives the outputs of a model, which may have hooks."""
    with torch.no_grad():
        expected = without_wrapper(model(as_float(inputs)))
    if not isinstance(expected, Tensor) or expected.ndim != 2:
        return False
    names = [str(number) for number in range(expected.shape[1])]
    outputs = onnx_logits(model_proto.SerializeToString(), "fp32", inputs, names)
    return np.allclose(outputs, expected.numpy(), rtol=1e-4, atol=1e-4, equal_nan=True)


def _export(model: nn.Module, example: Tensor) -> "ModelProto":
    """Export a model with PyTorch's dynamo exporter."""
    use_private_compiler_cache()
    raw_model = FromRawInputs(model).eval()
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                raw_model,
                (example[:2].cpu(),),
                dynamo=True,
                verbose=False,
                optimize=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"inputs": _dynamic_shape(example)},
            )
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the exporter documents no common base class
        raise ConfigError(f"This model cannot be exported to ONNX: {cause_of(error)}") from error
    assert program is not None
    return program.model_proto


def _dynamic_shape(example: Tensor) -> dict[int, Any]:
    """Return the dimensions of the inputs that may change: the batch, and the length of texts."""
    shape: dict[int, Any] = {0: torch.export.Dim("N")}
    length = example.shape[-1]
    if example.dtype == torch.int32 and length > 2:
        shape[1] = torch.export.Dim("L", min=2, max=length)
    return shape


def calibration_inputs(inputs: Tensor) -> np.ndarray:
    """Choose random training inputs for quantisation, the same ones for the same split."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    return inputs[order[:CALIBRATION_INPUTS].sort().values].numpy()


def quantize(
    model: "ModelProto", calibration: np.ndarray, folder: Path, float_nodes: Sequence[str] = ()
) -> "ModelProto":
    """Quantise weights and activations to 8 bits.

    Both are unsigned, because products of signed weights overflow on older processors and change
    the logits there. Convolutional models are quantised statically, with activation ranges
    from calibration inputs. Other models are quantised dynamically, with ranges from each batch.

    Args:
        model: Model of :func:`to_onnx`.
        calibration: Inputs of the training split.
        folder: Folder for temporary files.
        float_nodes: Names of the operators that stay in float32.

    Raises:
        ConfigError: If the quantiser cannot handle the model.
    """
    import onnx

    source, target = folder / "plain.onnx", folder / "small.onnx"
    write_bytes(source, model.SerializeToString())
    try:
        is_static = is_convolutional(model)
        _quantize(source, target, calibration, static=is_static, float_nodes=float_nodes)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the quantiser documents no common base class
        raise ConfigError(
            f"This model cannot be quantised to 8 bits: {cause_of(error)}. Export with int8=false."
        ) from error
    quantized = onnx.load(target)
    _remove_origin(quantized)
    return quantized


def _quantize(
    source: Path,
    target: Path,
    calibration: np.ndarray,
    *,
    static: bool,
    float_nodes: Sequence[str],
) -> None:
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    with quiet():
        if static:
            quantize_static(
                source,
                target,
                _CalibrationReader(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=list(float_nodes),
            )
        else:
            quantize_dynamic(
                source,
                target,
                per_channel=True,
                weight_type=QuantType.QUInt8,
                nodes_to_exclude=list(float_nodes),
            )


def onnx_logits(
    model: bytes,
    precision: str,
    inputs: Tensor,
    class_names: Sequence[str],
    padding: int | None = None,
) -> np.ndarray:
    """Compute the logits ``[N, classes]`` of an exported model with the runtime of bundles.

    Args:
        model: Content of the ONNX file.
        precision: ``fp32`` or ``int8``, for messages.
        inputs: Inputs as in the dataset, ``[N, ...]``.
        class_names: Names of the classes, in the order of the logits.
        padding: Id of the padding of texts; None for other inputs.

    Raises:
        ExportError: If the model cannot be run.
    """
    session = Model(model, KINDS[precision], class_names)
    try:
        batches = [cut_padding(batch, padding).contiguous() for batch in inputs.split(BATCH)]
        return np.concatenate([session.logits(batch.numpy()) for batch in batches])
    except BundleError as error:
        raise ExportError(f"The exported model cannot be run: {error}") from None


def is_convolutional(model: "ModelProto") -> bool:
    """Whether a model has convolutions, and is not a transformer.

    A vision transformer has one convolution, for its patches, and many matrix products. Its 8-bit
    logits are several times more exact with ranges from each batch, as ONNX Runtime recommends.
    The linear layers at the end of a convolutional network are exported as Gemm.
    """
    operators = [node.op_type for node in model.graph.node]
    convolutions = sum(operator.startswith("Conv") for operator in operators)
    return convolutions > 0 and convolutions >= operators.count("MatMul")


class _CalibrationReader:
    """Batches of calibration inputs, in the interface that ONNX Runtime expects."""

    def __init__(self, inputs: np.ndarray, batch_size: int = 64):
        starts = range(0, len(inputs), batch_size)
        self._batches = iter([inputs[start : start + batch_size] for start in starts])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _remove_origin(model: "ModelProto") -> None:
    """Remove traces of the machine, such as stack traces with local paths."""
    model.doc_string = model.producer_version = ""
    model.producer_name = "limbeck"
    del model.metadata_props[:]
    for function in model.functions:
        _remove_notes(function)
    _remove_notes(model.graph)


def _remove_notes(graph: Any) -> None:
    """Remove documentation and metadata from a graph or function, and from all its parts."""
    graph.doc_string = ""
    del graph.metadata_props[:]
    for name in ("input", "output", "value_info", "initializer"):
        for value in getattr(graph, name, ()):
            if not isinstance(value, str):
                value.doc_string = ""
                del value.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            subgraphs = list(attribute.graphs)
            if attribute.HasField("g"):
                subgraphs.append(attribute.g)
            for subgraph in subgraphs:
                _remove_notes(subgraph)


def write_model(model: "ModelProto", path: Path) -> None:
    """Write a model atomically to one file."""
    write_bytes(path, model.SerializeToString(deterministic=True))
