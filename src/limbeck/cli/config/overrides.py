"""Parsing and rewriting of command-line overrides of the form ``KEY=VALUE``."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from limbeck._base.errors import ConfigError

MODELS = {"student": "student.name", "teacher": "teacher.model.name"}
"""Groups of models, each with the setting that names a model of a library."""
LIBRARIES = ("torchvision", "timm")
TEXT_DATA = ("text", "text_folder")
"""Choices of ``data`` that are text."""
PATHS = (
    "out",
    "data.root",
    "data.images",
    "data.table",
    "data.path",
    "data.tokenizer",
    "data.cache",
    "store.folder",
    "teacher.from",
    "teacher.model.path",
    "student.path",
)
"""Settings whose value is a path."""


class Parsed(NamedTuple):
    """Key and value of an override."""

    key: str
    value: str


def parse(override: str) -> Parsed:
    """Split an override into its key and value.

    Raises:
        ConfigError: If the override is not of the form ``KEY=VALUE``.
    """
    key, equals, value = override.partition("=")
    if not key.strip("+~ ") or (not equals and not override.startswith("~")):
        raise ConfigError(f"{override!r} should be KEY=VALUE, as in recipe=mnist or epochs=60.")
    return Parsed(key.lstrip("+~"), value)


def key_of(override: str) -> str:
    """Return the key of an override without its prefix ``+`` or ``~``."""
    return override.lstrip("+~").partition("=")[0]


def section_of(override: str) -> str:
    """Return the first part of the key of an override."""
    return key_of(override).partition(".")[0]


def add_default_recipe(overrides: Sequence[str]) -> list[str]:
    """Add a generic recipe if none is chosen and the data is not that of the default recipe."""
    choices = {key_of(override): override.partition("=")[2] for override in overrides}
    data = choices.get("data", "digits")
    if "recipe" in choices or data == "digits":
        return list(overrides)
    recipe = "text" if data in TEXT_DATA else "plain"
    return [f"recipe={recipe}", *overrides]


def split_model_name(override: str) -> list[str]:
    """Split ``student=torchvision/resnet18`` into the choice of a library and the model's name."""
    key, _, value = override.partition("=")
    library, slash, name = value.strip("'\"").partition("/")
    if key not in MODELS or not slash or library not in LIBRARIES:
        return [override]
    return [f"{key}={library}", f"{MODELS[key]}='{name}'"]


def quote_path(override: str) -> str:
    """Quote the value of an override if it is a path.

    Hydra's grammar rejects unquoted umlauts and gives commas and brackets a special meaning.
    """
    key, value = parse(override)
    if key not in PATHS or not value or value == "null" or value[0] in "['\"":
        return override
    path = os.path.expanduser(value).replace("'", "\\'")
    return f"{override.partition('=')[0]}='{path}'"
