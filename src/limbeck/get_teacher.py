"""Getting the teacher of a study: as given, from files, as this run has finished it before, or trained now."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from limbeck.data import Dataset
from limbeck.data.batches import StudyData
from limbeck.errors import DivergedError, TeacherError
from limbeck.losses import Objective
from limbeck.models import load_model, save_model
from limbeck.models.checkpoint import WEIGHTS, LoadedModel, file_digest
from limbeck.plan import Builder, Teacher, build, check_views, load_teachers
from limbeck.run_folder import RunFolder
from limbeck.teacher.check import check_teacher
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.cohort import Cohort, reason_not_to_stack
from limbeck.training.module import DistillationModule

Fit = Callable[[str, str, DistillationModule, StudyData, int], None]
"""Trains a module: its stage, what to call it, the module, its data, epochs."""


class TeacherSource:
    """Where the teacher of a study comes from; a copy of it is kept in the run folder.

    Args:
        teacher: a plan to train or load one, a trained model, or several.
        data: of the study.
        run: the study's folder.
        fit: how to train.
    """

    def __init__(self, teacher: Teacher | nn.Module | Sequence[nn.Module], data: Dataset, run: RunFolder, fit: Fit):
        self.plan = teacher if isinstance(teacher, Teacher) else None
        self.data, self.run, self.fit = data, run, fit
        self._models = [] if self.plan else [teacher] if isinstance(teacher, nn.Module) else list(teacher)  # type: ignore[arg-type]
        self._given: list[nn.Module] | None = None

    def check(self) -> None:
        """Meet mistakes before anything is written or trained.

        Raises:
            ConfigError: the model or its views do not fit the data.
            TeacherError: the files or models are missing, or do not fit the data.
        """
        if self.plan is not None and self.plan.source is None:
            check_views(self.plan.views, self.data.train)
            build(_builder(self.plan), self.data, self.plan.seed)
        else:
            self._given = self._from_files() if self.plan else self._from_models()

    def preview(self) -> LiveTeacher:
        """The teacher as it is before its training, to look at its layers, once :meth:`check` has passed."""
        if self._given:
            return LiveTeacher(self._given)
        assert self.plan is not None
        return LiveTeacher([build(_builder(self.plan), self.data, self.plan.seed) for _ in range(self.plan.members)])

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
            raise TeacherError("teacher=[] names no model; give one, several, or None for controls alone.")
        for model in self._models:
            check_teacher(
                LoadedModel(model, {}), self.data.blank(1), self.data.answer_shape, class_names=self.data.class_names,
                where="teacher",
            )  # fmt: skip
        return self._models

    def _finished_before(self) -> list[nn.Module] | None:
        """The teacher that this run has trained before, if it is resumed."""
        plan = self.plan
        assert plan is not None
        folders = self._folders(plan.members)
        if not all((folder / WEIGHTS).is_file() and (folder / "model.json").is_file() for folder in folders):
            return None
        return [load_model(folder, lambda: build(_builder(plan), self.data, 0)).model for folder in folders]

    def _trained(self) -> list[nn.Module]:
        plan = self.plan
        assert plan is not None
        seeds = list(range(plan.seed, plan.seed + plan.members))
        models = [build(_builder(plan), self.data, seed) for seed in seeds]
        if reason_not_to_stack(models[0], len(models)) is None:
            groups = [(Cohort([models]), seeds)]
        else:
            groups = [(Cohort.of_one(model), [seed]) for model, seed in zip(models, seeds, strict=True)]
        trained: list[nn.Module] = []
        labels_only = [Objective(hard_weight=1.0, soft_weight=0.0)]
        for number, (cohort, members) in enumerate(groups):
            module = DistillationModule(
                cohort, None, labels_only, optimizer=plan.optimizer, arm_names=["teacher"], seeds=members
            )
            data = StudyData(self.data, seeds=members, batch_size=plan.batch_size, views=plan.views)
            label = "teacher" if len(seeds) == 1 else f"teachers {members[0]} to {members[-1]}"
            self.fit(f"teacher{number}", label, module, data, plan.epochs)
            if module.diverged:
                raise DivergedError(module.diverged[0][2])
            trained += [model for _, _, model in cohort.members()]
        self._save(trained)
        return [model.eval() for model in trained]

    def _save(self, models: Sequence[nn.Module]) -> None:
        for model, folder in zip(models, self._folders(len(models)), strict=True):
            save_model(model, folder, class_names=self.data.class_names)


def _builder(plan: Teacher) -> Builder:
    assert plan.model is not None
    return plan.model
