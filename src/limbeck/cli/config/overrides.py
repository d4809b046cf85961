"""Parsing and rewriting of command-line overrides of the form ``KEY=VALUE``."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from limbeck._base.errors import ConfigError

MODELS = {"student": "student.name", "teacher": "teacher.model.name"}
"""Groups of models, each with the setting that names a model of a library."""
DEFAULT_RECIPE = "digits"
LIBRARIES = ("torchvision", "timm")
DATA_RECIPES = {
    "table": "table",
    "breast_cancer": "table",
    "diabetes": "regression",
    "digit_pairs": "multi_label",
    "text": "text",
    "text_folder": "text",
    "text_csv": "text_class",
    "text_folders": "text_class",
    "sentences": "embeddings",
}
"""Recipe of each choice of ``data`` that ``plain`` does not fit."""
PATHS = (
    "out",
    "data.root",
    "data.images",
    "data.table",
    "data.path",
    "data.tokenizer",
    "data.cache",
    "store.folder",
    "teacher.answers",
    "teacher.from",
    "teacher.map",
    "teacher.model.path",
    "student.path",
)
"""Settings whose value is a path."""

_BRACKETS = re.compile(r"\s*([\[{]|\w+\()")
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\$\{[^}]*\}"""
_WORDS = re.compile(rf"{_QUOTED}|[^,'\"]+")
_PLAIN = r"""[^,'"\[\]{}():]"""
_WORDS_IN_BRACKETS = re.compile(rf"{_QUOTED}|{_PLAIN}+(?:(?<=\s)\({_PLAIN}*\){_PLAIN}*)*")
"""Words, also with units after a space, as in ``length (cm)``; but no calls of functions."""


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
    return [f"recipe={DATA_RECIPES.get(data, 'plain')}", *overrides]


def split_model_name(override: str) -> list[str]:
    """Split ``student=torchvision/resnet18`` into the choice of a library and the model's name."""
    key, _, value = override.partition("=")
    library, slash, name = value.strip("'\"").partition("/")
    if key not in MODELS or not slash or library not in LIBRARIES:
        return [override]
    return [f"{key}={library}", f"{MODELS[key]}='{name}'"]


def parse_value(override: str) -> Any:
    """Return the value of an override as plain Python; None if it is deleted or malformed."""
    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return None
    return to_python(value)


def to_python(value: Any) -> Any:
    """Convert a value of Hydra's parser to plain Python."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [to_python(entry) for entry in value]
    if isinstance(value, dict):
        return {str(to_python(key)): to_python(entry) for key, entry in value.items()}
    return value


def names_object(value: Any) -> bool:
    """Whether a value is a group of settings that names an object or a type of model."""
    return isinstance(value, Mapping) and not value.keys().isdisjoint(("_target_", "model_type"))


def quote_path(override: str) -> str:
    """Quote the value of an override if it is a path.

    Hydra's grammar rejects unquoted umlauts and gives commas and brackets a special meaning.
    """
    key, value = parse(override)
    if key not in PATHS or not value or value == "null" or value[0] in "['\"":
        return override
    return f"{override.partition('=')[0]}={quote(os.path.expanduser(value))}"


def quote_words(override: str) -> str:
    """Quote the words in a value that Hydra's grammar does not know: ``grün``, ``~/x``, ``a (cm)``.

    Names of classes, columns and folders may stand in lists and braces, and in any language.
    """
    key, equals, value = override.partition("=")
    pattern = _WORDS_IN_BRACKETS if _BRACKETS.match(value) else _WORDS
    return f"{key}{equals}{pattern.sub(_quote_word, value)}"


def _quote_word(match: re.Match[str]) -> str:
    text = match[0]
    word = text.strip()
    is_plain = word.isascii() and not word.startswith("~") and "(" not in word
    if word[:1] in ("'", '"', "$") or is_plain:
        return text
    return text.replace(word, quote(os.path.expanduser(word)))


def quote(text: str) -> str:
    """Quote a text for Hydra's grammar, in which a backslash before a quote escapes it."""
    escaped = re.sub(r"(\\*)('|$)", lambda match: 2 * match[1] + match[2].replace("'", "\\'"), text)
    return f"'{escaped}'"
