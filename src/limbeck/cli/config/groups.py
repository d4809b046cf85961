"""Config groups and their choices: YAML files and, for objectives, the soft losses.

Hydra and torch are imported only when settings are composed.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError
from limbeck._base.reading import parse_yaml, read_text
from limbeck.losses.soft import SOFT_LOSSES, own_settings

CONF = Path(__file__).parents[2] / "conf"
GROUPS = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
_GLOBAL_PACKAGE = re.compile(r"\s*#\s*@package\s+_global_\s*(\n|$)")


BYTE_ORDER_MARK = "\ufeff"


def choices(group: str, config_dir: str | Path | None = None) -> dict[str, Path]:
    """Return the YAML files of a group by name: those of limbeck, then those of the user.

    Files that begin with an underscore are shared by other files and are not choices.
    """
    folders = [CONF / group]
    if config_dir is not None:
        folders.append(Path(config_dir) / group)
    files = [file for folder in folders for file in sorted(folder.glob("*.yaml"))]
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def choice_names(group: str, config_dir: str | Path | None = None) -> list[str]:
    """Return the sorted names of the choices in a group."""
    names = set(choices(group, config_dir))
    if group == "objective":
        names |= set(SOFT_LOSSES)
    return sorted(names)


def read_choice(group: str, name: str, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Read the settings of a choice from its YAML file, without the files that it includes.

    Raises:
        ConfigError: If the choice is unknown, or its file contains no settings.
    """
    files = choices(group, config_dir)
    if name not in files:
        raise ConfigError(f"{group}: {name!r} is unknown. Choose one of {', '.join(files)}.")
    _check_settings(files[name])
    # OmegaConf reads 1e-3 as a number, as in all other files; YAML 1.1 does not.
    settings: Any = OmegaConf.to_container(OmegaConf.create(_read_text(files[name])))
    return dict(settings)


def check_choice(group: str, name: str, config_dir: str | Path) -> None:
    """Check the file of a choice in the folder of the user, if it is there.

    Raises:
        ConfigError: If the file contains no settings, has the name of one of limbeck's, or is a
            recipe whose settings would not apply to the study.
    """
    file = Path(config_dir) / group / f"{name}.yaml"
    if not file.is_file():
        return
    own_file = CONF / group / file.name
    if own_file.is_file() and _read_text(own_file) != _read_text(file):
        raise ConfigError(
            f"{file} has the name of one of limbeck's own files, which {group}={name} chooses. "
            "Rename your file."
        )
    _check_settings(file)
    text = _read_text(file)
    if group == "recipe" and not _GLOBAL_PACKAGE.match(text):
        reason = ""
        if text.startswith(BYTE_ORDER_MARK):
            reason = " It starts with a byte order mark; save it as UTF-8 without one."
        raise ConfigError(
            f"{file}: the first line of a recipe should be `# @package _global_`. Without it, its "
            f"settings do not apply to the study.{reason}"
        )


def check_encoding(config_dir: str | Path | None) -> None:
    """Check that the files in the folder of the user are UTF-8, and do not grow when read.

    Raises:
        ConfigError: If a file is not, or grows.
    """
    if config_dir is not None:
        for file in sorted(Path(config_dir).glob("*/*.yaml")):
            if "*" in _read_text(file):  # perhaps an alias, which Hydra would copy
                _check_settings(file)


def yaml_message(error: yaml.YAMLError, file: Path | None = None) -> str:
    """Return the message about a file that is not YAML.

    Args:
        error: Error of the parser.
        file: File that was parsed; None to take its name from the error.
    """
    reason = " ".join(str(error).split())
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        file = file or Path(mark.name)
        reason = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return f"{file or 'A YAML file of the settings'} is not valid YAML ({reason})."


def _check_settings(file: Path) -> None:
    """Check that a file contains settings."""
    try:
        settings = parse_yaml(_read_text(file))
    except yaml.YAMLError as error:
        raise ConfigError(yaml_message(error, file)) from None
    if settings is not None and not isinstance(settings, dict):
        content = "a list" if isinstance(settings, list) else repr(settings)
        raise ConfigError(f"{file} should list settings as KEY: VALUE, but contains {content}.")
    _check_defaults(file, (settings or {}).get("defaults", []))


def _check_defaults(file: Path, defaults: Any) -> None:
    """Check the list of files that a file includes or overrides."""
    items = defaults if isinstance(defaults, list) else [None]
    for item in items:
        if not _is_default(item):
            what = f"contains {item!r}" if isinstance(defaults, list) else f"is {defaults!r}"
            raise ConfigError(
                f"{file}: defaults {what}. Expected a list of names, such as `- digits`, and of "
                "choices, such as `- override /views: shift`."
            )


def _is_default(item: Any) -> bool:
    """Whether an item of ``defaults`` is a name, or one group with its choice or choices."""
    if isinstance(item, str):
        return bool(item.strip("/@: "))
    if not isinstance(item, dict):
        return False
    groups = [key for key in item if key != "optional"]
    if len(groups) != 1 or not isinstance(groups[0], str):
        return False
    name = groups[0].removeprefix("optional ").removeprefix("override ").strip("/@: ")
    choices = item[groups[0]]
    choices = choices if isinstance(choices, list) else [choices]
    return bool(name) and all(choice is None or isinstance(choice, str) for choice in choices)


def _read_text(file: Path) -> str:
    try:
        return read_text(file)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8 (byte {error.start} is {error.object[error.start]:#04x}). Save "
            "it as UTF-8."
        ) from None
    except ValueError as error:
        raise ConfigError(f"{file} cannot be read ({error}). Choose another file.") from None


def register_objectives() -> None:
    """Register ``objective=NAME`` with Hydra for every soft loss."""
    from hydra.core.config_store import ConfigStore

    defaults = {setting.name: setting.default for setting in own_settings().values()}
    for loss in SOFT_LOSSES.values():
        node = {
            "defaults": ["_base", "_self_"],
            "hard_weight": loss.hard_weight,
            "soft_weight": loss.soft_weight,
            "soft": loss.name,
            **defaults,
        }
        ConfigStore.instance().store(group="objective", name=loss.name, node=node)
