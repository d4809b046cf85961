"""The settings that a run folder holds, read as data: nothing is composed, imported or resolved."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import yaml

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.cli.config.groups import CONF
from limbeck.data import TransferSet
from limbeck.losses import Objective
from limbeck.run.folder import RunFolder
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
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UntrustedFileError(f"{file} is damaged: {reason}.") from None
    if not isinstance(settings, dict):
        raise UntrustedFileError(f"{file} is damaged: it should contain settings by name.")
    try:
        _Copy().check(settings, "", 0)
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


class _Copy:
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
