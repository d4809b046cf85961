"""Rows of tables as inputs of the demo: a form with a field for each column."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from limbeck._base.runtime.cells import number_in
from limbeck.data import Dataset
from limbeck.deploy.demo.inputs import (
    DemoInput,
    FieldError,
    Reader,
    example_rows,
    label_text,
    read_texts,
)


class TableForm:
    """A field for each column: a number, or one of the categories.

    Args:
        data: Dataset of rows of a table.
    """

    def __init__(self, data: Dataset):
        assert data.columns is not None
        self._data, self._columns = data, data.columns
        self.readers: Mapping[str, Reader] = {"/row": self.read}

    def facts(self) -> dict[str, Any]:
        """Return the columns, and validation rows to fill in."""
        return {
            "kind": "table",
            "columns": self._columns.as_json(),
            "examples": [
                {"cells": self._cells(row), "label": label_text(self._data, row)}
                for row in example_rows(self._data)
            ],
        }

    def read(self, body: bytes) -> DemoInput:
        """Read a request: a JSON list of cells, with the numbers of categories.

        Numbers are read as ``limbeck predict`` reads them. An empty cell is a missing value.

        Raises:
            FieldError: If a cell is no number, or no category of its column.
            DataError: If the request is something else.
        """
        cells = read_texts(body, len(self._columns))
        values = []
        columns = zip(cells, self._columns.names, self._columns.sizes, strict=True)
        for number, (cell, name, size) in enumerate(columns):
            try:
                value = number_in(cell.strip())
            except ValueError as error:
                raise FieldError(f"{name}: {error}", number) from None
            if size and not math.isnan(value) and value not in range(size):
                raise FieldError(f"{name}: it has no category {value:g}", number)
            values.append(value)
        return DemoInput(torch.tensor([values], dtype=torch.float32))

    def _cells(self, row: int) -> list[str]:
        """Return the cells of a row of the validation split; empty for missing values."""
        cells = []
        values = self._data.val.inputs[row].numpy()
        for value, size in zip(values, self._columns.sizes, strict=True):
            if math.isnan(value):
                cells.append("")
            else:
                cells.append(str(int(value)) if size else str(value))
        return cells
