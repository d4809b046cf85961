"""Getting the teacher of a study: as given, from files, as this run has finished it before, or
trained now.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._base.errors import DivergedError, TeacherError
from limbeck.data import Dataset
from limbeck.data.batches import StudyData
from limbeck.losses import Objective
from limbeck.models import HuggingFace, LoadedModel, load_model, save_model
from limbeck.models.files.checkpoint import DESCRIPTION, WEIGHTS, file_digest, find_weights
from limbeck.run.folder import RunFolder
from limbeck.study.arms import Builder, Teacher, build, check_views
from limbeck.teacher.checks import check_teacher, check_vocabulary
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack
from limbeck.training.task import DistillationTask

OF_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".json")
Fit = Callable[[str, str, DistillationTask, StudyData, int], None]
"""Trains a module: its stage, what to call it, the module, its data, epochs."""


class TeacherSource:
    """Where the teacher of a study comes from; a copy of it is kept in the run folder.

    Args:
        teacher: a plan to train or load one, a trained model, or several.
        data: of the study.
        run: the study's folder.
        fit: how to train.
    """

    def __init__(
        self,
        teacher: Teacher | nn.Module | Sequence[nn.Module],
        data: Dataset,
        run: RunFolder,
        fit: Fit,
    ):
        self.plan = teacher if isinstance(teacher, Teacher) else None
        self.data, self.run, self.fit = data, run, fit
        self._models: list[nn.Module] = []
        if isinstance(teacher, nn.Module):
            self._models = [teacher]
        elif not isinstance(teacher, Teacher):
            self._models = list(teacher)
        self._given: list[nn.Module] | None = None

    def check(self) -> None:
        """Meet mistakes before anything is written or trained.

        Raises:
            ConfigError: the model or its views do not fit the data.
            TeacherError: the files or models are missing, or do not fit the data.
        """
        if self.plan is not None and self.plan.source is None:
            check_views(self.plan.views, self.data.train, self.data)
            model = build(_builder(self.plan), self.data, self.plan.seed)
            check_vocabulary(model, self.data.class_names, where="teacher.model")
        else:
            self._given = self._from_files() if self.plan else self._from_models()

    def preview(self) -> LiveTeacher:
        """The teacher as it is before its training, to look at its layers, once :meth:`check` has
        passed.
        """
        if self._given:
            return LiveTeacher(self._given)
        assert self.plan is not None
        return LiveTeacher(
            [
                build(_builder(self.plan), self.data, self.plan.seed)
                for _ in range(self.plan.members)
            ]
        )

    def get(self) -> LiveTeacher:
        """The teacher, once :meth:`check` has passed.

        Raises:
            DivergedError: its training did.
        """
        models = self._given or self._finished_before() or self._trained()
        if self._given:
            self._save(models)
        return LiveTeacher(models, combine=self.plan.combine if self.plan else "probabilities")

    def digests(self, members: int) -> dict[str, str]:
        """Of the weights kept in the run folder, by folder."""
        folders = self._folders(members)
        return {f.relative_to(self.run.path).as_posix(): file_digest(f / WEIGHTS) for f in folders}

    def _folders(self, members: int) -> list[Any]:
        home = self.run.teacher
        return [home] if members == 1 else [home / f"member{i}" for i in range(members)]

    def _from_files(self) -> list[nn.Module]:
        assert self.plan is not None
        return [found.model for found in load_teachers(self.plan, self.data)]

    def _from_models(self) -> list[nn.Module]:
        if not self._models:
            raise TeacherError(
                "teacher=[] names no model; give one, several, or None for controls alone."
            )
        for model in self._models:
            check_teacher(
                LoadedModel(model, {}),
                self.data.blank(1),
                self.data.answer_shape,
                class_names=self.data.class_names,
                where="teacher",
            )
        return self._models

    def _finished_before(self) -> list[nn.Module] | None:
        """The teacher that this run has trained before, if it is resumed."""
        plan = self.plan
        assert plan is not None
        folders = self._folders(plan.members)
        if not all(
            (folder / WEIGHTS).is_file() and (folder / "model.json").is_file() for folder in folders
        ):
            return None
        return [
            load_model(folder, lambda: build(_builder(plan), self.data, 0)).model
            for folder in folders
        ]

    def _trained(self) -> list[nn.Module]:
        plan = self.plan
        assert plan is not None
        seeds = list(range(plan.seed, plan.seed + plan.members))
        models = [build(_builder(plan), self.data, seed) for seed in seeds]
        if reason_not_to_stack(models[0], len(models)) is None:
            groups = [(Cohort([models]), seeds)]
        else:
            groups = [
                (Cohort.of_one(model), [seed]) for model, seed in zip(models, seeds, strict=True)
            ]
        trained: list[nn.Module] = []
        labels_only = [Objective(hard_weight=1.0, soft_weight=0.0)]
        for number, (cohort, members) in enumerate(groups):
            task = DistillationTask(
                cohort,
                None,
                labels_only,
                optimizer=plan.optimizer,
                arm_names=["teacher"],
                seeds=members,
            )
            data = StudyData(self.data, seeds=members, batch_size=plan.batch_size, views=plan.views)
            label = "teacher" if len(seeds) == 1 else f"teachers {members[0]} to {members[-1]}"
            self.fit(f"teacher{number}", label, task, data, plan.epochs)
            if task.diverged:
                raise DivergedError(task.diverged[0][2])
            trained += [model for _, _, model in cohort.members()]
        self._save(trained)
        return [model.eval() for model in trained]

    def _save(self, models: Sequence[nn.Module]) -> None:
        for model, folder in zip(models, self._folders(len(models)), strict=True):
            save_model(
                model, folder, class_names=self.data.class_names, tokenizer=self.data.tokenizer_file
            )


def _builder(plan: Teacher) -> Builder:
    assert plan.model is not None
    return plan.model


def load_teachers(teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    """Read the models that ``teacher.source`` names; a run folder of an ensemble gives all its
    members.

    Raises:
        ConfigError: there is no language model of that name.
        ResourceError: the hub cannot be reached.
        TeacherError: nothing is there, or it does not fit the data.
        UntrustedFileError: a file is damaged, or reading it would run code.
    """
    loaded = []
    for place in teacher.source or ():
        found = (
            [_from_hub(place, data)]
            if _is_of_hub(Path(place), data)
            else _from_files(Path(place), teacher, data)
        )
        for model in found:
            check_teacher(
                model,
                data.blank(1),
                data.answer_shape,
                class_names=data.class_names,
                where=str(place),
            )
        loaded += found
    if not loaded:
        raise TeacherError("teacher.from names no model.")
    return loaded


def _from_files(place: Path, teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    files = sorted(place.glob(f"teacher/member*/{WEIGHTS}")) or [find_weights(place)]
    empty = None if teacher.model is None else partial(build, teacher.model, data, 0)
    return [load_model(file, empty, trust_pickle=teacher.trust_pickle) for file in files]


def _is_of_hub(place: Path, data: Dataset) -> bool:
    """Whether a place is a language model as Hugging Face keeps it: a folder of transformers, or a
    name on the hub.

    A name is that of a file or folder that is missing if it has more than two parts, a file's
    ending, or begins with a folder that is there; such a name should not leave the machine.
    """
    if data.tokenizer is None or place.is_file():
        return False
    if place.is_dir():
        return (place / "config.json").is_file() and not (place / DESCRIPTION).is_file()
    parts = place.parts
    return not (
        place.is_absolute() or len(parts) > 2 or place.suffix in OF_FILES or Path(parts[0]).is_dir()
    )


def _from_hub(place: str | Path, data: Dataset) -> LoadedModel:
    return LoadedModel(HuggingFace(data.shape, data.classes, path=place).eval(), {})
