"""The teacher of a study: given as a model, loaded from files or a resumed run, or trained."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from limbeck._base.digests import file_digest
from limbeck._base.errors import DivergedError, TeacherError
from limbeck.data import Dataset
from limbeck.data.batches import StudyData
from limbeck.losses import Objective
from limbeck.models import HuggingFace, LoadedModel, load_model
from limbeck.models.files.weights import DESCRIPTION, WEIGHTS
from limbeck.run.finding import Finding
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.study.arms import Builder, Teacher, build
from limbeck.study.checks import check_views
from limbeck.study.run_folder import check_digest
from limbeck.study.saved_models import record_models, unsaved_models, warn_of_damage
from limbeck.study.teacher_form import adapt, check_loaded, load_file
from limbeck.teacher.adapt import TeacherModels, as_models
from limbeck.teacher.adapter import adapter_of, identify
from limbeck.teacher.checks import check_vocabulary
from limbeck.teacher.examination import examine_models
from limbeck.teacher.files import find_members, load_member, load_other, save_teacher
from limbeck.teacher.remedies import ModuleRemedies, Remedies, SettingRemedies
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack
from limbeck.training.task import DistillationTask

FILE_SUFFIXES = (
    ".safetensors",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".json",
    ".onnx",
    ".pt2",
    ".zip",
)
Fit = Callable[[str, str, DistillationTask, StudyData, int], None]
"""Function that fits a model, called with stage, label, task, batches and number of epochs."""


class TeacherSource:
    """Provider of the teacher of a study, which saves a copy in the run folder.

    Args:
        teacher: Teacher to train or load, a trained model of any kind, or several of them.
        data: Dataset of the study.
        run: Folder of the run.
        fit: Function that fits a model.
        together: Whether members that can be stacked are trained at once.
    """

    def __init__(
        self,
        teacher: Teacher | TeacherModels,
        data: Dataset,
        run: RunFolder,
        fit: Fit,
        *,
        together: bool = True,
    ):
        self.plan = teacher if isinstance(teacher, Teacher) else None
        self.data, self.run, self.fit = data, run, fit
        self.together = together
        self._parts: list[nn.Module | Teacher] = []
        if not isinstance(teacher, Teacher):
            self._parts = _parts_of(teacher, data)
        self._existing: list[nn.Module] | None = None

    def check(self) -> None:
        """Check the teacher before anything is written or trained.

        Raises:
            ConfigError: If the model or its views do not fit the dataset.
            TeacherError: If files or models are missing or do not fit the dataset.
        """
        plan = self.plan
        if plan is None:
            self._existing = self._check_models()
        elif plan.source is not None:
            self._existing = [loaded.model for loaded in load_teachers(plan, self.data)]
        else:
            check_views(plan.views, self.data.train, self.data)
            model = build(_builder(plan), self.data, plan.seed)
            check_vocabulary(model, self.data.class_names, where="teacher.model")

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
        return LiveTeacher(
            self._existing, combine=self.plan.combine if self.plan else "probabilities"
        )

    def examine(self, device: torch.device) -> list[Finding]:
        """Examine a teacher that exists already. Call :meth:`check` first.

        Args:
            device: Device on which the teacher runs.
        """
        if not self._existing:
            return []
        return examine_models(self._existing, self.data, self._remedies(), device=device)

    @property
    def switch_off(self) -> str:
        """Sentence that says how to go on without an examination."""
        return self._remedies()[0].switch_off

    def _remedies(self) -> Sequence[Remedies]:
        if self.plan is not None:
            return [SettingRemedies()] * len(self._existing or [1])
        return [ModuleRemedies(model) for model in self._existing or ()]

    def preview(self) -> LiveTeacher:
        """Return the untrained teacher, to inspect its layers. Call :meth:`check` first."""
        if self._existing:
            return LiveTeacher(self._existing)
        assert self.plan is not None
        builder, members = _builder(self.plan), range(self.plan.members)
        return LiveTeacher([build(builder, self.data, self.plan.seed) for _ in members])

    def get(self, manifest: ManifestWriter) -> LiveTeacher:
        """Return the trained teacher. Call :meth:`check` first.

        A damaged teacher of a resumed run is trained again. Its weights have to be the same as
        before, since students may have learned from its answers.

        Args:
            manifest: Manifest of the run, where the teacher is listed.

        Raises:
            DivergedError: If the training diverged.
            TeacherError: If the teacher has changed since the run was started.
        """
        if self._existing:
            for number, folder in enumerate(self._folders(len(self._existing))):
                identify(self._existing[number], self.data.train.inputs, folder)
            self._save(self._existing)
            models = self._existing
        else:
            models = self._load_from_run(manifest) or self._train()
        folders = self._folders(len(models))
        for folder in folders:
            name = folder.relative_to(self.run.path).as_posix()
            check_digest(manifest, self.run, name, file_digest(folder / WEIGHTS))
        record_models(manifest, folders)
        return LiveTeacher(models, combine=self.plan.combine if self.plan else "probabilities")

    def notes(self) -> list[str]:
        """Return sentences about what is done to inputs and outputs of an existing teacher."""
        adapters = [adapter_of(model) for model in self._existing or ()]
        return [note for adapter in adapters if adapter is not None for note in adapter.notes]

    def _folders(self, members: int) -> list[Path]:
        if members == 1:
            return [self.run.teacher]
        return [self.run.teacher / f"member{i}" for i in range(members)]

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
                check_loaded(LoadedModel(part, {}), self.data, "teacher", ModuleRemedies(part))
                models.append(part)
        return models

    def _load_from_run(self, manifest: ManifestWriter) -> list[nn.Module] | None:
        """Load the teacher that was trained before; None if it is not there or damaged."""
        plan = self.plan
        assert plan is not None
        folders = self._folders(plan.members)
        unsaved, damages = unsaved_models(self.run, manifest, folders)
        warn_of_damage(damages, "The teacher is")
        if unsaved:
            return None
        empty = partial(build, _builder(plan), self.data, 0)
        return [load_model(folder, empty).model for folder in folders]

    def _train(self) -> list[nn.Module]:
        """Train all members, together if they can be stacked."""
        plan = self.plan
        assert plan is not None
        seeds = list(range(plan.seed, plan.seed + plan.members))
        models = [build(_builder(plan), self.data, seed) for seed in seeds]
        if self.together and reason_not_to_stack(models[0], len(models)) is None:
            groups = [(Cohort([models]), seeds)]
        else:
            groups = []
            for model, seed in zip(models, seeds, strict=True):
                groups.append((Cohort.of_one(model), [seed]))
        trained: list[nn.Module] = []
        for number, (cohort, members) in enumerate(groups):
            label = "teacher"
            if len(seeds) > 1:
                label = f"teachers {members[0]} to {members[-1]}"
            self._fit(plan, f"teacher{number}", label, cohort, members)
            trained += [model for _, _, model in cohort.members()]
        self._save(trained)
        return [model.eval() for model in trained]

    def _fit(
        self, plan: Teacher, stage: str, label: str, cohort: Cohort, seeds: Sequence[int]
    ) -> None:
        task = DistillationTask(
            cohort,
            None,
            [Objective(hard_weight=1.0, soft_weight=0.0)],
            optimizer=plan.optimizer,
            arm_names=["teacher"],
            seeds=seeds,
        )
        data = StudyData(self.data, seeds=seeds, batch_size=plan.batch_size, views=plan.views)
        self.fit(stage, label, task, data, plan.epochs)
        if task.diverged:
            _, _, reason = task.diverged[0]
            raise DivergedError(reason)

    def _save(self, models: Sequence[nn.Module]) -> None:
        for model, folder in zip(models, self._folders(len(models)), strict=True):
            save_teacher(
                model, folder, class_names=self.data.class_names, tokenizer=self.data.tokenizer_file
            )


def _parts_of(teacher: object, data: Dataset) -> list[nn.Module | Teacher]:
    """Return the models of a teacher, and the teachers that have to be loaded."""
    if isinstance(teacher, (list, tuple)):
        return [part for item in teacher for part in _parts_of(item, data)]
    if isinstance(teacher, (str, Path, Teacher)):
        return [Teacher(source=[teacher])]
    return [*as_models(teacher, data.class_names)]


def _builder(plan: Teacher) -> Builder:
    assert plan.model is not None
    return plan.model


def load_teachers(teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    """Load the models that ``teacher.source`` names.

    For the run folder of an ensemble, all members are loaded.

    Args:
        teacher: Teacher with a source.
        data: Dataset of the study.

    Raises:
        ConfigError: If the hub has no language model of that name.
        ResourceError: If the hub cannot be reached.
        TeacherError: If a model is missing or does not fit the dataset.
        UntrustedFileError: If a file is damaged, or loading it would run code.
    """
    loaded: list[LoadedModel] = []
    for path in teacher.source or ():
        if isinstance(path, Teacher):
            loaded += load_teachers(path, data)
            continue
        if _is_language_model(Path(path), data):
            models = [_load_language_model(path, data)]
        else:
            models = _load_files(Path(path), teacher, data)
        for model in models:
            model = adapt(model, teacher, data, str(path))
            check_loaded(model, data, str(path), SettingRemedies())
            loaded.append(model)
    if not loaded:
        raise TeacherError("teacher.from names no model.")
    return loaded


def _load_files(path: Path, teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    other = load_other(path, classes=data.classes, trust_pickle=teacher.trust_pickle)
    if other is not None:
        return [other]
    load = partial(load_member, trust_pickle=teacher.trust_pickle, key=teacher.key)
    return [load_file(load, file, teacher, data) for file in find_members(path)]


def _is_language_model(path: Path, data: Dataset) -> bool:
    """Whether a path is a language model of Hugging Face: a transformers folder, or a hub name.

    A name that has more than two parts, has the suffix of a file or begins with an existing folder
    is a missing file instead. Such names should not be sent to the hub.
    """
    if data.tokenizer is None or path.is_file():
        return False
    if path.is_dir():
        return (path / "config.json").is_file() and not (path / DESCRIPTION).is_file()
    parts = path.parts
    if path.is_absolute() or len(parts) > 2 or path.suffix in FILE_SUFFIXES:
        return False
    return not Path(parts[0]).is_dir()


def _load_language_model(path: str | Path, data: Dataset) -> LoadedModel:
    return LoadedModel(HuggingFace(data.shape, data.classes, path=path).eval(), {})
