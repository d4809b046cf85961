"""Cost of models in PyTorch and ONNX Runtime: size, multiply-adds, memory, latency, throughput."""

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

from limbeck._base.errors import ResourceError
from limbeck._base.progress import Advance
from limbeck.data.dataset import as_float

ROUNDS = 3
"""Number of measurements per model. Models take turns, so that other load affects all of them."""
SECONDS = 0.25
"""Minimum duration of one measurement in seconds."""
BATCH = 64
RUNTIMES = (("torch", "fp32"), ("onnx", "fp32"), ("onnx", "int8"))


@dataclass(frozen=True)
class CostModel:
    """A model whose cost is measured. An ensemble has several files.

    Attributes:
        name: Name of the arm, or ``teacher``.
        architecture: Name of the architecture.
        params: Number of parameters.
        folders: Folders with ``model.safetensors`` and ``model.json``. Empty if limbeck cannot
            rebuild the model.
        onnx: Files by precision (``fp32``, ``int8``), each beside a ``labels.json``.
        macs: Multiply-adds for one input.
        errors: Errors on the test split by precision.
    """

    name: str
    architecture: str
    params: int
    folders: Sequence[Path]
    onnx: Mapping[str, Sequence[Path]]
    macs: int
    errors: Mapping[str, int]


def multiply_adds(model: nn.Module, example: Tensor) -> int:
    """Count the multiply-adds of matrix products and convolutions for one input.

    This is half the number of operations that PyTorch counts.

    Args:
        model: Model, which is set to eval mode.
        example: Inputs as in the dataset, ``[N, ...]``. Only the first is used.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(as_float(example[:1]))
    return counter.get_total_flops() // 2


def measure(
    models: Sequence[CostModel], inputs: np.ndarray, advance: Advance
) -> list[dict[str, Any]]:
    """Measure every model in every runtime, on one core and on all cores.

    Args:
        models: Models to measure.
        inputs: Batch as in the dataset, ``[N, ...]``.
        advance: Callback for the progress, from 0 to 1.

    Returns:
        Rows of ``cost.json``, one for each model, runtime and precision: ``model``, ``kind``,
        ``params``, ``runtime``, ``precision``, ``bytes``, ``macs``, ``memory`` (peak memory of the
        process after one answer, in bytes; None if the system does not report it), ``errors``, and
        ``threads``. For each number of threads, ``threads`` has ``latency_ms`` (median and
        quartiles at batch size 1) and ``per_second`` (throughput in batches).

    Raises:
        ResourceError: If a measuring process fails.
    """
    with tempfile.TemporaryDirectory(prefix="limbeck-") as temporary, ExitStack() as stack:
        batch = Path(temporary) / "inputs.npy"
        np.save(batch, np.resize(inputs, (BATCH, *inputs.shape[1:])))
        rows: list[dict[str, Any]] = []
        stopwatches = []
        for model in models:
            for runtime, precision in RUNTIMES:
                files = model.folders if runtime == "torch" else model.onnx.get(precision, ())
                if not files:
                    continue
                stopwatch = stack.enter_context(_Stopwatch(runtime, files, batch))
                stopwatches.append(stopwatch)
                rows.append(_row(model, runtime, precision, files, stopwatch.memory))
        measurements = _measure_in_turn(stopwatches, advance)
    for (number, threads), rounds in measurements.items():
        rows[number]["threads"][str(threads)] = _summarise(rounds)
    return rows


def _row(
    model: CostModel, runtime: str, precision: str, files: Sequence[Path], memory: int | None
) -> dict[str, Any]:
    weights = [file / "model.safetensors" for file in files] if runtime == "torch" else files
    return {
        "model": model.name,
        "kind": model.architecture,
        "params": model.params,
        "runtime": runtime,
        "precision": precision,
        "bytes": sum(file.stat().st_size for file in weights),
        "macs": model.macs,
        "memory": memory,
        "errors": model.errors.get(precision),
        "threads": {},
    }


def _measure_in_turn(
    stopwatches: Sequence["_Stopwatch"], advance: Advance
) -> dict[tuple[int, int], list[dict[str, list[float]]]]:
    """Measure all models in turn; return the rounds by model number and number of threads."""
    threads_to_try = sorted({1, _usable_cores()})
    total = ROUNDS * len(threads_to_try) * len(stopwatches)
    done = 0
    rounds: dict[tuple[int, int], list[dict[str, list[float]]]] = {}
    for _ in range(ROUNDS):
        for threads in threads_to_try:
            for number, stopwatch in enumerate(stopwatches):
                rounds.setdefault((number, threads), []).append(stopwatch.measure(threads))
                done += 1
                advance(done / total)
    return rounds


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _summarise(rounds: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Compute latency and throughput over all rounds."""
    latency = 1000 * np.concatenate([np.asarray(round_["latency"]) for round_ in rounds])
    low, middle, high = np.percentile(latency, (25, 50, 75)).tolist()
    batch = median(median(round_["batch"]) for round_ in rounds)
    return {
        "latency_ms": {"median": middle, "quartiles": [low, high], "runs": len(latency)},
        "per_second": BATCH / batch,
    }


class _Stopwatch:
    """A process that measures one model, see :mod:`limbeck.deploy.stopwatch`."""

    def __init__(self, runtime: str, files: Sequence[Path], inputs: Path):
        self._name = f"{runtime}, {', '.join(map(str, files))}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "limbeck.deploy.stopwatch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
        model = {
            "runtime": runtime,
            "files": [str(file) for file in files],
            "inputs": str(inputs),
            "seconds": SECONDS,
        }
        try:
            self.memory: int | None = self._request(model)["memory"]
        except BaseException:
            self._process.kill()
            raise

    def measure(self, threads: int) -> dict[str, list[float]]:
        """Measure the seconds of runs at batch size 1 (``latency``) and in batches (``batch``)."""
        return self._request({"threads": threads})

    def _request(self, content: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(content) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if line:
            return json.loads(line)
        process.wait()
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace").splitlines() or [
            "the process was killed"
        ]
        raise ResourceError(f"Measuring {self._name} failed: {errors[-1]}")

    def __enter__(self) -> "_Stopwatch":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            with suppress(BrokenPipeError):
                self._process.communicate()  # closes its input, which ends the process
        self._errors.close()


def _python_path() -> str:
    """Return a ``PYTHONPATH`` with which a child process imports this copy of limbeck."""
    source = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([source, inherited]) if inherited else source
