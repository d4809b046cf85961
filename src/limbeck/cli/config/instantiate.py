"""Construction of a study from composed settings; ``_target_`` names the objects to create."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from limbeck._base.checks import check_count, seed_list
from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.cli.config.arms import (
    check_arms,
    check_flags,
    check_sections,
    merge_differences,
    merge_objective,
)
from limbeck.cli.config.command import Command
from limbeck.cli.config.groups import choices
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.models.builders import BUILDERS
from limbeck.run.folder import RunFolder
from limbeck.run.renamed_targets import with_moved_targets
from limbeck.study.arms import Arm, Teacher
from limbeck.study.options import RunOptions, Schedule
from limbeck.study.study import Study
from limbeck.training.fabric import process_of, quiet_lightning
from limbeck.training.optimizer import Optimizer

QUICK_SEEDS = 2
QUICK_EPOCHS = 2
QUICK_SAMPLES = 2000
QUICK_COSTLY_SAMPLES = 64
"""Number of samples of a quick run on text or with models of libraries, where each sample takes
about a thousand times longer.
"""
EXAMPLES = {
    "data": "data=digits",
    "student": "student=mlp",
    "teacher": "teacher=mlp",
    "objective": "objective.temperature=4",
    "transfer": "transfer.samples=100",
    "optimizer": "optimizer.lr=0.01",
    "trainer": "trainer.precision=32-true",
    "logger": "logger=csv",
}
"""Example of an override for each section."""
STUDY_KEYS = (
    "recipe",
    "data",
    "views",
    "teacher",
    "student",
    "objective",
    "arms",
    "sweep",
    "transfer",
    "seeds",
    "epochs",
    "batch_size",
    "optimizer",
    "trainer",
    "store",
    "bias",
    "examples",
    "logger",
    "out",
    "overwrite",
    "quick",
)
TEACHER_KEYS = (
    "model",
    "views",
    "epochs",
    "batch_size",
    "optimizer",
    "members",
    "combine",
    "seed",
    "from",
    "trust_pickle",
)


def build_study(
    config: Any, *, out: Path, command: Command | None = None, resume: bool = False
) -> Study:
    """Build the study that composed settings describe.

    Args:
        config: Settings from :func:`~limbeck.cli.config.compose.compose`.
        out: Run folder.
        command: Command that started the run, for the manifest.
        resume: Whether to resume the run in ``out``.

    Raises:
        ConfigError: If a value is out of range.
        DataError: If the data is missing or damaged.
    """
    settings = with_moved_targets(OmegaConf.to_container(config, resolve=True))
    _check(settings)
    with quiet_lightning():
        rank, _ = process_of(settings["trainer"])
    if rank == 0:
        RunFolder(out).check(resume=resume, overwrite=settings["overwrite"])
    return _Builder(settings, command).study(out=out, resume=resume)


def _check(settings: dict[str, Any]) -> None:
    """Check the keys of a study before any object is created."""
    for name, value in settings.items():
        if name in EXAMPLES and not isinstance(value, dict):
            raise ConfigError(
                f"{name}={value!r} should be a group of settings, as in {EXAMPLES[name]}."
            )
    sections = {
        "": STUDY_KEYS,
        "objective": _field_names(Objective),
        "transfer": _field_names(TransferSet),
        "optimizer": _field_names(Optimizer),
    }
    teacher = settings.get("teacher", {})
    is_trained = teacher.get("model") is not None
    if is_trained:
        sections["teacher"] = TEACHER_KEYS
    check_sections(settings, sections)
    if is_trained and not isinstance(teacher["optimizer"], dict):
        raise ConfigError(
            f"teacher.optimizer={teacher['optimizer']!r} should be a group of settings, like "
            "optimizer."
        )
    check_flags(settings)
    check_arms(settings["arms"], settings)


def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


class _Builder:
    """Builder of a study from plain settings; equal settings share one object."""

    def __init__(self, settings: dict[str, Any], command: Command | None):
        self.settings, self.command = settings, command
        self.config_dir = None if command is None else command.config_dir
        self.quick = settings["quick"]
        models = json.dumps([settings[key] for key in ("student", "teacher", "arms")], default=str)
        self.samples = QUICK_SAMPLES
        libraries = [builder for builder in BUILDERS.values() if builder.from_library]
        if any(builder.class_name in models for builder in libraries):
            self.samples = QUICK_COSTLY_SAMPLES
        self.head: Any = None  # the first samples of the dataset, for a quick run
        self._objects: dict[str, Any] = {}

    def study(self, *, out: Path, resume: bool) -> Study:
        settings = self.settings
        if self.quick:
            data = self._build(settings["data"])
            if data.tokenizer is not None:
                self.samples = QUICK_COSTLY_SAMPLES
            self.head = data.head(self.samples)
        arms = {name: self._arm(name, arm or {}) for name, arm in settings["arms"].items()}
        seeds = seed_list(settings["seeds"])
        epochs = check_count("epochs", settings["epochs"])
        optimizer = Optimizer(**settings["optimizer"])
        teacher = self._teacher()
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
            store=settings["store"],
            trainer=settings["trainer"],
            loggers=self._loggers(),
            bias=settings["bias"],
            examples=settings["examples"],
            config=settings,
            facts={**facts, "quick": self.quick},
        )
        return Study(
            self.head or self._build(settings["data"]),
            arms,
            teacher=teacher,
            seeds=seeds[:QUICK_SEEDS] if self.quick else seeds,
            schedule=schedule,
            out=out,
            options=options,
        )

    def _loggers(self) -> list[Any]:
        """Create the functions that create loggers."""
        loggers = []
        for name, node in self.settings["logger"].items():
            if not node:
                continue
            logger = self._build(node)
            if not callable(logger):
                raise ConfigError(
                    f"logger.{name} should name a logger in _target_, with _partial_=true. See "
                    "'limbeck run --cfg job'."
                )
            loggers.append(logger)
        return loggers

    def _arm(self, name: str, arm: dict[str, Any]) -> Arm:
        settings = self.settings
        epochs = arm.get("epochs")
        if epochs is not None:
            epochs = self._limit_epochs(check_count(f"arms.{name}.epochs", epochs))
        objective = merge_objective(settings["objective"], arm.get("objective"))
        return Arm(
            objective=Objective(**objective),
            student=self._build(merge_differences(settings["student"], arm.get("student"))),
            views=self._views(arm.get("views", settings["views"])),
            transfer=self._transfer(arm),
            optimizer=Optimizer(**merge_differences(settings["optimizer"], arm.get("optimizer"))),
            epochs=epochs,
            control=arm.get("control"),
        )

    def _limit_epochs(self, epochs: int) -> int:
        """Limit the number of epochs of a quick run."""
        return min(epochs, QUICK_EPOCHS) if self.quick else epochs

    def _transfer(self, arm: dict[str, Any]) -> TransferSet:
        settings = merge_differences(self.settings["transfer"], arm.get("transfer"))
        if settings["source"] is not None:
            settings["source"] = self._build(settings["source"])
        transfer = TransferSet(**settings)
        if self.head is None:
            return transfer
        return transfer.small(self.samples, self.head.train, self.head.class_names)

    def _views(self, node: Any) -> Any:
        """Build views from their settings, or from the name of a config file."""
        if isinstance(node, str):
            files = choices("views", self.config_dir)
            if node not in files:
                raise ConfigError(f"views: {node!r} is unknown. Choose one of {', '.join(files)}.")
            node = yaml.safe_load(files[node].read_text(encoding="utf-8"))
        return self._build(merge_differences(self.settings["views"], node))

    def _teacher(self) -> Teacher | None:
        settings = dict(self.settings["teacher"])
        source = _as_list(settings.pop("from"))
        trust = settings.pop("trust_pickle", False)
        if not isinstance(trust, bool):
            raise ConfigError(f"teacher.trust_pickle={trust!r} should be true or false.")
        model = settings.pop("model")
        if model is None and source is None:
            return None
        if model is not None:
            model = self._build(model)
        if not settings:  # teacher=none with teacher.from
            return Teacher(model=model, source=source, trust_pickle=trust)
        epochs = check_count("teacher.epochs", settings.pop("epochs"))
        views = self._views(settings.pop("views") or self.settings["views"])
        if self.quick and type(settings["members"]) is int:
            settings["members"] = min(settings["members"], 2)
        return Teacher(
            model=model,
            views=views,
            optimizer=Optimizer(**settings.pop("optimizer")),
            epochs=self._limit_epochs(epochs),
            source=source,
            trust_pickle=trust,
            **settings,
        )

    def _build(self, node: Any) -> Any:
        """Instantiate the object that ``_target_`` names, once for equal settings."""
        key = json.dumps(node, sort_keys=True, default=str)
        if key not in self._objects:
            self._objects[key] = _instantiate(node)
        return self._objects[key]


def _instantiate(node: Any) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except HydraException as error:
        if isinstance(error.__cause__, LimbeckError):
            raise error.__cause__ from None
        target = node.get("_target_") if isinstance(node, dict) else node
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(f"{target} could not be built: {reason}") from None


def _as_list(source: Any) -> list[str] | None:
    """Return one or several sources of a teacher as a list of strings."""
    if source is None:
        return None
    sources = source if isinstance(source, list) else [source]
    return [str(path) for path in sources]
