"""Answers as they are in a file, before they are checked and converted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.columns import Columns

BLOCK_ROWS = 1 << 13
"""Number of rows that are converted at once."""


@dataclass(frozen=True, kw_only=True)
class AnswerTable:
    """Rows of a file of answers.

    Attributes:
        where: File, for messages.
        ids: Ids of the samples, int64 or text ``[N]``; None for the numbers from 0.
        splits: Split of each row, text ``[N]``; None if the file names none.
        members: Member of an ensemble that gave each row, text ``[N]``; None for a single one.
        values: Numbers ``[N, K]``; None for labels.
        classes: Class of each column of ``values``; None for numbers from 0.
        top: Class of each value, text or int64 ``[N, K]``, where rows have the most probable ones.
        rest: Probability of all other classes, ``[N]``.
        labels: Class of each row, text or int64 ``[N]``.
        kind: Kind of the values, if the file says so.
        others: Columns that are not used.
    """

    where: str
    ids: NDArray | None = None
    splits: NDArray | None = None
    members: NDArray | None = None
    values: NDArray | None = None
    classes: Sequence[str] | None = None
    top: NDArray | None = None
    rest: NDArray | None = None
    labels: NDArray | None = None
    kind: str | None = None
    others: Sequence[str] = ()

    def __len__(self) -> int:
        values = self.labels if self.values is None else self.values
        assert values is not None
        return len(values)

    def name_of(self, row: int) -> str:
        """Return the name of a row for messages."""
        return f"row {row}" if self.ids is None else f"id {self.ids[row]}"


class TableBuilder:
    """Table of answers that grows by blocks of rows.

    Args:
        where: File, for messages.
        columns: Columns of the file.
    """

    def __init__(self, where: str, columns: Columns):
        self.where, self.columns = where, columns
        self._parts: dict[str, list[NDArray]] = {}

    def add(self, name: str, part: NDArray) -> None:
        """Add a block of a column, under the name of an attribute of :class:`AnswerTable`."""
        self._parts.setdefault(name, []).append(part)

    def build(self) -> AnswerTable:
        """Return the table.

        Raises:
            TeacherError: If it has no rows, or the rows have different numbers of values.
        """
        if not self._parts:
            raise TeacherError(f"{self.where} has no rows.")
        arrays: dict[str, Any] = {}
        for name, parts in self._parts.items():
            widths = {part.shape[1:] for part in parts}
            if len(widths) > 1:
                counts = " and ".join(str(width[0]) for width in sorted(widths))
                raise TeacherError(f"{self.where}: rows have {counts} values; expected the same.")
            arrays[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return AnswerTable(
            where=self.where,
            classes=self.columns.classes,
            kind=self.columns.kind,
            others=self.columns.others,
            **arrays,
        )


def text_array(values: Sequence[Any]) -> NDArray:
    """Return values as an array of text, or int64 if all are whole numbers."""
    if all(type(value) is int for value in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    array = np.empty(len(values), dtype=object)
    array[:] = [value if isinstance(value, str) else str(value) for value in values]
    return array
