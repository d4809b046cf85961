"""From composed settings to a study on built objects; what ``_target_`` names is instantiated here."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from limbeck._base.checks import (
    check_arms,
    check_count,
    check_flags,
    check_sections,
    merged,
    merged_objective,
    seed_list,
)
from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.cli.config.compose import choices
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.run.folder import RunFolder
from limbeck.study.arms import Arm, Teacher
from limbeck.study.study import Study
from limbeck.training.fabric import process_of, quiet_lightning
from limbeck.training.optimizer import Optimizer

QUICK_SAMPLES = 2000
QUICK_LARGE = 64
"""Of models from libraries, which take a thousand times longer a sample; and of text, whose samples
are blocks.
"""
LARGE = ("TorchvisionModel", "TimmModel", "Classifier")
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
KEYS: dict[str, tuple[str, ...]] = {
    "": (
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
    ),
    **{
        name: tuple(field.name for field in fields(kind))
        for name, kind in (
            ("objective", Objective),
            ("transfer", TransferSet),
            ("optimizer", Optimizer),
        )
    },
}
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


def build_study(config: Any, *, out: Path, facts: dict[str, Any], resume: bool = False) -> Any:
    """The study that composed settings describe.

    Raises:
        ConfigError: a value is out of range.
        DataError: the data is missing or damaged.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for name, value in settings.items():
        if name in EXAMPLES and not isinstance(value, dict):
            raise ConfigError(
                f"{name}={value!r} should be a group of settings, as in {EXAMPLES[name]}."
            )
    teacher = settings.get("teacher", {})
    trained = teacher.get("model") is not None
    check_sections(settings, {**KEYS, "teacher": TEACHER_KEYS} if trained else KEYS)
    if trained and not isinstance(teacher["optimizer"], dict):
        raise ConfigError(
            f"teacher.optimizer={teacher['optimizer']!r} should be a group of settings, like "
            "optimizer."
        )
    check_flags(settings)
    check_arms(settings["arms"], settings)
    with quiet_lightning():
        if process_of(settings["trainer"])[0] == 0:
            RunFolder(out).check(resume=resume, overwrite=settings["overwrite"])
    return _Builder(settings, facts.get("config_dir")).study(out=out, facts=facts, resume=resume)


class _Builder:
    """Builds the objects of a study from plain settings; equal settings give the same object."""

    def __init__(self, settings: dict[str, Any], config_dir: str | None):
        self.settings, self.config_dir = settings, config_dir
        self.quick = settings["quick"]
        models = json.dumps([settings[key] for key in ("student", "teacher", "arms")], default=str)
        large = any(name in models for name in LARGE)
        self.samples = QUICK_LARGE if large else QUICK_SAMPLES
        self.head: Any = None  # of the data, for a quick run
        self._made: dict[str, Any] = {}

    def study(self, *, out: Path, facts: dict[str, Any], resume: bool) -> Any:
        settings = self.settings
        if self.quick:
            data = self._make(settings["data"])
            self.samples = self.samples if data.tokenizer is None else QUICK_LARGE
            self.head = data.head(self.samples)
        arms = {
            name: Arm(
                objective=self._objective(arm or {}),
                student=self._make(merged(settings["student"], (arm or {}).get("student"))),
                views=self._views((arm or {}).get("views", settings["views"])),
                transfer=self._transfer(arm or {}),
                optimizer=Optimizer(**merged(settings["optimizer"], (arm or {}).get("optimizer"))),
                epochs=self._epochs((arm or {}).get("epochs"), f"arms.{name}.epochs"),
                control=(arm or {}).get("control"),
            )
            for name, arm in settings["arms"].items()
        }
        seeds, epochs = seed_list(settings["seeds"]), check_count("epochs", settings["epochs"])
        optimizer = Optimizer(**settings["optimizer"])
        teacher = self._teacher()
        return Study(
            self.head or self._make(settings["data"]),
            arms,
            teacher=teacher,
            seeds=seeds[:2] if self.quick else seeds,
            epochs=min(epochs, 2) if self.quick else epochs,
            batch_size=settings["batch_size"],
            optimizer=optimizer,
            trainer=settings["trainer"],
            loggers=[self._make(node) for node in settings["logger"].values() if node],
            store=settings["store"],
            bias=settings["bias"],
            examples=settings["examples"],
            out=out,
            name=settings["recipe"],
            overwrite=settings["overwrite"],
            resume=resume,
            config=settings,
            facts={**facts, "quick": self.quick},
        )

    def _epochs(self, value: Any, name: str) -> int | None:
        """Epochs, at most two if the run is quick."""
        if value is None:
            return None
        return min(check_count(name, value), 2) if self.quick else check_count(name, value)

    def _transfer(self, arm: dict[str, Any]) -> TransferSet:
        found = merged(self.settings["transfer"], arm.get("transfer"))
        source = None if found["source"] is None else self._make(found["source"])
        transfer = TransferSet(**{**found, "source": source})
        return (
            transfer.small(self.samples, self.head.train, self.head.class_names)
            if self.head
            else transfer
        )

    def _objective(self, arm: dict[str, Any]) -> Any:
        return Objective(**merged_objective(self.settings["objective"], arm.get("objective")))

    def _views(self, node: Any) -> Any:
        if isinstance(node, str):
            known = choices("views", self.config_dir)
            if node not in known:
                raise ConfigError(f"views: {node!r} is unknown; choose one of {', '.join(known)}.")
            node = yaml.safe_load(known[node].read_text(encoding="utf-8"))
        return self._make(merged(self.settings["views"], node) if "_target_" not in node else node)

    def _teacher(self) -> Any:
        node = dict(self.settings["teacher"])
        source, trust = node.pop("from"), node.pop("trust_pickle", False)
        if not isinstance(trust, bool):
            raise ConfigError(f"teacher.trust_pickle={trust!r} should be true or false.")
        if node["model"] is None and source is None:
            return None
        model = None if node["model"] is None else self._make(node["model"])
        if len(node) == 1:
            return Teacher(model=model, source=_listed(source), trust_pickle=trust)
        epochs = check_count("teacher.epochs", node.pop("epochs"))
        views = self._views(node.pop("views") or self.settings["views"])
        if self.quick and type(node["members"]) is int:
            node["members"] = min(node["members"], 2)
        return Teacher(
            model=model,
            views=views,
            optimizer=Optimizer(**node.pop("optimizer")),
            epochs=min(epochs, 2) if self.quick else epochs,
            source=_listed(source),
            trust_pickle=trust,
            **{key: value for key, value in node.items() if key != "model"},
        )

    def _make(self, node: Any) -> Any:
        """Instantiate what ``_target_`` names, once for equal settings."""
        key = json.dumps(node, sort_keys=True, default=str)
        if key not in self._made:
            try:
                self._made[key] = instantiate(node, _convert_="all")
            except HydraException as error:
                if isinstance(error.__cause__, LimbeckError):
                    raise error.__cause__ from None
                target = node.get("_target_") if isinstance(node, dict) else node
                raise ConfigError(
                    f"{target} could not be built: "
                    f"{' '.join(str(error.__cause__ or error).split())}"
                ) from None
        return self._made[key]


def _listed(source: Any) -> list[str] | None:
    return (
        None
        if source is None
        else [str(s) for s in (source if isinstance(source, list) else [source])]
    )
