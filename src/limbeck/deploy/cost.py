"""What models cost to run in PyTorch and ONNX Runtime: size, multiply-adds, memory, latency and
throughput.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from limbeck._base.errors import ResourceError
from limbeck._base.progress import Advance
from limbeck.data.dataset import as_float

ROUNDS = 3
"""Every model is measured so often, all of them in turn: what else the machine does then meets all
alike.
"""
BATCH = 64
RUNTIMES = (("torch", "fp32"), ("onnx", "fp32"), ("onnx", "int8"))


@dataclass(frozen=True)
class Costed:
    """A model whose costs are measured; several files where it is an ensemble.

    Attributes:
        name: ``teacher``, or of the arm.
        kind: its architecture.
        params: number of parameters.
        folders: with ``model.safetensors`` and ``model.json``; none where limbeck cannot rebuild
            the model.
        onnx: files by kind (``fp32``, ``int8``), each beside a ``labels.json``.
        macs: multiply-adds of one input.
        errors: of the test split, by kind.
    """

    name: str
    kind: str
    params: int
    folders: Sequence[Path]
    onnx: Mapping[str, Sequence[Path]]
    macs: int
    errors: Mapping[str, int]


def multiply_adds(model: nn.Module, example: Tensor) -> int:
    """Multiply-adds of the matrix products and convolutions for one input (half of PyTorch's count
    of operations).

    Args:
        model: put into eval mode.
        example: inputs as the data set holds them, ``[N, ...]``; the first is used.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(as_float(example[:1]))
    return counter.get_total_flops() // 2


def measure(models: Sequence[Costed], inputs: np.ndarray, advance: Advance) -> list[dict[str, Any]]:
    """Time every model in every way it can be run, on one core and on all.

    Args:
        models: what to measure.
        inputs: a batch as the data set holds it, ``[N, ...]``.
        advance: told the share that is done, of 1.

    Returns:
        A row for each model and way: ``model``, ``kind``, ``params``, ``runtime``, ``precision``,
        ``bytes``, ``macs``, ``memory`` (the most the process held after an answer, in bytes; None
        where the system does not tell),
        ``errors``, and ``threads``: by their number ``latency_ms``
        (median and quartiles at batch 1) and ``per_second`` (inputs, in batches).

    Raises:
        ResourceError: a process that measures has failed.
    """
    cores = sorted(
        {
            1,
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1,
        }
    )
    with tempfile.TemporaryDirectory(prefix="limbeck-") as aside, ExitStack() as stack:
        batch = Path(aside) / "inputs.npy"
        np.save(batch, np.resize(inputs, (BATCH, *inputs.shape[1:])))
        rows: list[dict[str, Any]] = []
        clocks = []
        for model in models:
            for runtime, precision in RUNTIMES:
                files = model.folders if runtime == "torch" else model.onnx.get(precision, ())
                if not files:
                    continue
                clocks.append(stack.enter_context(_Stopwatch(runtime, files, batch)))
                weights = [f / "model.safetensors" if runtime == "torch" else f for f in files]
                rows.append(
                    {
                        "model": model.name,
                        "kind": model.kind,
                        "params": model.params,
                        "runtime": runtime,
                        "precision": precision,
                        "bytes": sum(file.stat().st_size for file in weights),
                        "macs": model.macs,
                        "memory": clocks[-1].memory,
                        "errors": model.errors.get(precision),
                        "threads": {},
                    }
                )
        found: dict[tuple[int, int], list[dict[str, list[float]]]] = {}
        for done in range(ROUNDS * len(cores) * len(clocks)):
            turn, number = divmod(done, len(clocks))
            threads = cores[turn % len(cores)]
            found.setdefault((number, threads), []).append(clocks[number].measure(threads))
            advance((done + 1) / (ROUNDS * len(cores) * len(clocks)))
    for (number, threads), measured in found.items():
        rows[number]["threads"][str(threads)] = _summed_up(measured)
    return rows


def _summed_up(rounds: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Latency and throughput over all rounds."""
    latency = 1000 * np.concatenate([np.asarray(found["latency"]) for found in rounds])
    low, middle, high = np.percentile(latency, (25, 50, 75)).tolist()
    batch = median(median(found["batch"]) for found in rounds)
    return {
        "latency_ms": {"median": middle, "quartiles": [low, high], "runs": len(latency)},
        "per_second": BATCH / batch,
    }


class _Stopwatch:
    """A process that measures one model, see :mod:`limbeck.deploy.stopwatch`."""

    def __init__(self, runtime: str, files: Sequence[Path], inputs: Path):
        self._what = f"{runtime}, {', '.join(map(str, files))}"
        source = str(Path(__file__).parents[2])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "limbeck.deploy.stopwatch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path},
        )
        first = {"runtime": runtime, "files": [str(file) for file in files], "inputs": str(inputs)}
        try:
            self.memory: int | None = self._ask(first)["memory"]
        except BaseException:
            self._process.kill()
            raise

    def measure(self, threads: int) -> dict[str, list[float]]:
        """Seconds of each run at batch 1 (``latency``) and with the whole batch (``batch``)."""
        return self._ask({"threads": threads})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if line:
            return json.loads(line)
        process.wait()
        self._said.seek(0)
        said = self._said.read().splitlines() or ["killed"]
        raise ResourceError(f"The process that measures {self._what} failed: {said[-1]}")

    def __enter__(self) -> "_Stopwatch":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            with suppress(BrokenPipeError):
                self._process.communicate()  # ends its input, and so itself
        self._said.close()
