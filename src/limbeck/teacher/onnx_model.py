"""ONNX models as teachers, run by ONNX Runtime on the CPU."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import (
    OUT_OF_MEMORY,
    ResourceError,
    TeacherError,
    UntrustedFileError,
    is_memory_error,
)
from limbeck._base.files import write_bytes
from limbeck._base.printable import printable
from limbeck.models.normalized import resize
from limbeck.teacher.adapter import Adapter
from limbeck.teacher.onnx_file import (
    PROBABILITIES,
    SIGMOID,
    choose_output,
    count_weights,
    parse_onnx,
)
from limbeck.teacher.probabilities import logits_of_probabilities, logits_of_sigmoid

ONNX_FILE = "model.onnx"
"""Name of the copy in a run folder."""
BATCH = 128
"""Largest number of inputs that are computed at once."""
MAX_STATIC_BATCH = 4096
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""Types of inputs by their names in ONNX Runtime."""
GREY, COLOUR = 1, 3


class OnnxInput(NamedTuple):
    """An input of a model.

    Attributes:
        name: Name of the input.
        type: Type in ONNX Runtime, such as ``tensor(float)``.
        shape: Sides; one that is not fixed is a name or None.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class OnnxTeacher(Adapter):
    """An ONNX model as a teacher.

    Its one input may be ``[N, C, H, W]``, ``[N, H, W, C]`` or ``[N, F]``, in any floating type or
    in bytes (0 to 255), with any or a fixed number of samples. Images are resized to the size that
    the model needs, and grey ones are repeated for a model of colour images.

    Args:
        content: Content of the file.
        name: Name of the model.
        classes: Number of classes of the data; None if it is not known.

    Raises:
        ResourceError: If ONNX Runtime is not installed, or memory ran out.
        TeacherError: If the model has several inputs, or outputs that may be the logits.
        UntrustedFileError: If the content is damaged, or reads other files.
    """

    digest: Tensor

    def __init__(self, content: bytes, name: str, *, classes: int | None = None):
        super().__init__(name)
        model = parse_onnx(content, name)
        self.parameter_count = count_weights(model)
        self.output = choose_output(model, name, classes)
        del model
        self._content = content
        self._session, inputs = _start(content, name)
        self._input = self._check_inputs(inputs)
        sha256 = hashlib.sha256(content).digest()
        self.register_buffer("digest", torch.tensor(list(sha256), dtype=torch.uint8))
        self._add_notes()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process consists of; a session cannot be sent."""
        return {**self.__dict__, "_session": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._session, _ = _start(self._content, self.name)

    def extra_repr(self) -> str:
        """Return the name of the output, which is part of the store's key."""
        return f"output={self.output.name!r}"

    def save_files(self, folder: Path) -> None:
        """Write a copy of the model."""
        write_bytes(folder / ONNX_FILE, self._content)

    def compute(self, x: Tensor) -> Tensor:
        """Compute logits of inputs ``[B, ...]``.

        Raises:
            TeacherError: If the inputs do not fit the model.
        """
        inputs = self._prepare(x.detach().cpu())
        batch = self._static_batch or BATCH
        starts = range(0, len(inputs), batch)
        outputs = torch.cat([self._run(inputs[start : start + batch]) for start in starts])
        return self._as_logits(outputs).to(x.device)

    @property
    def takes_bytes(self) -> bool:
        """Whether inputs are bytes, from 0 to 255."""
        return TYPES[self._input.type] is np.uint8

    @property
    def _static_batch(self) -> int | None:
        """Number of samples that the model computes at once, if it is fixed."""
        first = self._input.shape[0] if self._input.shape else None
        return first if isinstance(first, int) else None

    def _run(self, inputs: np.ndarray) -> Tensor:
        """Compute one batch; a fixed number of samples is filled with the last one."""
        samples = len(inputs)
        missing = (self._static_batch or samples) - samples
        if missing:
            inputs = np.concatenate([inputs, np.repeat(inputs[-1:], missing, 0)])
        try:
            (output,) = self._session.run([self.output.name], {self._input.name: inputs})
        except Exception as error:  # ONNX Runtime documents no common base class
            raise _run_error(error, self.name, inputs) from None
        output = np.asarray(output, np.float32)
        if not output.ndim or len(output) < samples:
            raise TeacherError(
                f"{self.name} returned an output of shape {list(output.shape)} for {samples} "
                "inputs; expected one row per input."
            )
        return torch.from_numpy(output[:samples].reshape(samples, *_row_shape(output)))

    def _as_logits(self, output: Tensor) -> Tensor:
        if self.output.meaning == PROBABILITIES:
            return logits_of_probabilities(output, self.name)
        if self.output.meaning == SIGMOID:
            return logits_of_sigmoid(output)
        return output

    def _prepare(self, x: Tensor) -> np.ndarray:
        """Convert inputs to the shape and the type of the model's input."""
        sides = self._input.shape[1:]
        if x.ndim == 4 and len(sides) == 3:
            x = self._fit_images(x, sides)
        elif len(sides) == 1 and x.ndim > 2:
            x = x.flatten(1)
        shape = list(x.shape[1:])
        pairs = zip(sides, shape, strict=False)
        if len(sides) != len(shape) or any(isinstance(a, int) and a != b for a, b in pairs):
            raise TeacherError(
                f"{self.name} takes inputs of shape {_shape_text(self._input.shape)}, but the data "
                f"has inputs of shape {shape}."
            )
        return self._convert(x)

    def _fit_images(self, x: Tensor, sides: Any) -> Tensor:
        """Bring images ``[B, C, H, W]`` to the size, the channels and the layout of the model."""
        is_last = sides[2] in (GREY, COLOUR) and sides[0] not in (GREY, COLOUR)
        channels = sides[2] if is_last else sides[0]
        height, width = sides[:2] if is_last else sides[1:]
        has_size = isinstance(height, int) and isinstance(width, int)
        if has_size and x.is_floating_point() and x.shape[2:] != (height, width):
            self._note(f"{self.name}: images are resized to {height} x {width} pixels")
            x = resize(x.float(), (height, width))
        if channels == COLOUR and x.shape[1] == GREY:
            self._note(f"{self.name}: grey images are repeated for three channels")
            x = x.expand(-1, COLOUR, -1, -1)
        return x.permute(0, 2, 3, 1) if is_last else x

    def _convert(self, x: Tensor) -> np.ndarray:
        """Convert inputs to the type of the model's input."""
        kind = TYPES[self._input.type]
        if x.is_floating_point() and kind is np.uint8:
            x = (x.float() * 255).round().clamp(0, 255)
        elif x.is_floating_point() and np.issubdtype(kind, np.integer):
            raise TeacherError(
                f"{self.name} takes whole numbers, such as token ids ({self._input.type}), but the "
                "data has numbers of floating-point type."
            )
        elif x.dtype in (torch.bfloat16, torch.float16):
            x = x.float()
        return np.ascontiguousarray(x.numpy(), dtype=kind)

    def _check_inputs(self, inputs: Sequence[OnnxInput]) -> OnnxInput:
        """Return the only input of the model."""
        if len(inputs) != 1:
            names = ", ".join(printable(value.name) for value in inputs)
            raise TeacherError(
                f"{self.name} has {len(inputs)} inputs ({names}); limbeck needs a model with one, "
                "or a Python function that supplies the others."
            )
        if inputs[0].type not in TYPES:
            raise TeacherError(
                f"{self.name} takes inputs of type {printable(inputs[0].type)}; expected one of "
                f"{', '.join(TYPES)}. Convert it, for example to float32."
            )
        batch = inputs[0].shape[0] if inputs[0].shape else None
        if isinstance(batch, int) and not 1 <= batch <= MAX_STATIC_BATCH:
            raise TeacherError(
                f"{self.name} computes {batch:,} samples at once; at most {MAX_STATIC_BATCH:,} "
                "are supported. Export it with a dynamic batch axis."
            )
        return inputs[0]

    def _add_notes(self) -> None:
        meaning = self.output.meaning
        if meaning == PROBABILITIES:
            self._note(f"{self.name} ends with a softmax: its logarithm gives the logits")
        elif meaning == SIGMOID:
            self._note(f"{self.name} ends with a sigmoid: its inverse gives the logits")


def _start(content: bytes, name: str) -> tuple[Any, list[OnnxInput]]:
    """Start a session of ONNX Runtime, which reads no other file, and return its inputs."""
    try:
        import onnxruntime
    except ImportError:
        raise ResourceError(
            "An ONNX teacher needs ONNX Runtime, which is not installed. Install it with 'pip "
            "install onnxruntime'."
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        # names that are no text are errors here
        inputs = [OnnxInput(one.name, one.type, tuple(one.shape)) for one in session.get_inputs()]
        return session, inputs
    except Exception as error:  # ONNX Runtime documents no common base class
        if _is_memory_error(error):
            raise ResourceError(f"{OUT_OF_MEMORY} ran out while {name} was loaded.") from None
        raise UntrustedFileError(
            f"{name} cannot be loaded by ONNX Runtime ({_reason(error)}). If it is right, a newer "
            "onnxruntime may read it."
        ) from None


def _run_error(error: Exception, name: str, inputs: np.ndarray) -> Exception:
    if _is_memory_error(error):
        return ResourceError(f"{OUT_OF_MEMORY} ran out while {name} computed its answers.")
    return TeacherError(
        f"{name} cannot process inputs of shape {list(inputs.shape)} ({inputs.dtype}): "
        f"{_reason(error)}."
    )


def _is_memory_error(error: Exception) -> bool:
    return is_memory_error(error) or is_memory_error(RuntimeError(str(error)))


def _reason(error: Exception) -> str:
    return printable(" ".join(str(error).split())[:200].rstrip("."))


def _row_shape(output: np.ndarray) -> tuple[int, ...]:
    """Shape of a row of logits, without sides of length 1 at the end, as of pooled features."""
    shape = list(output.shape[1:])
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return tuple(shape) or (1,)


def _shape_text(shape: Any) -> str:
    sides = [str(side) if isinstance(side, int) else "any" for side in shape]
    return f"[{', '.join(sides)}]"
