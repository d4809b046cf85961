"""Names of classes: their order, and names that may be mistakes."""

import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from limbeck._base.errors import ConfigError, LimbeckWarning
from limbeck.data.checks import join_some

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)(\.0*)?", re.ASCII)
_FIRST_NUMBER = re.compile(r"(\D*)(\d+)(?![\d.])", re.ASCII)
_DIGITS = re.compile(r"(\d+)", re.ASCII)
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
    names = [normal_name(str(name)) for name in class_names] if is_list else []
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"data.class_names={class_names!r} should list at least two names, each once."
        )
    return names


def normal_name(name: str) -> str:
    """Return a name in the Unicode form NFC; macOS writes names of files in NFD."""
    return unicodedata.normalize("NFC", name)


CLASS_ORDERS = ("natural", "text")
"""Orders of classes: with numbers by value, or by characters, as other programs sort names."""


def check_class_order(class_order: str) -> None:
    """Check the setting ``data.class_order``.

    Raises:
        ConfigError: If it is not one of the orders.
    """
    if class_order not in CLASS_ORDERS:
        raise ConfigError(
            f"data.class_order={class_order!r} should be {' or '.join(CLASS_ORDERS)}."
        )


def natural_sort(names: Iterable[str]) -> list[str]:
    """Sort names of classes as people do: numbers by value, also within names.

    Names that are all numbers are sorted by value, also if they are negative or fractions. In other
    names only digits count as numbers, so ``class2`` is before ``class10``.
    """
    names = sorted(names)
    if all(map(is_number, names)):
        return sorted(names, key=float)
    return sorted(names, key=_natural_key)


def _natural_key(name: str) -> list[tuple[str, int, str]]:
    """Return texts and the numbers after them: ``[("class", 2, "10")]`` of ``class10``.

    Digits are compared by their count first, so that a number may have any length.
    """
    parts = [*_DIGITS.split(name), ""]
    key = []
    for text, digits in zip(parts[::2], parts[1::2], strict=True):
        number = digits.lstrip("0")
        key.append((text, len(number), number))
    return key


def whole_numbers(labels: Iterable[str]) -> dict[str, str]:
    """Return labels without the decimals that pandas gives to whole numbers: ``3`` for ``3.0``.

    Returns:
        Each label with its new form. Labels that are not all whole numbers stay as they are.
    """
    labels = set(labels)
    matches = {label: _WHOLE_NUMBER.fullmatch(label) for label in labels}
    forms = {label: match[1] for label, match in matches.items() if match}
    return forms if len(forms) == len(labels) else {label: label for label in labels}


def class_order_hint(names: Sequence[str]) -> str:
    """Return a sentence for a run with other data than these, or an empty text.

    Args:
        names: Names of the classes of the dataset.
    """
    if list(names) == sorted(names) or list(names) != natural_sort(names):
        return ""
    return (
        " If it was started with limbeck before version 0.2, its classes were sorted as text: read "
        "the images with class_order='text'."
    )


def same_classes(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists of classes are the same, in spite of another form of their names.

    Earlier versions kept names in the Unicode form of their folder, and ``3.0`` as it was.
    """
    return _plain_names(names) == _plain_names(others)


def _plain_names(names: Sequence[str]) -> list[str]:
    forms = whole_numbers(names)
    return [normal_name(forms[name]) for name in names]


def sort_grades(names: Iterable[str], where: Path) -> list[str]:
    """Sort the names of ordered grades.

    Args:
        names: Numbers, names that begin with different numbers or that differ in the number after
            one word, or two words.
        where: Folder or table, for messages.

    Returns:
        The names by their numbers.

    Raises:
        ConfigError: If the order is unknown.
    """
    names = sorted(names)
    if all(map(is_number, names)):
        return sorted(names, key=float)
    matches = [match for match in map(_FIRST_NUMBER.match, names) if match]
    words, numbers = {match[1] for match in matches}, [int(match[2]) for match in matches]
    if len(words) == 1 and len(set(numbers)) == len(names):
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
