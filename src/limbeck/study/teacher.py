"""The teacher of a study: given as a model, loaded from files or a resumed run, or trained."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from limbeck._base.digests import file_digest
from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset
from limbeck.data.model_facts import model_facts
from limbeck.data.resampling import ResampledSplits
from limbeck.models import LoadedModel, load_model
from limbeck.models.files.weights import WEIGHTS
from limbeck.run.finding import Finding
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.study.arms import ArmPlan, Teacher, build
from limbeck.study.checks import check_layers, check_plain_inputs, check_views
from limbeck.study.estimators import (
    NO_PROGRESS,
    build_estimator,
    fit_estimators,
    name_of_lookup,
    no_layers,
)
from limbeck.study.from_teacher import StudentOfTeacher, starts_from_teacher
from limbeck.study.run_folder import check_digest
from limbeck.study.saved_models import record_models, unsaved_models, warn_of_damage
from limbeck.study.teacher_files import load_teachers, sources_of_splits
from limbeck.study.teacher_form import check_loaded, check_untrained
from limbeck.study.teacher_training import Fit, builder_of, distinct, train_members
from limbeck.study.texts import prepare_for_texts
from limbeck.teacher.adapt import TeacherModels, as_models
from limbeck.teacher.adapter import adapter_of, identify
from limbeck.teacher.adapter_remedies import remedies_of
from limbeck.teacher.examination import examine_models
from limbeck.teacher.files import load_member, save_teacher
from limbeck.teacher.remedies import Remedies, SettingRemedies
from limbeck.teacher.signal import LiveTeacher, combine_for
from limbeck.training.sharding import check_model


class TeacherSource:
    """Provider of the teacher of a study, which saves a copy in the run folder.

    Args:
        teacher: Teacher to train or load, a trained model of any kind, or several of them.
        splits: Training and validation splits of the study. A teacher that is trained is trained on
            each of them; one that exists serves all.
        run: Folder of the run.
        fit: Function that fits a model.
        together: Whether members that can be stacked are trained at once.
        is_sharded: Whether each process of a training holds a share of the weights.
        progress: Progress display, for estimators.
    """

    def __init__(
        self,
        teacher: Teacher | TeacherModels,
        splits: ResampledSplits,
        run: RunFolder,
        fit: Fit,
        *,
        together: bool = True,
        is_sharded: bool = False,
        progress: StageProgress = NO_PROGRESS,
    ):
        self.progress = progress
        self.plan = teacher if isinstance(teacher, Teacher) else None
        self.splits, self.run, self.fit = splits, run, fit
        self.data = splits.data
        self.together, self.is_sharded = together, is_sharded
        self._parts: list[nn.Module | Teacher] = []
        if not isinstance(teacher, Teacher):
            self._parts = _parts_of(teacher, self.data)
        self._existing: list[list[nn.Module]] = []
        self._teachers: list[LiveTeacher] = []
        self._preview: LiveTeacher | None = None

    def check(self) -> None:
        """Check the teacher before anything is written or trained.

        Raises:
            ConfigError: If the model or its views do not fit the dataset.
            TeacherError: If files or models are missing or do not fit the dataset.
        """
        plan = self.plan
        if plan is None:
            part = self._parts[0] if len(self._parts) == 1 else None
            if isinstance(part, Teacher):
                self._existing = self._load_source(part)
            else:
                self._existing = [self._check_models()]
        elif plan.source is not None:
            self._existing = self._load_source(plan)
        elif plan.estimator is not None:
            build_estimator(plan, self.data)
        else:
            for kind in distinct(plan.kinds):
                check_views(kind.views, self.data.train, self.data)
                model = build(builder_of(kind), self.data, plan.seed)
                check_untrained(model, self.data)
                if self.is_sharded:
                    check_model(model, "The teacher")

    def check_arms(self, plans: Sequence[ArmPlan]) -> None:
        """Check that arms need no more of the teacher than it has. Call :meth:`check` first.

        Args:
            plans: Arms of the study.

        Raises:
            ConfigError: If an arm needs layers that do not exist, or answers to other inputs than
                the samples.
        """
        check_layers(plans, self.data, self.preview)
        name = name_of_lookup(self.plan, chain.from_iterable(self._existing))
        for plan in plans:
            if name is not None and plan.objective.needs_teacher:
                check_plain_inputs(plan, name)

    @property
    def is_scored(self) -> bool:
        """Whether the teacher has a test result; a model always does."""
        return True

    @property
    def exists(self) -> bool:
        """Whether the teacher is there already, after :meth:`check`."""
        return bool(self._existing)

    def existing(self) -> LiveTeacher | None:
        """Return a teacher that exists already; None if it is yet to be trained.

        Call :meth:`check` first.
        """
        if not self._existing:
            return None
        return LiveTeacher(self._existing[0], combine=self._combine)

    def examine(self, device: torch.device) -> list[Finding]:
        """Examine a teacher that exists already. Call :meth:`check` first.

        Args:
            device: Device on which the teacher runs.
        """
        if not self._existing:
            return []
        return examine_models(self._existing[0], self.data, self._remedies(), device=device)

    @property
    def switch_off(self) -> str:
        """Sentence that says how to go on without an examination."""
        return self._remedies()[0].switch_off

    def _remedies(self) -> Sequence[Remedies]:
        models = self._existing[0] if self._existing else []
        if self.plan is not None:
            return [SettingRemedies()] * max(len(models), 1)
        return [remedies_of(model) for model in models]

    @property
    def _combine(self) -> str:
        """Outputs of the members to average."""
        combine = self.plan.combine if self.plan else "probabilities"
        return combine_for(self.data.kind.outputs, combine)

    def preview(self) -> LiveTeacher:
        """Return the untrained teacher, to inspect its layers."""
        if not self._existing and (self.plan is None or self.plan.source is not None):
            self.check()
        if self._existing:
            return LiveTeacher(self._existing[0], combine=self._combine)
        assert self.plan is not None
        if self.plan.estimator is not None:
            raise no_layers()
        seed = self.plan.seed
        models = [build(builder_of(kind), self.data, seed) for kind in self.plan.kinds]
        return LiveTeacher(models, combine=self._combine)

    def get(self, manifest: ManifestWriter) -> list[LiveTeacher]:
        """Return the trained teacher of each split. Call :meth:`check` first.

        A damaged teacher of a resumed run is trained again. Its weights have to be the same as
        before, since students may have learned from its answers.

        Args:
            manifest: Manifest of the run, where the teacher is listed.

        Returns:
            One teacher per split; the same one several times if it exists already.

        Raises:
            DivergedError: If the training diverged.
            TeacherError: If the teacher has changed since the run was started.
        """
        if self._existing:
            for members, folders in zip(self._existing, self._folders(self._existing), strict=True):
                for model, folder in zip(members, folders, strict=True):
                    identify(model, self.data.train.inputs, folder)
            models = self._existing
            self._save(models)
        else:
            models = self._load_from_run(manifest) or self._train()
        folders = [path for part in self._folders(models) for path in part]
        for folder in folders:
            name = folder.relative_to(self.run.path).as_posix()
            check_digest(manifest, self.run, name, file_digest(folder / WEIGHTS))
        record_models(manifest, folders)
        teachers = [LiveTeacher(members, combine=self._combine) for members in models]
        self._teachers = teachers if len(teachers) > 1 else teachers * self.splits.count
        self._preview = None
        return self._teachers

    def model_of(self, seed: int) -> nn.Module:
        """Return the model that a student starts from; untrained before :meth:`get`.

        Args:
            seed: Seed of the student.

        Raises:
            ConfigError: If the teacher is an ensemble, or has no layers.
        """
        if not self._teachers:
            if self._preview is None:
                self._preview = self.preview()
            teacher = self._preview
        else:
            is_known = seed in self.splits.seeds
            teacher = self._teachers[self.splits.split_of(seed) if is_known else 0]
        if len(teacher.models) > 1:
            raise ConfigError(
                f"init=teacher needs a single model, but the teacher has {len(teacher.models)}. "
                "Use teacher.members=1, or init=null."
            )
        return teacher.models[0]

    def notes(self) -> list[str]:
        """Return sentences about what is done to inputs and outputs of an existing teacher."""
        models = self._existing[0] if self._existing else []
        adapters = [adapter_of(model) for model in models]
        return [note for adapter in adapters if adapter is not None for note in adapter.notes]

    def _folders(self, models: Sequence[Sequence[object]]) -> list[list[Path]]:
        """Folders of the members of each teacher; that of the first split has no number."""
        folders = []
        for number, members in enumerate(models):
            root = self.run.teacher_of(number)
            of_members = [root / f"member{i}" for i in range(len(members))]
            folders.append([root] if len(members) == 1 else of_members)
        return folders

    def _load_source(self, plan: Teacher) -> list[list[nn.Module]]:
        """Load the teacher of each split, if they come from such a run, or one for all splits."""
        plans = [plan]
        source = list(plan.source or ())
        if len(source) == 1 and not isinstance(source[0], Teacher):
            parts = sources_of_splits(source[0], self.splits.count)
            plans = [replace(plan, source=part) for part in parts]
        return [[loaded.model for loaded in load_teachers(each, self.data)] for each in plans]

    def _check_models(self) -> list[nn.Module]:
        if not self._parts:
            raise TeacherError(
                "teacher=[] names no model. Pass one model, several, or None for controls alone."
            )
        models: list[nn.Module] = []
        for part in self._parts:
            if isinstance(part, Teacher):
                models += [loaded.model for loaded in load_teachers(part, self.data)]
            else:
                check_loaded(LoadedModel(part, {}), self.data, "teacher", remedies_of(part))
                models.append(part)
        return models

    def _load_from_run(self, manifest: ManifestWriter) -> list[list[nn.Module]] | None:
        """Load the teachers that were trained before; None if one is not there or damaged."""
        plan = self.plan
        assert plan is not None
        folders = self._folders([range(plan.size_of_ensemble)] * self.splits.count)
        unsaved, damages = unsaved_models(self.run, manifest, list(chain.from_iterable(folders)))
        warn_of_damage(damages, "The teacher is")
        if unsaved:
            return None
        if plan.estimator is not None:
            return [[load_member(folder / WEIGHTS).model for folder in part] for part in folders]
        teachers: list[list[nn.Module]] = []
        for part in folders:
            members = []
            for folder, kind in zip(part, plan.kinds, strict=True):
                empty = partial(build, builder_of(kind), self.data, 0)
                members.append(load_model(folder, empty).model)
            teachers.append(members)
        return teachers

    def _train(self) -> list[list[nn.Module]]:
        """Train the members for all splits, together if they can be stacked."""
        plan = self.plan
        assert plan is not None
        if plan.estimator is not None:
            fitted = fit_estimators(plan, self.splits, self.progress)
            self._save(fitted)
            return [[*members] for members in fitted]
        ensembles = train_members(plan, self.splits, self.fit, together=self.together)
        self._save(ensembles)
        return [[model.eval() for model in members] for members in ensembles]

    def _save(self, teachers: Sequence[Sequence[nn.Module]]) -> None:
        folders = chain.from_iterable(self._folders(teachers))
        for model, folder in zip(chain.from_iterable(teachers), folders, strict=True):
            save_teacher(model, folder, **model_facts(self.data))


def with_teacher(plans: Sequence[ArmPlan], source: object) -> list[ArmPlan]:
    """Return the arms, with the teacher for students that start from it.

    Args:
        plans: Arms with all defaults filled in.
        source: Source of the teacher, or of its answers; None for controls alone.

    Raises:
        ConfigError: If students start from a teacher that is no model.
    """
    arms = []
    for plan in plans:
        if starts_from_teacher(plan.student):
            if not isinstance(source, TeacherSource):
                raise ConfigError(
                    f"arms.{plan.name}: the student starts from its teacher (init=teacher), but "
                    "there is no model of one. Choose a teacher (teacher=, teacher.from=), or "
                    "student.init=null."
                )
            plan = replace(plan, student=StudentOfTeacher(plan.student, source.model_of))
        arms.append(plan)
    return arms


def _parts_of(teacher: object, data: Dataset) -> list[nn.Module | Teacher]:
    """Return the models of a teacher, and the teachers that have to be loaded."""
    if isinstance(teacher, (list, tuple)):
        return [part for item in teacher for part in _parts_of(item, data)]
    if isinstance(teacher, (str, Path, Teacher)):
        return [Teacher(source=[teacher])]
    models = as_models(teacher, data.class_names, outputs=data.kind.outputs)
    return [prepare_for_texts(model, data) for model in models]
