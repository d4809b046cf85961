"""The student of a run that is exported, and its outputs."""

import numpy as np
import torch
from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.reading import DAMAGED_ARRAYS, open_arrays
from limbeck.data import Dataset, Split
from limbeck.data.dataset import as_float
from limbeck.data.padding import cut_padding
from limbeck.deploy.models_of_run import Build, load_student
from limbeck.evaluation.evaluate import predict
from limbeck.evaluation.labels import best_thresholds
from limbeck.run.folder import RunFolder
from limbeck.run.saved_files import check_results
from limbeck.run.summary import Summary

BATCH = 256


def load_adjusted(
    folder: RunFolder, arm: str, seed: int, adjusted: str | None, build: Build | None
) -> nn.Module:
    """Load a student.

    Args:
        folder: Run folder.
        arm: Arm of the student.
        seed: Seed of the student.
        adjusted: Method that fitted constants to its logits; None for the student without them.
        build: Function that takes the name of an arm and returns its untrained student.

    Raises:
        ConfigError: If the run has no students with such constants.
    """
    path = folder.student(arm, seed)
    if adjusted is not None:
        path = path / adjusted
        if not path.is_dir():
            raise ConfigError(
                f"{path} is missing: this run has no students with adjusted={adjusted}. Leave it "
                "out."
            )
    return load_student(folder, path, arm, build)


def logits_of_run(
    folder: RunFolder, summary: Summary, arm: str, seed: int, adjusted: str | None
) -> np.ndarray:
    """Read a student's test outputs ``[N, classes]`` from the run folder, and add its constants.

    Raises:
        ConfigError: If the student has no such constants.
        UntrustedFileError: If the file is damaged or lacks the student.
    """
    logits = _test_outputs(folder, f"students/{arm}/seed{seed}", f"arm {arm}, seed {seed}")
    if adjusted is None:
        return logits
    for method in summary.arm(arm).adjusted or ():
        if method.how != adjusted:
            continue
        for result in method.seeds:
            if result.seed == seed:
                return logits + np.asarray(result.bias, np.float32)
    raise ConfigError(
        f"{folder.path}: arm {arm}, seed {seed} has no constants for adjusted={adjusted}."
    )


def vectors_of_teacher(folder: RunFolder) -> np.ndarray:
    """Read the teacher's test vectors ``[N, D]`` of a run of embeddings.

    Raises:
        UntrustedFileError: If the file is damaged or lacks them.
    """
    return _test_outputs(folder, "teacher", "the teacher's vectors")


def _test_outputs(folder: RunFolder, key: str, words: str) -> np.ndarray:
    """Read one array of ``predictions.npz``; ``words`` name it in messages."""
    check_results(folder, folder.predictions)
    try:
        with open_arrays(folder.predictions) as arrays:
            return arrays[key]
    except DAMAGED_ARRAYS:
        raise UntrustedFileError(
            f"{folder.predictions} is missing, damaged or lacks {words}."
        ) from None


def outputs_of(model: nn.Module, split: Split) -> np.ndarray:
    """Compute the outputs ``[N, classes]`` of a student for a split."""
    batches = (cut_padding(batch, split.padding) for batch in split.inputs.split(BATCH))
    return predict(model, map(as_float, batches)).numpy()


def label_thresholds(data: Dataset, logits: np.ndarray) -> list[float] | None:
    """Fit the probability from which each of several labels is predicted; None for others."""
    if data.kind.outputs != "labels":
        return None
    thresholds = best_thresholds(torch.from_numpy(logits), data.val.labels)
    return [round(value, 6) for value in thresholds.sigmoid().clamp(1e-6, 1 - 1e-6).tolist()]
