"""Checks of counts, seeds, names and keys, and suggestions for misspelt words."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any

from limbeck._base.errors import ConfigError

MAX_SEEDS = 10_000
_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=,-]{0,99}")


def check_count(name: str, value: Any, minimum: int = 1) -> int:
    """Check that a value is a whole number of at least 1, or another minimum, and return it.

    Raises:
        ConfigError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigError(f"{name}={value!r} should be a whole number of at least {minimum}.")
    return value


def check_counts(name: str, values: Any) -> list[int]:
    """Check that a value is a list of whole numbers of at least 1, and return it.

    Raises:
        ConfigError: If it is not.
    """
    is_list = isinstance(values, Sequence) and not isinstance(values, str)
    counts = list(values) if is_list else None
    if counts is None or any(type(count) is not int or count < 1 for count in counts):
        raise ConfigError(f"{name}={values!r} should be a list of whole numbers of at least 1.")
    return counts


def check_seed(name: str, value: Any) -> int:
    """Check that a value is a whole number from 0 to 2^31 - 1, and return it.

    Raises:
        ConfigError: If it is not.
    """
    if not _is_seed(value):
        raise ConfigError(f"{name}={value!r} should be a whole number from 0 to 2147483647.")
    return value


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def seed_list(seeds: Any) -> list[int]:
    """Return seeds as a list; the number 5 means 0 to 4.

    Raises:
        ConfigError: If there are no seeds, a seed is repeated, or a seed is not a whole number from
            0 to 2^31 - 1.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        count = check_count("seeds", seeds)
        if count > MAX_SEEDS:
            raise ConfigError(f"seeds={count} is more than a study can hold ({MAX_SEEDS:,}).")
        return list(range(count))
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise ConfigError(f"seeds={seeds!r} should be a number of seeds, or a list of seeds.")
    values = list(seeds)
    if not values:
        raise ConfigError("seeds=[] is empty. Give at least one seed, five or more for a verdict.")
    for seed in values:
        if not _is_seed(seed):
            raise ConfigError(
                f"seeds={values}: {seed!r} should be a whole number from 0 to 2147483647."
            )
    if len(set(values)) < len(values):
        raise ConfigError(f"seeds={values} contains a seed twice. Repeated seeds add no evidence.")
    return values


def check_text(text: str, where: str) -> None:
    """Check that a text can be written in UTF-8.

    Names of files and words of the command line may contain other bytes, which Python represents
    by surrogates.

    Raises:
        ConfigError: If it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        readable = text.encode("utf-8", "backslashreplace").decode()
        raise ConfigError(
            f"{where} contains bytes that are not UTF-8: {readable!r}. Rename the file or folder."
        ) from None


def check_arm_names(names: Sequence[str]) -> None:
    """Check that the names of arms are valid folder names.

    Raises:
        ConfigError: If there is no name, or a name is ``teacher`` or not valid.
    """
    if not names:
        raise ConfigError("arms is empty; a study needs at least one arm.")
    for name in names:
        if not isinstance(name, str) or not _ARM_NAME.fullmatch(name) or name == "teacher":
            raise ConfigError(
                f"arms.{name}: expected a name of up to 100 letters, digits and . _ + = , - (and "
                "not 'teacher'), since it becomes the name of a folder."
            )


def check_keys(keys: Iterable[Any], known: Collection[str], where: str = "") -> None:
    """Check that all keys of a group of settings are known.

    Args:
        keys: Keys to check.
        known: Known keys.
        where: Path of the group, for messages, such as ``trainer``; empty at the top.

    Raises:
        ConfigError: If a key is unknown. The message suggests the most similar one.
    """
    for key in keys:
        if key not in known:
            hint = did_you_mean(str(key), known, f"`{key_path(where, '{}')}`")
            raise ConfigError(
                f"Unknown key `{key_path(where, key)}`.{hint} Known keys: {', '.join(known)}."
            )


def key_path(group: str, key: object) -> str:
    """Return the path of a key in a group of settings; at the top the group is empty."""
    return f"{group}.{key}" if group else str(key)


def field_names(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass."""
    return tuple(field.name for field in fields(kind))


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate closest to a misspelt word; None if no candidate is similar."""
    matches = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, candidates: Iterable[str], form: str = "{}") -> str:
    """Return a question that suggests the closest candidate, to follow a sentence.

    Args:
        word: A misspelt word.
        candidates: Words that would be right.
        form: Form in which the candidate is shown, such as ``store.{}``.

    Returns:
        The question after a space; empty if no candidate is similar.
    """
    match = closest(word, candidates)
    return f" Did you mean {form.format(match)}?" if match else ""


def without_addresses(text: str) -> str:
    """Remove memory addresses, which differ between processes, from the ``repr`` of objects."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
