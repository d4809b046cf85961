"""Names of the classes of images: their order, and names that may be mistakes."""

import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from limbeck._base.errors import ConfigError, LimbeckWarning
from limbeck.data.checks import join_some

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_LEADING_NUMBER = re.compile(r"\d+(?![\d.])", re.ASCII)
MISSING = ("nan", "-nan", "nat", "null", "<na>", "#n/a")
"""Labels that programs write for a missing one, in lower case."""
MISSING_AMONG_NUMBERS = ("na", "n/a", "none")
"""Labels that are missing ones if all others are numbers, and may be classes otherwise."""


def parse_class_names(class_names: Sequence[str]) -> list[str]:
    """Return the names of classes that the user lists.

    Raises:
        ConfigError: If there are fewer than two names, or if a name is repeated.
    """
    is_list = isinstance(class_names, Iterable) and not isinstance(class_names, (str, Mapping))
    names = [str(name) for name in class_names] if is_list else []
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"data.class_names={class_names!r} should list at least two names, each once."
        )
    return names


def sort_grades(names: Iterable[str], where: Path) -> list[str]:
    """Sort the names of ordered grades.

    Args:
        names: Numbers, names that begin with different numbers, or two words.
        where: Folder or table, for messages.

    Returns:
        The names by their numbers.

    Raises:
        ConfigError: If the order is unknown.
    """
    names = sorted(names)
    if all(map(is_number, names)):
        return sorted(names, key=float)
    numbers = [int(match[0]) for match in map(_LEADING_NUMBER.match, names) if match]
    if len(set(numbers)) == len(names):
        return [name for _, name in sorted(zip(numbers, names, strict=True))]
    if len(names) > 2:  # both orders of two grades give the same kappa
        raise ConfigError(
            f"{where}: the classes {', '.join(names)} are words, so their order as grades is "
            f"unknown. List them from the lowest to the highest, as in "
            f"data.class_names=[{','.join(names)}]."
        )
    return names


def is_number(label: str) -> bool:
    """Whether a label is a number, such as 2, -0.5 or 1e0."""
    return _NUMBER.fullmatch(label) is not None


def missing_labels(labels: Collection[str]) -> set[str]:
    """Return the labels that stand for a missing one, such as ``nan``."""
    missing = {label for label in labels if label.lower() in MISSING}
    others = set(labels) - missing
    blanks = {label for label in others if label.lower() in MISSING_AMONG_NUMBERS}
    if others > blanks and all(map(is_number, others - blanks)):
        missing |= blanks
    return missing


def warn_of_similar_names(names: Sequence[str], where: Path) -> None:
    """Warn of classes that may be one, such as ``Cat`` and ``cat``, or ``0`` and ``0.0``."""
    groups = defaultdict(list)
    for name in names:
        letters = unicodedata.normalize("NFC", name).casefold()
        key = str(float(name)) if is_number(name) else re.sub(r"[\s_]", "", letters)
        groups[key].append(repr(name))
    similar = [" and ".join(group) for group in groups.values() if len(group) > 1]
    if similar:
        warnings.warn(
            f"{where}: classes with similar names are read as different classes: "
            f"{join_some(similar)}. Use one spelling for each class.",
            LimbeckWarning,
            stacklevel=2,
        )
