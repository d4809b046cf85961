"""The settings that a run folder holds, read as data: nothing is composed, imported or resolved."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from limbeck._base.errors import UntrustedFileError
from limbeck._base.reading import parse_yaml, read_text
from limbeck.cli.config.groups import CONF
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.run.folder import RunFolder
from limbeck.run.renamed_targets import with_present_targets
from limbeck.run.settings import read_settings
from limbeck.training.optimizer import Optimizer

RECORDS: dict[str, type] = {
    "objective": Objective,
    "transfer": TransferSet,
    "optimizer": Optimizer,
}
"""Sections that become records."""
IMAGES = ("limbeck.data.image_folder", "limbeck.data.image_csv")
IMAGES_OF_EARLIER_VERSION = {"class_order": "text"}
"""Settings of images in runs of versions that did not have them."""
GROUPS = (
    "arms",
    "data",
    "fit",
    "launcher",
    "logger",
    "store",
    "student",
    "teacher",
    "trainer",
    "views",
)
SECTIONS = (*RECORDS, *GROUPS)
"""Sections that are groups of settings."""
MAX_VALUES, MAX_DATA_VALUES = 2_000, 20_000
"""Largest number of values in a section or an arm, and in that of the data, which may name classes.
Each arm copies its section of the student: 100,000 layers in it took minutes.
"""


def read_saved_settings(run: RunFolder) -> dict[str, Any]:
    """Read ``config.yaml`` of a run. Objects that have moved get their present names.

    Raises:
        ConfigError: If it is missing.
        UntrustedFileError: If it is damaged, or not the file that the run wrote.
    """
    settings = read_settings(run)
    try:
        _check_sections(settings)
    except ValueError as error:
        raise UntrustedFileError(f"{run.config} is damaged: {error}.") from None
    renamed: dict[str, Any] = with_present_targets(settings)
    return renamed


def add_new_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add the settings that did not exist when a run was started, with their defaults."""
    defaults = parse_yaml(read_text(CONF / "config.yaml"))
    for name in ("defaults", "hydra", "arms"):
        del defaults[name]
    complete = {**defaults, "launcher": {"name": "local"}, **settings}
    for name, record in RECORDS.items():
        section = complete.get(name)
        if isinstance(section, dict):
            complete[name] = {**_defaults_of(record), **section}
    data = complete.get("data")
    if isinstance(data, dict) and data.get("_target_") in IMAGES:
        complete["data"] = {**IMAGES_OF_EARLIER_VERSION, **data}
    return complete


def _defaults_of(record: Any) -> dict[str, Any]:
    return {item.name: item.default for item in fields(record) if item.default is not MISSING}


def _check_sections(settings: Mapping[str, Any]) -> None:
    """Check that the sections of a study are groups of settings, and of a usual size.

    Raises:
        ValueError: If one is not.
    """
    sections = {name: settings[name] for name in SECTIONS if name in settings}
    arms = sections.get("arms")
    if isinstance(arms, dict):
        sections |= {f"arms.{name}": {} if arm is None else arm for name, arm in arms.items()}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ValueError(f"{name} should be a group of settings, found {section!r}")
        limit = MAX_DATA_VALUES if name == "data" else MAX_VALUES
        if name != "arms" and _count_values(section) > limit:
            raise ValueError(f"{name} has more than {limit:,} values")


def _count_values(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_count_values, value.values()))
    return sum(map(_count_values, value)) if isinstance(value, list) else 1
