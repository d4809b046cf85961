"""Files of a study next to its summary: test predictions, examples and adjusted students."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck._base.files import open_atomically
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.data.model_facts import model_facts
from limbeck.evaluation.examples import select_examples
from limbeck.models import save_model
from limbeck.models.bias import add_to_logits
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.run.summary import Summary
from limbeck.study.arms import ArmPlan
from limbeck.study.saved_models import record_models
from limbeck.study.scores import ClassifierScores, Students, StudyScores
from limbeck.training.loggers import gather_scalars, warn_of_missing_epochs

PROBE_SIZE = 16
"""Number of inputs on which a model is compared before and after its constants are folded in."""


def write_metrics(
    run: RunFolder, students: Students, plans: Sequence[ArmPlan], trainer: Mapping[str, Any]
) -> None:
    """Write ``metrics.csv``, with a warning if the logs of trained students are incomplete.

    Args:
        run: Folder of the run.
        students: Trained students.
        plans: Arms of the study.
        trainer: Settings of the group ``trainer``.
    """
    rows = gather_scalars(run.logs)
    run.write_scalars(rows)
    if trainer.get("max_steps") in (None, -1):
        epochs = {plan.name: plan.epochs for plan in plans}
        expected = {(arm, seed): epochs[arm] for arm, seed in students}
        warn_of_missing_epochs(rows, expected, run.logs)


def write_predictions(run: RunFolder, scores: StudyScores) -> None:
    """Write ``predictions.npz``: the logits on the test split, or the NLL of each token of text."""
    _write_arrays(run.predictions, scores.arrays())


def write_examples(run: RunFolder, scores: StudyScores, summary: Summary, count: int) -> None:
    """Write ``examples.npz``: test images on which the main arm and its control differ.

    Nothing is written unless the inputs are uint8 images ``[N, C, H, W]`` and there is a main
    comparison.

    Args:
        run: Folder of the run.
        scores: Scores of all students.
        summary: Summary of the run.
        count: Maximum number of images; 0 for none.
    """
    main = summary.main_comparison
    if main is None or not count or not isinstance(scores, ClassifierScores):
        return
    images, labels = scores.test_inputs, scores.test_labels
    is_image = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] in (1, 3)
    if not is_image:
        return
    arm, control = _stacked_logits(scores, main.arm), _stacked_logits(scores, main.control)
    examples = select_examples(arm, control, labels.numpy(), count)
    if not examples.rows:
        return
    arrays = {
        "arm": arm[examples.seeds, examples.rows],
        "control": control[examples.seeds, examples.rows],
        "images": images[examples.rows].numpy(),
        "labels": labels[examples.rows].numpy(),
        "rows": np.array(examples.rows),
        "names": np.array([main.arm, main.control]),
        "classes": np.array(summary.classes),
        "temperature": np.array(summary.arm(main.arm).objective.get("temperature", 1.0)),
        "alone": np.array([examples.arm_alone, examples.control_alone]),
    }
    students = scores.students_of(main.arm)
    teachers = [scores.test[students[seed]].teacher for seed in examples.seeds]
    answers = [
        logits[row].numpy()
        for logits, row in zip(teachers, examples.rows, strict=True)
        if logits is not None
    ]
    if answers:
        arrays["teacher"] = np.stack(answers)
    _write_arrays(run.examples, arrays)


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    with open_atomically(path) as file:
        np.savez_compressed(file, **arrays)


def _stacked_logits(scores: ClassifierScores, arm: str) -> np.ndarray:
    """Return the test logits of all seeds of an arm, ``[S, N, C]``."""
    return np.stack([scores.test[student].logits.numpy() for student in scores.students_of(arm)])


def save_adjusted(
    scores: StudyScores,
    students: Students,
    data: Dataset,
    run: RunFolder,
    manifest: ManifestWriter,
) -> list[str]:
    """Save every student with its constants folded into the bias of its last layer.

    The models are saved in a subfolder of the student's folder, named after the method.

    Returns:
        A warning for each arm whose students have no bias in the last layer.
    """
    if not isinstance(scores, ClassifierScores) or scores.adjustment is None:
        return []
    method = scores.adjustment.how
    folders = []
    arms_without_bias: list[str] = []
    for (arm, seed), bias in scores.adjustment.biases.items():
        model = students[arm, seed]().eval()
        if add_to_logits(model, bias, as_float(data.val.inputs[:PROBE_SIZE])):
            folder = run.student(arm, seed) / method
            save_model(model, folder, **model_facts(data))
            folders.append(folder)
        else:
            arms_without_bias.append(arm)
    record_models(manifest, folders)
    return [
        f"The students of arm '{arm}' have no bias in their last layer, so they could not be saved "
        f"with the constants of bias={method}: add those of summary.json to their logits."
        for arm in dict.fromkeys(arms_without_bias)
    ]
