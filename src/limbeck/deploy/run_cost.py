"""Cost and test errors of the models of a finished run: ``cost.json``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck._base.progress import Advance, StageProgress
from limbeck._base.scratch import scratch_folder
from limbeck.data import Dataset
from limbeck.data.embeddings import set_dimensions
from limbeck.deploy.choice import best_student, check_has_one_answer
from limbeck.deploy.cost import CostModel
from limbeck.deploy.cost_models import cost_model, measure_models
from limbeck.deploy.models_of_run import (
    Build,
    check_data_of_run,
    load_student,
    load_teacher,
    reads_run,
)
from limbeck.deploy.onnx_export import (
    check_onnx_is_installed,
    onnx_logits,
)
from limbeck.deploy.student import vectors_of_teacher
from limbeck.evaluation.judges import judge_of
from limbeck.evaluation.metrics import errors
from limbeck.evaluation.predictions import Predictions
from limbeck.report.page import write_report
from limbeck.run.cost import Cost, write_cost
from limbeck.run.folder import RunFolder
from limbeck.run.saved_files import check_model_folders, check_results
from limbeck.run.summary import ArmResult, Summary, read_summary
from limbeck.teacher.adapter import adapter_of

RESULTS = "cost.json and report.html"
"""Names of the files that are written."""


@reads_run
def cost(
    run: str | Path,
    data: Dataset,
    *,
    combine: str = "probabilities",
    build: Build | None = None,
    progress: bool = True,
) -> Cost:
    """Measure the teacher and one student of each architecture, and add them to the report.

    The distilled student with the fewest validation errors represents its architecture. The errors
    of 8-bit models are counted on the test split. The result is written to ``cost.json``.

    Args:
        run: Folder of a finished run.
        data: Dataset of the run.
        combine: Rule by which the run combined the answers of several teachers.
        build: Function that takes the name of an arm and returns its untrained student, for your
            own classes. These are measured in ONNX Runtime only.
        progress: Whether to show progress on standard error.

    Returns:
        The content of ``cost.json``.

    Raises:
        ConfigError: If a model cannot be exported to ONNX, the dataset is text, the folder is not
            writable, or another process works in it.
        DataError: If the dataset differs from the one the run used.
        ResourceError: If a library is missing or a measurement fails.
    """
    check_has_one_answer(data, "cost")
    check_onnx_is_installed()
    folder = RunFolder(run)
    check_results(folder, folder.summary)
    summary = read_summary(folder)
    folder.check_writable(RESULTS)
    check_data_of_run(folder, data)
    if not summary.arms and summary.teacher is None:
        raise ConfigError(f"{folder.path} has no models to measure.")
    arms = _arms_by_architecture(summary)
    _check_models(folder, summary, arms)
    vectors = None
    if data.kind.outputs == "vectors":
        vectors = torch.from_numpy(vectors_of_teacher(folder))
        data = set_dimensions(data, vectors.shape[1])
    stages = StageProgress(enabled=progress)
    with scratch_folder() as temporary:
        exporter = _Exporter(data, Path(temporary), combine, vectors)
        with stages.stage("exporting", len(arms) + 1) as advance:
            models = _export_models(folder, summary, arms, exporter, build, advance)
        with stages.stage("measuring", 1.0) as advance:
            result = measure_models(models, data, advance)
    write_cost(folder, result)
    write_report(folder.path)
    return result


def _arms_by_architecture(summary: Summary) -> list[list[ArmResult]]:
    """The arms of each architecture and size."""
    groups: dict[tuple[str, int], list[ArmResult]] = {}
    for arm in summary.arms:
        groups.setdefault((arm.student, arm.params), []).append(arm)
    return list(groups.values())


def _has_model(summary: Summary) -> bool:
    """Whether the run has a model of the teacher, not only a file of answers."""
    return summary.teacher is not None and summary.answers is None


def _check_models(folder: RunFolder, summary: Summary, arms: Sequence[Sequence[ArmResult]]) -> None:
    """Check all models before the first one is exported."""
    paths = list(folder.teachers()) if _has_model(summary) else []
    check_model_folders(
        folder, [*paths, *(folder.student(*best_student(group, summary.measure)) for group in arms)]
    )


def _export_models(
    folder: RunFolder,
    summary: Summary,
    arms: Sequence[Sequence[ArmResult]],
    exporter: "_Exporter",
    build: Build | None,
    advance: Advance,
) -> list[CostModel]:
    models = []
    members = load_teacher(folder) if _has_model(summary) else []
    if members and not any(map(adapter_of, members)):  # others cannot be exported
        models.append(exporter.export("teacher", members, folder.teachers()))
    advance(1)
    for number, group in enumerate(arms, start=2):
        arm, seed = best_student(group, summary.measure)
        path = folder.student(arm, seed)
        student = load_student(folder, path, arm, build)
        models.append(exporter.export(arm, [student], [path]))
        advance(number)
    return models


class _Exporter:
    """Exports models to ONNX files in a temporary folder and counts their test errors.

    Args:
        data: Dataset of the run.
        folder: Temporary folder.
        combine: Rule by which the answers of several models are combined.
        vectors: Test vectors of the teacher of embeddings ``[N, D]``; None for other data.
    """

    def __init__(self, data: Dataset, folder: Path, combine: str, vectors: Tensor | None):
        self.data = data
        self.folder = folder
        self.combine = combine
        self.vectors = vectors
        self.judge = None if data.kind.has_classes else judge_of(data)

    def export(self, name: str, members: Sequence[nn.Module], paths: Sequence[Path]) -> CostModel:
        """Export the members of an ensemble, or a single model.

        Args:
            name: Name of the arm, or ``teacher``.
            members: Models of the ensemble.
            paths: Folder of each member.
        """
        model = cost_model(name, members, paths, self.data, self.folder / name)
        return replace(
            model,
            errors={kind: self._errors(kind, files) for kind, files in model.onnx.items()},
        )

    def _errors(self, precision: str, files: Sequence[Path]) -> float:
        """Errors of the mean of all members on the test split, in the measure of the study."""
        from scipy.special import expit, logit, softmax

        test = self.data.open_test()
        answers = []
        for file in files:
            logits = onnx_logits(
                file.read_bytes(), precision, test.inputs, self.data.output_names, self.data.padding
            )
            if self.data.kind.has_classes and self.combine == "probabilities":
                logits = softmax(logits, axis=1)
            elif self.data.kind.outputs == "labels" and len(files) > 1:
                logits = expit(logits.astype(float))
            answers.append(logits)
        mean = np.mean(answers, axis=0)
        if self.judge is None:
            return int(errors(torch.from_numpy(mean), test.labels))
        if self.data.kind.outputs == "labels" and len(files) > 1:
            mean = logit(mean)
        scored = Predictions(torch.from_numpy(mean), test.labels, self.vectors)
        return float(self.judge.parts(scored).sum())
