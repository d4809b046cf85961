"""Classes in a file of answers, matched with those of the dataset by name or number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import TeacherError
from limbeck.data.checks import join_some

MAX_CLASSES = 1 << 20
"""Largest number of classes."""


def class_numbers(
    values: NDArray | Sequence[Any], class_names: Sequence[str] | None, where: str
) -> NDArray:
    """Return the numbers of classes that are given by name or number.

    A number counts as a name first, so classes called 1 to 5 keep their names.

    Args:
        values: Classes in any shape.
        class_names: Classes of the dataset; None if they are unknown, so that all are numbers.
        where: File, for messages.

    Returns:
        int64, in the shape of ``values``.

    Raises:
        TeacherError: If a class is unknown.
    """
    array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else object)
    if array.dtype.kind == "i" and class_names is None:
        _check_range(array, where)
        return array
    flat = array.ravel().tolist()
    numbers = {value: _class_number(value, class_names) for value in set(flat)}
    unknown = [value for value, number in numbers.items() if number is None]
    if unknown:
        raise _unknown_class(unknown, class_names, where)
    result = np.array([numbers[value] for value in flat], dtype=np.int64).reshape(array.shape)
    _check_range(result, where)
    return result


def _class_number(value: Any, class_names: Sequence[str] | None) -> int | None:
    text = str(value).strip()
    names = class_names or ()
    if text in names:
        return list(names).index(text)
    text = text.removesuffix(".0")  # pandas writes integers as floats if one is missing
    if text in names:
        return list(names).index(text)
    if not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_CLASSES)):
        return None
    number = int(text)
    return number if class_names is None or number < len(names) else None


def column_order(
    classes: Sequence[str],
    class_names: Sequence[str] | None,
    where: str,
    *,
    noun: str = "classes",
) -> NDArray | None:
    """Return the column of each class, int64 ``[C]``; None if the columns are in order.

    Args:
        classes: Class of each column.
        class_names: Classes of the dataset; None if they are unknown.
        where: File, for messages.
        noun: Word for classes, for messages.

    Raises:
        TeacherError: If classes are missing, or there twice.
    """
    if class_names is None:
        if not all(name.isascii() and name.isdigit() for name in classes):
            return None
        class_names = [str(number) for number in range(len(classes))]
    names_in_data = set(class_names)
    has_names = not names_in_data.isdisjoint(classes)
    if has_names:
        more = [name for name in classes if name not in names_in_data]
        missing = [name for name in class_names if name not in set(classes)]
        if missing:
            raise TeacherError(
                f"{where}: the {noun} {join_some(missing)} of the dataset are missing"
                f"{'; it has ' + join_some(more) + ' instead' if more else ''}."
            )
        position = {name: number for number, name in enumerate(classes)}
        columns = np.array([position[name] for name in class_names])
    else:
        numbers = class_numbers(classes, class_names, where)
        if sorted(numbers.tolist()) != list(range(len(class_names))):
            raise TeacherError(
                f"{where}: it has {len(classes)} {noun}, but the dataset has {len(class_names)}: "
                f"{join_some(list(class_names))}."
            )
        columns = numbers.argsort()
    is_in_order = len(classes) == len(columns) and bool((columns == np.arange(len(columns))).all())
    return None if is_in_order else columns


def _check_range(numbers: NDArray, where: str) -> None:
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < MAX_CLASSES:
        raise TeacherError(
            f"{where}: classes from {numbers.min()} to {numbers.max()} are no class numbers; "
            "expected numbers from 0."
        )


def _unknown_class(
    unknown: Sequence[Any], class_names: Sequence[str] | None, where: str
) -> TeacherError:
    if class_names is None:
        return TeacherError(
            f"{where}: {unknown[0]!r} is no class number, and the names of the classes are unknown."
        )
    hint = did_you_mean(str(unknown[0]), class_names)
    values = join_some([str(value)[:40] for value in unknown])
    return TeacherError(
        f"{where}: unknown classes: {values}.{hint} The classes of the dataset are "
        f"{join_some(list(class_names))}."
    )
