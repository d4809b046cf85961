"""Outputs of a program of ExecuTorch, computed by its own runtime in a process of its own."""

import json
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from limbeck._base.errors import ExportError
from limbeck._base.processes import start_module
from limbeck.data.split import read_parts
from limbeck.deploy.executorch.worker import NUMBER

WORKER = "limbeck.deploy.executorch.worker"


def run_program(file: Path, *groups: Tensor) -> list[np.ndarray]:
    """Compute the outputs ``[N, O]`` of a program for groups of inputs, one input at a time.

    Args:
        file: ``.pte`` file with a method ``forward``.
        groups: Inputs as in the dataset, ``[N, ...]`` each, all of one shape and type.

    Raises:
        ExportError: If the program cannot be run.
    """
    outputs = []
    with _Process(file, groups[0]) as process:
        for inputs in groups:
            parts = [process.run(part.numpy()) for part in read_parts(inputs)]
            outputs.append(np.concatenate(parts))
    return outputs


class _Process:
    """A process of :mod:`limbeck.deploy.executorch.worker`."""

    def __init__(self, file: Path, inputs: Tensor):
        dtype = str(inputs.dtype).removeprefix("torch.")
        first = {"file": str(file), "shape": list(inputs.shape[1:]), "dtype": dtype}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = start_module(WORKER, self._errors)
        self._send([json.dumps(first).encode() + b"\n"])

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Compute the outputs ``[B, O]`` of inputs ``[B, ...]``."""
        self._send([len(batch).to_bytes(NUMBER, "little"), np.ascontiguousarray(batch).tobytes()])
        width = int.from_bytes(self._receive(NUMBER), "little")
        content = self._receive(4 * len(batch) * width)
        return np.frombuffer(content, np.float32).reshape(len(batch), width)

    def _send(self, parts: Iterable[bytes]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # the process has failed, which _receive reports
            for part in parts:
                stdin.write(part)
            stdin.flush()

    def _receive(self, size: int) -> bytes:
        assert self._process.stdout is not None
        content = self._process.stdout.read(size)
        if len(content) == size:
            return content
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        reason = lines[-1] if lines and code == 1 else f"its process ended with exit code {code}"
        raise ExportError(
            f"ExecuTorch cannot run the exported program, so nothing was written: {reason}"
        )

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()  # closes its input, which ends the process
        self._errors.close()
