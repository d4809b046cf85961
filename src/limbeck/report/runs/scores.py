"""The test results of single arms, read from ``predictions.npz``."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.reading import DAMAGED_ARRAYS, open_arrays
from limbeck.evaluation.pairing import ArmScores
from limbeck.evaluation.statistics import MAX_SEGMENTS
from limbeck.evaluation.vectors import missed_neighbours, nearest_texts
from limbeck.report.figures.predictions import predict
from limbeck.report.runs.read import FinishedRun
from limbeck.run.saved_files import check_results
from limbeck.run.summary import ArmResult, DataFacts


def read_scores(
    run: FinishedRun, arms: Sequence[ArmResult]
) -> tuple[list[ArmScores], NDArray | None]:
    """Read the test results of arms of a run.

    Args:
        run: Finished run.
        arms: Arms of the run.

    Returns:
        The scores of each arm, with its name in the run, and the labels; None if the data is text.

    Raises:
        ConfigError: If the file is missing.
        UntrustedFileError: If it is damaged, or does not fit the summary.
    """
    folder = run.folder
    file = folder.predictions
    if not file.is_file():
        raise ConfigError(
            f"{file} is missing, so the run cannot be compared. 'limbeck resume {folder.path}' "
            "restores it."
        )
    with folder.keep_unchanged():
        check_results(folder, file)
        try:
            with open_arrays(file) as arrays:
                return _scores(run, arms, arrays)
        except DAMAGED_ARRAYS as error:
            reason = error.args[0] if error.args else type(error).__name__
            raise UntrustedFileError(
                f"{file} is damaged: {reason}. Restore it from a copy, or score the students again "
                f"with 'limbeck resume {folder.path}'."
            ) from None


def _scores(
    run: FinishedRun, arms: Sequence[ArmResult], arrays: Mapping[str, NDArray]
) -> tuple[list[ArmScores], NDArray | None]:
    data, measure = run.summary.data, run.summary.measure
    labels = None
    if measure == "errors":
        labels = _array(arrays, "labels", 1, np.integer)
    elif measure in ("squared_error", "label_errors"):
        labels = _array(arrays, "labels", 2, np.floating)
    elif measure == "missed_neighbours":  # the teacher's neighbours take the place of labels
        vectors = _array(arrays, "teacher", 2, np.floating)
        labels = nearest_texts(torch.from_numpy(vectors)).numpy()
    if labels is not None and len(labels) != data.test:
        raise ValueError(f"it has {len(labels)} labels, but the summary {data.test}")
    scores = []
    for arm in arms:
        if not arm.seeds:
            raise ValueError(f"arm {arm.name!r} has no seeds in the summary")
        values = {}
        for seed in arm.seeds:
            name = f"students/{arm.name}/seed{seed.seed}"
            values[seed.seed] = _values(arrays, name, labels, data)
        errors = {seed.seed: float(seed.test.errors or 0) for seed in arm.seeds}
        scores.append(_mean_by_split(ArmScores(arm.name, values, errors), arm))
    return scores, labels


def _values(
    arrays: Mapping[str, NDArray], name: str, labels: NDArray | None, data: DataFacts
) -> NDArray:
    """Contribution of each test sample of a student to the measure."""
    if labels is None:
        assert data.bytes is not None  # the reader of summaries requires it
        return _bits(_array(arrays, f"nll/{name}", 2, np.floating), data.bytes["test"])
    outputs = _array(arrays, name, 2, np.floating)
    if len(outputs) != len(labels):
        raise ValueError(f"{name!r} has {len(outputs)} rows, expected {len(labels)}")
    if labels.ndim == 1:
        return (predict(outputs).top != labels).astype(int)
    if data.task == "embedding":
        nearest = nearest_texts(torch.from_numpy(outputs))
        return missed_neighbours(nearest, torch.from_numpy(labels)).numpy() / len(labels)
    if "scale" in arrays:
        return _squared_errors(outputs, labels, _array(arrays, "scale", 1, np.floating))
    if outputs.shape != labels.shape:
        raise ValueError(f"it has logits {outputs.shape} for labels {labels.shape}")
    return np.where(labels > 0.5, ~(outputs > 0), ~(outputs <= 0)).sum(1)


def _mean_by_split(scores: ArmScores, arm: ArmResult) -> ArmScores:
    """Average the seeds of each split, which are not independent, under the first of them."""
    if all(seed.split is None for seed in arm.seeds):
        return scores
    groups: dict[int | None, list[int]] = {}
    for seed in arm.seeds:
        groups.setdefault(seed.split, []).append(seed.seed)
    values, errors = {}, {}
    for group in groups.values():
        values[group[0]] = np.mean([scores.values[seed] for seed in group], 0)
        errors[group[0]] = float(np.mean([scores.errors[seed] for seed in group]))
    return ArmScores(scores.name, values, errors)


def _array(arrays: Mapping[str, NDArray], name: str, ndim: int, kind: type) -> NDArray:
    values = arrays[name]
    if values.ndim != ndim or not np.issubdtype(values.dtype, kind) or not values.size:
        raise ValueError(f"{name!r} is an array {values.dtype} of shape {values.shape}")
    return values


def _squared_errors(outputs: NDArray, labels: NDArray, scale: NDArray) -> NDArray:
    """Share of each sample in the mean squared error."""
    if outputs.shape != labels.shape or len(scale) != labels.shape[1] or not (scale > 0).all():
        raise ValueError(f"it has values {outputs.shape} for labels {labels.shape}")
    errors = (outputs.astype(float) - labels) / scale
    return np.square(errors).mean(1) / len(labels)


def _bits(nll: NDArray, size: int) -> NDArray:
    """Bits per byte that each segment of the test text adds."""
    if size < 1:
        raise ValueError(f"the test text has {size} bytes in the summary")
    parts = np.array_split(nll, min(MAX_SEGMENTS, len(nll)))
    nats = np.array([part.sum(dtype=float) for part in parts])
    return nats / (math.log(2) * size)
