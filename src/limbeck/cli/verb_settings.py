"""Parsing of ``KEY=VALUE`` settings after a verb such as ``limbeck export``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck._base.addresses import is_address
from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError
from limbeck._base.reading import parse_yaml

_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Setting:
    """A setting that a verb accepts.

    Attributes:
        type: Type of the value.
        example: Example of an override.
        meaning: Description of the setting, for the help.
    """

    type: type
    example: str
    meaning: str


def read_settings(words: Sequence[str], accepted: Mapping[str, Setting]) -> dict[str, Any]:
    """Parse settings of the form ``KEY=VALUE``.

    Args:
        words: Words of the command line.
        accepted: Settings of the verb by key.

    Raises:
        ConfigError: If a key is unknown or repeated, or a value has the wrong type.
    """
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in accepted:
            raise ConfigError(_unknown_setting(word, key, accepted))
        if key in settings:
            raise ConfigError(f"{key} is given twice. Give it once.")
        settings[key] = _parse_value(key, text, accepted[key])
    return settings


def _unknown_setting(word: str, key: str, accepted: Mapping[str, Setting]) -> str:
    match = closest(key, accepted)
    hint = f" Did you mean {accepted[match].example}?" if match else ""
    return f"Unknown setting {word}.{hint} Settings are {', '.join(accepted)}."


def _parse_value(key: str, text: str, setting: Setting) -> Any:
    if setting.type is str:
        if not text:
            raise ConfigError(f"{key}= has no value. Example: {setting.example}.")
        if key == "to" and is_address(text):
            raise ConfigError(
                f"to={text}: this command writes to this machine. Name a path, and copy the result."
            )
        return text
    import yaml

    try:
        value = parse_yaml(text)
        if setting.type is float and math.isfinite(float(text)):
            value = float(text)  # YAML reads 1e-3 as text
    except (ValueError, yaml.YAMLError):
        value = text
    if not _has_type(value, setting.type):
        raise ConfigError(
            f"{key}={text} should be {_TYPE_NAMES[setting.type]}. Example: {setting.example}."
        )
    return value


def _has_type(value: Any, type_: type) -> bool:
    if isinstance(value, bool):
        return type_ is bool
    if type_ is float:
        return isinstance(value, int | float)
    return isinstance(value, type_)
