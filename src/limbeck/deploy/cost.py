"""Cost of models in PyTorch and ONNX Runtime: size, multiply-adds, memory, latency, throughput."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from limbeck._base.errors import ResourceError
from limbeck._base.processes import start_module
from limbeck._base.progress import Advance
from limbeck._base.runtime.machine import count_cores
from limbeck._base.scratch import scratch_folder
from limbeck.data.dataset import as_float
from limbeck.run.cost import RUNTIMES, CostRow, Latency, Precision, Runtime, Timing
from limbeck.run.summary import MeasureKey

ROUNDS = 3
"""Number of measurements per model. Models take turns, so that other load affects all of them."""
SECONDS = 0.03
"""Minimum duration of one measurement in seconds."""
LIMIT = 1.0
"""Duration of one measurement in seconds after which no further run starts."""
BATCH = 64


@dataclass(frozen=True)
class CostModel:
    """A model whose cost is measured. An ensemble has several files.

    Attributes:
        name: Name of the arm, or ``teacher``.
        architecture: Name of the architecture.
        params: Number of parameters.
        folders: Folders with ``model.safetensors`` and ``model.json``. Empty if limbeck cannot
            rebuild the model.
        onnx: Files by precision (``fp32``, ``int8``), each next to a ``labels.json``.
        macs: Multiply-adds for one input.
        errors: Errors on the test split by precision.
        measure: Key of what is counted as errors.
    """

    name: str
    architecture: str
    params: int
    folders: Sequence[Path]
    onnx: Mapping[str, Sequence[Path]]
    macs: int
    errors: Mapping[str, float]
    measure: MeasureKey = "errors"


def multiply_adds(model: nn.Module, example: Tensor) -> int:
    """Count the multiply-adds of matrix products and convolutions for one input.

    This is half the number of operations that PyTorch counts. Attention is computed in plain steps
    meanwhile, because PyTorch counts nothing in its fast kernels for the CPU.

    Args:
        model: Model, which is set to eval mode.
        example: Inputs as in the dataset, ``[N, ...]``. Only the first is used.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad(), _plain_attention():
        model.eval()(as_float(example[:1]))
    return counter.get_total_flops() // 2


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Compute attention by matrix products, not by a fast kernel."""
    has_fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(has_fast_path)


@dataclass(frozen=True)
class _Candidate:
    """One model in one runtime, with the files that the runtime reads."""

    model: CostModel
    runtime: Runtime
    precision: Precision
    files: Sequence[Path]

    def size(self) -> int:
        """Size of the weights in bytes."""
        files = self.files
        if self.runtime == "torch":
            files = [folder / "model.safetensors" for folder in files]
        return sum(file.stat().st_size for file in files)


Rounds = list[dict[str, list[float]]]
"""Measurements of one model on some number of threads: seconds by ``latency`` and ``batch``."""


def measure(
    models: Sequence[CostModel], inputs: np.ndarray, advance: Advance
) -> tuple[CostRow, ...]:
    """Measure every model in every runtime, on one core and on all cores.

    Args:
        models: Models to measure.
        inputs: Batch as in the dataset, ``[N, ...]``.
        advance: Callback for the progress, from 0 to 1.

    Returns:
        One row for each model, runtime and precision.

    Raises:
        ResourceError: If a measuring process fails.
    """
    candidates = _candidates(models)
    with scratch_folder() as temporary, ExitStack() as stack:
        batch = Path(temporary) / "inputs.npy"
        np.save(batch, np.resize(inputs, (BATCH, *inputs.shape[1:])))
        stopwatches = []
        for candidate in candidates:
            stopwatch = _Stopwatch(candidate.runtime, candidate.files, batch)
            stopwatches.append(stack.enter_context(stopwatch))
        for stopwatch in stopwatches:  # after all of them have started, as they load side by side
            stopwatch.wait_until_loaded()
        measurements = _measure_in_turn(stopwatches, advance)
    rows = []
    for candidate, stopwatch, rounds in zip(candidates, stopwatches, measurements, strict=True):
        timings = {str(threads): _timing(rounds[threads]) for threads in rounds}
        rows.append(_row(candidate, stopwatch.memory, timings))
    return tuple(rows)


def _candidates(models: Sequence[CostModel]) -> list[_Candidate]:
    candidates = []
    for model in models:
        for runtime, precision in RUNTIMES:
            files = model.folders if runtime == "torch" else model.onnx.get(precision, ())
            if files:
                candidates.append(_Candidate(model, runtime, precision, files))
    return candidates


def _row(candidate: _Candidate, memory: int | None, timings: Mapping[str, Timing]) -> CostRow:
    model = candidate.model
    result: dict[str, Any] = {model.measure: model.errors.get(candidate.precision)}
    return CostRow(
        model=model.name,
        kind=model.architecture,
        params=model.params,
        runtime=candidate.runtime,
        precision=candidate.precision,
        bytes=candidate.size(),
        macs=model.macs,
        memory=memory,
        threads=timings,
        **result,
    )


def _measure_in_turn(
    stopwatches: Sequence["_Stopwatch"], advance: Advance
) -> list[dict[int, Rounds]]:
    """Measure all models in turn; return the rounds of each model by number of threads."""
    threads_to_try = sorted({1, count_cores()})
    total = ROUNDS * len(threads_to_try) * len(stopwatches)
    done = 0
    rounds: list[dict[int, Rounds]] = [{} for _ in stopwatches]
    for _ in range(ROUNDS):
        for threads in threads_to_try:
            for number, stopwatch in enumerate(stopwatches):
                rounds[number].setdefault(threads, []).append(stopwatch.measure(threads))
                done += 1
                advance(done / total)
    return rounds


def _timing(rounds: Rounds) -> Timing:
    """Compute latency and throughput over all rounds."""
    latency = 1000 * np.concatenate([np.asarray(round_["latency"]) for round_ in rounds])
    low, middle, high = np.percentile(latency, (25, 50, 75)).tolist()
    batch = median(median(round_["batch"]) for round_ in rounds)
    return Timing(
        latency_ms=Latency(median=middle, quartiles=(low, high), runs=len(latency)),
        per_second=BATCH / batch,
    )


class _Stopwatch:
    """A process that measures one model, see :mod:`limbeck.deploy.latency`."""

    def __init__(self, runtime: str, files: Sequence[Path], inputs: Path):
        self._name = f"{runtime}, {', '.join(map(str, files))}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = start_module("limbeck.deploy.latency", self._errors)
        model = {
            "runtime": runtime,
            "files": [str(file) for file in files],
            "inputs": str(inputs),
            "seconds": SECONDS,
            "limit": LIMIT,
        }
        self.memory: int | None = None
        self._send(model)

    def wait_until_loaded(self) -> None:
        """Wait until the process has loaded the model and answered once."""
        self.memory = self._receive()["memory"]

    def measure(self, threads: int) -> dict[str, list[float]]:
        """Measure the seconds of runs at batch size 1 (``latency``) and in batches (``batch``)."""
        self._send({"threads": threads})
        return self._receive()

    def _send(self, content: Mapping[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # the process has failed, which _receive reports
            stdin.write(json.dumps(content).encode() + b"\n")
            stdin.flush()

    def _receive(self) -> dict[str, Any]:
        process = self._process
        assert process.stdout is not None
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

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._process.kill()
        if self._process.poll() is None:
            with suppress(BrokenPipeError):
                self._process.communicate()  # closes its input, which ends the process
        self._errors.close()
