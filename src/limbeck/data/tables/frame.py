"""Data frames, such as those of pandas, Polars and Arrow, as tables of texts."""

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
        """Return a column with a method that lists its values."""


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
        names = getattr(frame, "column_names", frame.columns)  # Arrow's columns are no names
        self._columns = {str(name): frame[name] for name in names}
        self.columns = [str(name) for name in names]

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
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            values: list[Any] = getattr(column, method)()
            return values
    return list(column)
