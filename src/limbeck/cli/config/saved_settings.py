"""The settings that a run folder holds, read as data: nothing is composed, imported or resolved."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import yaml

from limbeck._base.digests import file_digest
from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.cli.config.groups import CONF
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import read_manifest
from limbeck.run.renamed_targets import with_present_targets
from limbeck.training.optimizer import Optimizer

MAX_BYTES = 64 << 20
MAX_DEPTH = 50
MAX_VALUES = 1 << 20
"""Maximum number of values, since aliases in YAML can make a small file huge."""
RECORDS: dict[str, type] = {
    "objective": Objective,
    "transfer": TransferSet,
    "optimizer": Optimizer,
}
"""Sections that become records."""
SECTIONS = (*RECORDS, "arms", "data", "logger", "store", "student", "teacher", "trainer", "views")
"""Sections that are groups of settings."""


def read_saved_settings(run: RunFolder) -> dict[str, Any]:
    """Read ``config.yaml`` of a run. Objects that have moved get their present names.

    Raises:
        ConfigError: If it is missing.
        UntrustedFileError: If it is damaged.
    """
    file = run.config
    if not file.exists():
        raise ConfigError(
            f"{file} is missing, so the settings of this run are not known. Restore it, or repeat "
            "the study with overwrite=true."
        )
    if not file.is_file() or file.stat().st_size > MAX_BYTES:
        raise UntrustedFileError(
            f"{file} is damaged: it should be a file of at most {MAX_BYTES >> 20} MiB."
        )
    digest = (read_manifest(run).files or {}).get(file.name)
    if digest is not None and file_digest(file) != digest:
        raise UntrustedFileError(
            f"{file} is damaged, or not the file that this run wrote: its SHA-256 differs from the "
            f"one in {run.manifest}. Restore it from a copy, or repeat the study with "
            "overwrite=true."
        )
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UntrustedFileError(f"{file} is damaged: {reason}.") from None
    if not isinstance(settings, dict):
        raise UntrustedFileError(f"{file} is damaged: it should contain settings by name.")
    try:
        _Content().check(settings, "", 0)
        _check_sections(settings)
    except ValueError as error:
        raise UntrustedFileError(f"{file} is damaged: {error}.") from None
    renamed: dict[str, Any] = with_present_targets(settings)
    return renamed


def add_new_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add the settings that did not exist when a run was started, with their defaults."""
    text = (CONF / "config.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    for name in ("defaults", "hydra", "arms"):
        del defaults[name]
    complete = {**defaults, **settings}
    for name, record in RECORDS.items():
        section = complete.get(name)
        if isinstance(section, dict):
            complete[name] = {**_defaults_of(record), **section}
    return complete


def _defaults_of(record: Any) -> dict[str, Any]:
    return {item.name: item.default for item in fields(record) if item.default is not MISSING}


def _check_sections(settings: Mapping[str, Any]) -> None:
    """Check that the sections of a study are groups of settings.

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


class _Content:
    """Check that parsed YAML is what JSON can hold, and not too large."""

    def __init__(self) -> None:
        self.values = 0

    def check(self, value: Any, path: str, depth: int) -> None:
        """Check a value and all those in it.

        Raises:
            ValueError: If a value is of another type, or there are too many of them.
        """
        self.values += 1
        if depth > MAX_DEPTH or self.values > MAX_VALUES:
            raise ValueError("it has too many values")
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, (str, int)):
                    raise ValueError(f"{path or 'it'} has the key {key!r}, which is no name")
                self.check(inner, f"{path}.{key}" if path else str(key), depth + 1)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                self.check(inner, f"{path}[{number}]", depth + 1)
        elif value is not None and not isinstance(value, (str, int, float)):
            raise ValueError(f"{path} is a {type(value).__name__}")
