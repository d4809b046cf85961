"""Measurement of one model in a process of its own: ``python -m limbeck.deploy.latency``.

The process reads one JSON object per line from standard input and answers each with one line. The
first object names the model, each later one asks for a measurement. Only the libraries that the
model needs are imported, so that its peak memory is that of a device. ``deploy/cost.py`` starts it,
and repeats and summarises its measurements.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from limbeck._base.runtime.machine import peak_memory
from limbeck._base.runtime.timing import seconds_of_calls

Run = Callable[[np.ndarray], object]


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print, too
    first = json.loads(sys.stdin.readline())
    inputs = np.load(first["inputs"], allow_pickle=False)
    load = {"torch": _load_torch, "onnx": _load_onnx}[first["runtime"]]
    run = load(first["files"], 1)
    run(inputs[:1])
    _send(answers, {"memory": peak_memory()})
    runs: dict[int, Run] = {1: run}
    for line in sys.stdin:
        threads = json.loads(line)["threads"]
        if threads not in runs:
            runs[threads] = load(first["files"], threads)
        if first["runtime"] == "torch":
            _set_threads(threads)
        latency = _seconds(runs[threads], inputs[:1], first["seconds"], first["limit"])
        batch = _seconds(runs[threads], inputs, first["seconds"], first["limit"])
        _send(answers, {"latency": latency, "batch": batch})


def _load_onnx(files: list[str], threads: int) -> Run:
    from limbeck._base.runtime.model import Model

    labels_file = Path(files[0]).with_name("labels.json")
    labels = json.loads(labels_file.read_text(encoding="utf-8"))["labels"]
    models = []
    for file in files:
        content = Path(file).read_bytes()
        models.append(Model(content, file, labels, threads=threads))
    return lambda inputs: [model.logits(inputs) for model in models]


def _load_torch(files: list[str], threads: int) -> Run:
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


def _seconds(run: Run, inputs: np.ndarray, min_seconds: float, max_seconds: float) -> list[float]:
    """Measure the seconds of each run, sorted; see :func:`seconds_of_calls`."""
    return seconds_of_calls(lambda: run(inputs), min_seconds, max_seconds)


def _send(answers: TextIO, content: dict[str, Any]) -> None:
    print(json.dumps(content), file=answers, flush=True)


if __name__ == "__main__":
    main()
