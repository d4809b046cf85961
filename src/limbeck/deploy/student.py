"""The student of a run that is exported, and its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.reading import DAMAGED_ARRAYS, open_arrays
from limbeck.data import Dataset, Split
from limbeck.data.dataset import as_float
from limbeck.data.embeddings import set_dimensions
from limbeck.data.padding import cut_padding
from limbeck.deploy.choice import choose_student, describe_choice
from limbeck.deploy.models_of_run import Build, check_data_of_run, data_of_student, load_student
from limbeck.deploy.vectors import UnitVectors
from limbeck.evaluation.evaluate import predict
from limbeck.evaluation.labels import best_thresholds
from limbeck.losses.vectors import unit
from limbeck.run.folder import RunFolder
from limbeck.run.saved_files import check_results
from limbeck.run.summary import Summary, read_summary

if TYPE_CHECKING:
    from limbeck.deploy.export import ExportOptions

BATCH = 256


@dataclass(frozen=True)
class ExportStudent:
    """A student to export, with what its export is compared with.

    Attributes:
        arm: Arm of the student.
        seed: Seed of the student.
        model: Model as loaded from the run; of embeddings with vectors of length 1.
        outputs: Test outputs of the model in the run folder, ``[N, classes]``.
        data: Dataset with the training and validation split of the student.
        scale: Standard deviation of each target of a regression, or 1 for each dimension of
            embeddings; None for others.
        summary: Summary of the run.
        note: Reason why the student of a control was chosen, or empty.
    """

    arm: str
    seed: int
    model: nn.Module
    outputs: np.ndarray
    data: Dataset
    scale: Sequence[float] | None
    summary: Summary
    note: str

    @property
    def title(self) -> str:
        """Title of the exported model."""
        return f"{self.summary.recipe}: {self.arm}, seed {self.seed}"


def open_student(
    run: str | Path, data: Dataset, options: "ExportOptions", build: Build | None = None
) -> ExportStudent:
    """Choose a student of a run and load it.

    Args:
        run: Folder of a finished run.
        data: Dataset of the run.
        options: Choice of the student.
        build: Function that takes the name of an arm and returns its untrained student.

    Raises:
        ConfigError: If the run has no such student.
        DataError: If the dataset differs from the one the run used.
        UntrustedFileError: If a file is damaged.
    """
    folder = RunFolder(run)
    check_results(folder, folder.summary)
    summary = read_summary(folder)
    arm, seed = choose_student(summary, options.arm, options.seed, with_controls=True)
    check_data_of_run(folder, data)
    data = data_of_student(data, summary, arm, seed)
    model = load_adjusted(folder, arm, seed, options.adjusted, build)
    outputs = logits_of_run(folder, summary, arm, seed, options.adjusted)
    scale = data.target_scale
    if data.kind.outputs == "vectors":
        data, model = set_dimensions(data, outputs.shape[1]), UnitVectors(model)
        outputs, scale = unit(torch.from_numpy(outputs)).numpy(), [1.0] * data.classes
    note = describe_choice(summary, arm) if options.arm is None else ""
    return ExportStudent(arm, seed, model, outputs, data, scale, summary, note)


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
