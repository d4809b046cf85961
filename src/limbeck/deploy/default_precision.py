"""The precision that a bundle uses unless another is named."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from limbeck._base.runtime.model import Model

RUNS = 40
"""Number of timed runs of each model."""
MAX_RATIO = 1.05
"""Largest ratio of times at which two models count as equally fast; below it is noise."""


def default_precision(
    models: Mapping[str, bytes], inputs: np.ndarray, class_names: Sequence[str]
) -> str:
    """Choose the 8-bit model if it is smaller and, on this machine, not slower.

    The times of single inputs are compared: medians of alternating runs.

    Args:
        models: Contents of the ONNX files by precision.
        inputs: Inputs of the models, ``[N, ...]``.
        class_names: Names of the classes.
    """
    if "int8" not in models or len(models["int8"]) >= len(models["fp32"]):
        return "fp32"
    medians = milliseconds_per_input(models, inputs, class_names)
    return "int8" if medians["int8"] <= MAX_RATIO * medians["fp32"] else "fp32"


def milliseconds_per_input(
    models: Mapping[str, bytes], inputs: np.ndarray, class_names: Sequence[str]
) -> dict[str, float]:
    """Measure the time of single inputs on this machine: medians of alternating runs.

    Args:
        models: Contents of the ONNX files by name.
        inputs: Inputs of the models, ``[N, ...]``.
        class_names: Names of the classes.

    Returns:
        Milliseconds by name.
    """
    sessions = {name: Model(content, name, class_names) for name, content in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(RUNS + 1):  # the first run is slower
        example = inputs[number % len(inputs)][None]
        for name, session in sessions.items():
            began = time.perf_counter()
            session.logits(example)
            seconds[name].append(time.perf_counter() - began)
    return {name: 1000 * float(np.median(times[1:])) for name, times in seconds.items()}
