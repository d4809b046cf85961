"""Programs of ``torch.export`` (``.pt2``) as teachers."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.models.output import without_wrapper
from limbeck.teacher.adapter import Adapter

SUFFIX = ".pt2"


class ProgramTeacher(Adapter):
    """An exported program as a teacher, run on the CPU.

    It is pickled as the content of a ``.pt2`` file, so that it can be sent to other processes.

    Args:
        program: Program with one input, ``[N, ...]``, for any or a fixed number of samples.
        name: Name of the program.

    Raises:
        TeacherError: If it has several inputs.
    """

    digest: Tensor

    def __init__(self, program: torch.export.ExportedProgram, name: str = "exported program"):
        super().__init__(name)
        inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
        names = program.graph_signature.user_inputs
        inputs = [node for node in inputs if node.name in names]
        if len(inputs) != 1:
            raise TeacherError(
                f"{name} has {len(inputs)} inputs; limbeck needs a program with one, or a Python "
                "function that supplies the others."
            )
        size = inputs[0].meta["val"].shape[0]
        self._batch = size if isinstance(size, int) else None
        self._exported = program
        self._program = (program.module(),)  # in a tuple, because it refuses eval() and train()
        weights = list(program.state_dict.values())
        self.parameter_count = sum(w.numel() for w in weights if w.is_floating_point())
        self.register_buffer("digest", _digest(program))

    def __getstate__(self) -> dict[str, Any]:
        content = io.BytesIO()
        torch.export.save(self._exported, content)
        return {**self.__dict__, "_exported": content.getvalue(), "_program": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        program = torch.export.load(io.BytesIO(state["_exported"]))
        super().__setstate__({**state, "_exported": program, "_program": (program.module(),)})

    def compute(self, x: Tensor) -> object:
        """Compute the program's outputs for inputs ``[B, ...]``.

        Raises:
            TeacherError: If the inputs do not fit the program.
        """
        inputs = x.detach().cpu()
        batch = self._batch or max(1, len(inputs))
        outputs = [self._run(part) for part in inputs.split(batch)]
        return torch.cat(outputs)[: len(x)].to(x.device)

    def _run(self, inputs: Tensor) -> Tensor:
        """Compute one batch; if the program needs more samples, the last one is repeated."""
        missing = (self._batch or len(inputs)) - len(inputs)
        if missing:
            inputs = torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])])
        (program,) = self._program
        try:
            output = without_wrapper(program(inputs))
        except Exception as error:  # a program may raise anything
            reason = " ".join(str(error).split())[:200]
            raise TeacherError(
                f"{self.name} cannot process inputs of shape {list(inputs.shape)} "
                f"({inputs.dtype}): {reason}"
            ) from None
        if isinstance(output, (tuple, list)) and len(output) == 1:
            output = output[0]
        if not isinstance(output, Tensor):
            raise TeacherError(
                f"{self.name} returned a value of type {type(output).__name__}; expected logits as "
                "a tensor [B, C], or an output with the logits as `logits`."
            )
        return output


def load_program(file: Path, *, trust: bool) -> ProgramTeacher:
    """Load a program of ``torch.export``.

    Reading one may run code that it contains: PyTorch unpickles parts of it without limits,
    evaluates its expressions, and loads compiled libraries in it.

    Args:
        file: Path of the file.
        trust: Whether to run the code in it.

    Raises:
        TeacherError: If there is no such file, or its inputs do not fit.
        UntrustedFileError: If it is not trusted, or cannot be loaded.
    """
    if not file.is_file():
        raise TeacherError(f"{file} does not exist. Choose a program of torch.export.")
    if not trust:
        raise UntrustedFileError(
            f"{file} is a program of torch.export. Loading it can run code that it contains, so "
            "limbeck does not. If you made it or trust its author, add teacher.trust_pickle=true; "
            "otherwise ask for the model as ONNX (.onnx) or as weights (.safetensors)."
        )
    try:
        program: Any = torch.export.load(file)
    except Exception as error:  # reading may raise anything on a damaged file
        reason = " ".join(str(error).split())[:200]
        raise UntrustedFileError(
            f"{file} cannot be loaded as a program of torch.export: {reason}"
        ) from None
    return ProgramTeacher(program, file.name)


def _digest(program: torch.export.ExportedProgram) -> Tensor:
    """SHA-256 of the graph and all weights and constants."""
    digest = hashlib.sha256(str(program.graph).encode())
    for part in (program.state_dict, program.constants):
        for name, value in sorted(part.items()):
            digest.update(f"\n{name} ".encode())
            if isinstance(value, Tensor):
                flat = value.detach().cpu().contiguous().reshape(-1)
                digest.update(flat.view(torch.uint8).numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)
