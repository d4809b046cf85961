"""The command that started a run, as recorded in its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.run.completeness import check_verb
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import read_manifest
from limbeck.run.records import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that runs a study.

    Attributes:
        command: Whole command line, quoted for a shell.
        verb: ``run``, ``train`` or ``distill``.
        multirun: Whether settings may have several values.
        overrides: Settings of the form ``KEY=VALUE``.
        config_dir: Folder with the user's own recipes; None without one.
        folder: Working directory, to which relative paths refer.
    """

    command: str
    verb: str
    multirun: bool = False
    overrides: tuple[str, ...]
    config_dir: str | None = None
    folder: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the command as keys of the manifest."""
        keys: dict[str, Any] = to_json(self)
        return keys


def read_command(run: RunFolder, python_advice: str) -> Command:
    """Read the command of a run from its manifest.

    Args:
        run: Run folder.
        python_advice: Sentence that says what to do with a run started from Python.

    Raises:
        ConfigError: If the run was started from Python.
        UntrustedFileError: If the manifest is damaged.
    """
    manifest = read_manifest(run)
    facts: Mapping[str, Any] = manifest.facts
    if facts.get("overrides") is None:
        raise ConfigError(
            f"{run.path} was started from Python, so its dataset and models cannot be built from "
            f"settings. {python_advice}"
        )
    check_verb(run, manifest)
    return from_json(Command, dict(facts), where=str(run.manifest))
