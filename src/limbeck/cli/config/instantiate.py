"""Construction of a study from composed settings."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from torch import nn

from limbeck._base.checks import check_count, check_keys, field_names, seed_list
from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import merge_differences, merge_objective
from limbeck.cli.config.command import Command
from limbeck.cli.config.data_defaults import fit_losses, fit_splits
from limbeck.cli.config.groups import choices, read_choice
from limbeck.cli.config.objects import ObjectFactory
from limbeck.cli.config.study_keys import check_settings
from limbeck.cli.config.teacher import (
    check_no_form,
    check_trust,
    checks_teacher,
    key_of,
    sources_of,
    take_answers,
    take_form,
)
from limbeck.cli.config.teacher_members import member_settings, members_of
from limbeck.data import Dataset, Source, TransferSet, Views
from limbeck.losses import Objective
from limbeck.models.builders import BUILDERS
from limbeck.run.folder import RunFolder
from limbeck.run.renamed_targets import with_moved_targets
from limbeck.search.settings import SearchSettings
from limbeck.search.study import SearchStudy
from limbeck.study.arms import Arm, Teacher
from limbeck.study.options import RunOptions, Schedule
from limbeck.study.study import Study
from limbeck.teacher.answer_files.read import Answers
from limbeck.training.fabric import process_of, quiet_lightning
from limbeck.training.optimizer import Optimizer

R = TypeVar("R")

QUICK_SEEDS = 2
QUICK_EPOCHS = 2
QUICK_SAMPLES = 2000
QUICK_TRIALS = 4
QUICK_COSTLY_SAMPLES = 64
"""Number of samples of a quick run on text or with models of libraries, where each sample takes
about a thousand times longer.
"""


def plain_settings(config: Any, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Convert composed settings to plain ones, from which the study can be built without files.

    Args:
        config: Settings from :func:`~limbeck.cli.config.compose.compose`.
        config_dir: Folder with config groups of the user.
    """
    settings: dict[str, Any] = with_moved_targets(OmegaConf.to_container(config, resolve=True))
    return insert_views(settings, config_dir)


def insert_views(settings: dict[str, Any], config_dir: str | Path | None) -> dict[str, Any]:
    """Replace the names of a user's own views by their settings. Limbeck's keep their names."""
    if config_dir is None:
        return settings
    own = choices("views")
    teacher = settings.get("teacher")
    sections = [teacher, *members_of(teacher)]
    if isinstance(settings.get("arms"), dict):
        sections += settings["arms"].values()
    for section in sections:
        if not isinstance(section, dict):
            continue
        views = section.get("views")
        if isinstance(views, str) and views not in own:
            section["views"] = read_choice("views", views, config_dir)
    return settings


def build_study(
    settings: dict[str, Any],
    *,
    out: Path,
    command: Command | None = None,
    resume: bool = False,
    record: dict[str, Any] | None = None,
    follow_links: bool = False,
) -> Study:
    """Build the study that plain settings describe.

    Args:
        settings: Settings of the study.
        out: Run folder.
        command: Command that started the run, for the manifest.
        resume: Whether to resume the run in ``out``.
        record: Content of ``config.yaml``; None for the settings.
        follow_links: Whether links in the folder of a resumed run may lead out of it.

    Raises:
        ConfigError: If a value is out of range.
        DataError: If the data is missing or damaged.
    """
    builder = _Builder(settings, command)
    with quiet_lightning():
        rank, _ = process_of(settings["trainer"])
    if rank == 0:
        RunFolder(out).check(resume=resume, overwrite=settings["overwrite"])
    return builder.study(
        out=out, resume=resume, record=record or settings, follow_links=follow_links
    )


def build_data_and_teacher(settings: dict[str, Any]) -> tuple[Dataset, Teacher]:
    """Build the dataset and the teacher that settings describe.

    Args:
        settings: Settings of a study whose teacher is loaded (``teacher.from``).

    Raises:
        ConfigError: If a value is out of range, or the teacher is a file of answers.
        DataError: If the data is missing or damaged.
    """
    builder = _Builder(settings, None)
    teacher = builder.teacher()
    if not isinstance(teacher, Teacher):
        raise ConfigError("teacher.answers names a file, but a model is needed to answer.")
    return builder.data(), teacher


def build_models(
    settings: dict[str, Any], *, with_students: bool = True
) -> tuple[Dataset, dict[str, Callable[..., nn.Module]]]:
    """Build the dataset that settings describe, and the builder of each arm's student by name.

    Args:
        settings: Settings of the study.
        with_students: Whether to create the builders of students; there are none otherwise.

    Raises:
        ConfigError: If a value is out of range.
        DataError: If the data is missing or damaged.
    """
    builder = _Builder(settings, None)
    students = {}
    if with_students:
        for name, arm in settings["arms"].items():
            students[name] = builder.student(name, arm or {})
    return builder.data(), students


class _Builder:
    """Builder of a study from plain settings, which it checks; equal settings share one object."""

    def __init__(self, settings: dict[str, Any], command: Command | None):
        self.search = settings.get("fit")  # written by 'limbeck fit'
        check_settings({name: value for name, value in settings.items() if name != "fit"})
        self.settings, self.command = settings, command
        self.overrides = () if command is None else command.overrides
        self.quick = settings["quick"]
        models = json.dumps([settings[key] for key in ("student", "teacher", "arms")], default=str)
        self.samples = QUICK_SAMPLES
        libraries = [builder for builder in BUILDERS.values() if builder.from_library]
        if any(builder.class_name in models for builder in libraries):
            self.samples = QUICK_COSTLY_SAMPLES
        self.head: Any = None  # the first samples of the dataset, for a quick run
        self.objects = ObjectFactory()

    def data(self) -> Dataset:
        """Create the dataset; for a quick run, its first samples."""
        data = self.objects.create(self.settings["data"], Dataset, "data")
        if not self.quick:
            return data
        if data.positions is not None:
            self.samples = QUICK_COSTLY_SAMPLES
        self.head = data.head(self.samples)
        return self.head

    def study(
        self, *, out: Path, resume: bool, record: dict[str, Any], follow_links: bool
    ) -> Study:
        settings = self.settings
        fit_losses(settings, self.data().kind, self.overrides)
        seeds = seed_list(settings["seeds"])
        if self.quick:
            seeds = seeds[:QUICK_SEEDS]
        epochs = check_count("epochs", settings["epochs"])
        optimizer = _record(Optimizer, settings["optimizer"], "optimizer")
        teacher = self.teacher()
        schedule = Schedule(
            epochs=self._limit_epochs(epochs),
            batch_size=settings["batch_size"],
            optimizer=optimizer,
        )
        facts = {} if self.command is None else self.command.as_dict()
        options = RunOptions(
            name=settings["recipe"],
            overwrite=settings["overwrite"],
            resume=resume,
            follow_links=follow_links,
            store=settings["store"],
            trainer=settings["trainer"],
            launcher=settings["launcher"],
            loggers=self.objects.create_functions(settings["logger"], "logger"),
            bias=settings["bias"],
            margin=settings["margin"],
            splits=self._splits(len(seeds)),
            check_teacher=checks_teacher(settings["teacher"]),
            examples=settings["examples"],
            config=record,
            facts={**facts, "quick": self.quick},
        )
        data = self.head or self.data()
        common: dict[str, Any] = {
            "teacher": teacher,
            "seeds": seeds,
            "schedule": schedule,
            "out": out,
            "options": options,
        }
        if self.search is not None:
            return self._search_study(data, self.search, common)
        arms = {name: self._arm(name, arm or {}) for name, arm in settings["arms"].items()}
        return Study(data, arms, **common)

    def _search_study(
        self, data: Dataset, search_settings: Mapping[str, Any], common: Mapping[str, Any]
    ) -> SearchStudy:
        """Create a study whose student is searched for."""
        settings = self.settings
        search = SearchSettings.of(search_settings)
        if self.quick:
            search = replace(search, trials=min(search.limit, QUICK_TRIALS))
        return SearchStudy(
            data,
            search,
            objective=_record(Objective, settings["objective"], "objective"),
            views=self._views(settings["views"], "views"),
            transfer=self._transfer({}, "transfer"),
            **common,
        )

    def _splits(self, seeds: int) -> int:
        """Number of training and validation splits; at most one per seed in a quick run."""
        check_count("splits", self.settings["splits"])
        splits = fit_splits(self.settings, self.data(), self.overrides)
        return min(splits, seeds) if self.quick else splits

    def _arm(self, name: str, arm: dict[str, Any]) -> Arm:
        settings = self.settings
        epochs = arm.get("epochs")
        if epochs is not None:
            epochs = self._limit_epochs(check_count(f"arms.{name}.epochs", epochs, 0))
        where = f"arms.{name}"
        objective = merge_objective(settings["objective"], arm.get("objective"))
        optimizer = merge_differences(settings["optimizer"], arm.get("optimizer"))
        return Arm(
            objective=_record(Objective, objective, f"{where}.objective"),
            student=self.student(name, arm),
            views=self._views(arm.get("views", settings["views"]), _path("views", arm, where)),
            transfer=self._transfer(arm, where),
            optimizer=_record(Optimizer, optimizer, f"{where}.optimizer"),
            epochs=epochs,
            control=arm.get("control"),
            choice=arm.get("choice"),
        )

    def student(self, name: str, arm: dict[str, Any]) -> Callable[..., nn.Module]:
        """Create the builder of an arm's student."""
        settings = merge_differences(self.settings["student"], arm.get("student"))
        return self.objects.create_function(settings, _path("student", arm, f"arms.{name}"))

    def _limit_epochs(self, epochs: int) -> int:
        """Limit the number of epochs of a quick run."""
        return min(epochs, QUICK_EPOCHS) if self.quick else epochs

    def _transfer(self, arm: dict[str, Any], where: str) -> TransferSet:
        settings = merge_differences(self.settings["transfer"], arm.get("transfer"))
        if settings.get("source") is not None:
            path = f"{_path('transfer', arm, where)}.source"
            settings["source"] = self.objects.create(settings["source"], Source, path)
        transfer = _record(TransferSet, settings, f"{where}.transfer")
        if self.head is None:
            return transfer
        return transfer.small(self.samples, self.head.train, self.head.class_names)

    def _views(self, node: Any, where: str) -> Views:
        """Build views from their settings, or from the name of a config file."""
        if isinstance(node, str):
            node = read_choice("views", node)
        if not isinstance(node, Mapping):
            raise ConfigError(
                f"{where}={node!r} should be a name, as in shift, or a group of settings."
            )
        settings = merge_differences(self.settings["views"], node)
        return self.objects.create(settings, Views, where)

    def teacher(self) -> Teacher | Answers | None:
        """Create the teacher; None for controls alone."""
        settings = dict(self.settings["teacher"])
        answers = take_answers(settings)
        form = take_form(settings)
        if answers is not None:
            check_no_form(form)
            return answers
        source = sources_of(settings.pop("from"), self.objects)
        key = key_of(settings.pop("key", None))
        trust = check_trust(settings.pop("trust_pickle", False))
        settings.pop("check", None)
        model = settings.pop("model")
        estimator = settings.pop("estimator", None)
        if model is None and source is None and estimator is None:
            check_no_form(form)
            return None
        if model is not None:
            model = self.objects.create_function(model, "teacher.model")
        if not settings:  # teacher=none with teacher.from
            return Teacher(model=model, source=source, key=key, trust_pickle=trust, **form)
        members = settings.get("members")
        if isinstance(members, list) and estimator is None:
            settings["members"] = [
                self._member(node, f"teacher.members[{number}]")
                for number, node in enumerate(members[:2] if self.quick else members)
            ]
        elif self.quick and type(members) is int:
            settings["members"] = min(members, 2)
        loading = {"source": source, "key": key, "trust_pickle": trust, **form}
        if estimator is not None:
            estimator = self.objects.create(estimator, object, "teacher.estimator")
            return Teacher(estimator=estimator, **loading, **settings)
        return Teacher(model=model, **self._training(settings, "teacher"), **loading)

    def _member(self, differences: Any, where: str) -> Teacher:
        """Create one of several unlike members from its differences from the teacher."""
        settings = member_settings(self.settings["teacher"], differences, where)
        if self.quick and type(settings["members"]) is int:
            settings["members"] = 1
        model = self.objects.create_function(settings.pop("model"), f"{where}.model")
        return Teacher(model=model, **self._training(settings, where))

    def _training(self, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Create the views and the optimizer of a teacher that is trained."""
        views = settings["views"]
        if views is None:
            views = self.settings["views"]
        return {
            **settings,
            "views": self._views(views, f"{where}.views"),
            "optimizer": _record(Optimizer, settings["optimizer"], f"{where}.optimizer"),
            "epochs": self._limit_epochs(check_count(f"{where}.epochs", settings["epochs"])),
        }


def _record(kind: type[R], settings: Any, where: str) -> R:
    """Create a record of settings, such as an optimizer."""
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where}={settings!r} should be a group of settings.")
    check_keys(settings, field_names(kind), where)
    return kind(**settings)


def _path(section: str, arm: Mapping[str, Any], where: str) -> str:
    """Return the key of a section: the arm's if it sets the section, otherwise the study's."""
    return f"{where}.{section}" if section in arm else section
