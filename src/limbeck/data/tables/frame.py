"""Data frames, such as those of pandas and Polars, as tables of texts."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from limbeck.data.tables.parquet import as_text

CATEGORIES = ("category", "Categorical", "Enum")
"""Beginnings of the names of such types in pandas and Polars."""


@runtime_checkable
class Frame(Protocol):
    """A table in memory: its columns by name."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def __getitem__(self, name: Any) -> Any:
        """Return a column, whose ``tolist()`` or ``to_list()`` has its values."""


class FrameTable:
    """A data frame as a table of texts.

    Args:
        frame: Data frame.

    Attributes:
        file: Name for messages.
        columns: Names of the columns.
        unit: Word for a row in messages.
        decimal: Decimal separator of numbers.
    """

    file = "the data frame"
    unit = "row"
    decimal = "."

    def __init__(self, frame: Frame):
        self._columns = {str(name): frame[name] for name in frame.columns}
        self.columns = [str(name) for name in frame.columns]

    @property
    def categorical(self) -> list[str]:
        """Columns whose type says that they contain categories."""
        kinds = {name: str(getattr(column, "dtype", "")) for name, column in self._columns.items()}
        return [name for name, kind in kinds.items() if kind.startswith(CATEGORIES)]

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the number of each row, from 1, and its values in some columns as texts."""
        columns = [map(as_text, _values(self._columns[name])) for name in names]
        for number, values in enumerate(zip(*columns, strict=True), 1):
            if any(values):
                yield number, values


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.to_list() if hasattr(column, "to_list") else column.tolist()
    return values
