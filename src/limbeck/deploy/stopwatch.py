"""Measures one model in a process of its own: ``python -m limbeck.deploy.stopwatch``.

It reads a JSON object a line from standard input and answers with one. The first names the model;
each later one asks for a measurement. What is not needed to run the model is not imported, so that
the memory is what a device would take.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

WARM_UP, LEAST, SECONDS = 5, 11, 0.25
"""Runs before measuring; runs, and seconds of them, to measure."""


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries say is no answer
    first = json.loads(sys.stdin.readline())
    inputs = np.load(first["inputs"], allow_pickle=False)
    load = {"torch": _torch, "onnx": _onnx}[first["runtime"]]
    run = load(first["files"], 1)
    run(inputs[:1])
    _answer(answers, {"memory": _memory()})
    loaded: dict[int, Callable[[np.ndarray], object]] = {1: run}
    for line in sys.stdin:
        threads = json.loads(line)["threads"]
        if threads not in loaded:
            loaded[threads] = load(first["files"], threads)
        if first["runtime"] == "torch":
            _set_threads(threads)
        _answer(
            answers,
            {
                "latency": _seconds(loaded[threads], inputs[:1]),
                "batch": _seconds(loaded[threads], inputs),
            },
        )


def _onnx(files: list[str], threads: int) -> Callable[[np.ndarray], object]:
    from limbeck._base import bundle_runtime as runtime

    labels = json.loads(Path(files[0]).with_name("labels.json").read_text(encoding="utf-8"))[
        "labels"
    ]
    models = [
        runtime.Model(Path(file).read_bytes(), file, labels, threads=threads) for file in files
    ]
    return lambda inputs: [model.logits(inputs) for model in models]


def _torch(files: list[str], threads: int) -> Callable[[np.ndarray], object]:
    import torch

    from limbeck.data.dataset import as_float
    from limbeck.models import load_model

    _set_threads(threads)
    models = [load_model(file).model for file in files]

    def run(inputs: np.ndarray) -> object:
        with torch.inference_mode():
            return [model(as_float(torch.from_numpy(inputs))) for model in models]

    return run


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _seconds(run: Callable[[np.ndarray], object], inputs: np.ndarray) -> list[float]:
    """Of each run, sorted."""
    for _ in range(WARM_UP):
        run(inputs)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < LEAST or time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - start)
    return sorted(times)


def _memory() -> int | None:
    """The most memory this process has held, in bytes; None where the system does not tell."""
    try:  # what getrusage tells includes the parent's, for a process that was started by fork
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(
            1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):
        return None


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    print(json.dumps(content), file=answers, flush=True)


if __name__ == "__main__":
    main()
