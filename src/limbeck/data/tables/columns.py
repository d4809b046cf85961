"""Columns of a table whose rows are the inputs of a dataset."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError


@dataclass(frozen=True)
class TableColumns:
    """Columns of a table whose rows are the inputs of a dataset.

    Inputs are float32 ``[N, F]``: numbers as they are, the codes 0 to k - 1 of k categories, and
    NaN for a missing value.

    Attributes:
        names: Name of each column.
        categories: Categories of each column in the order of their codes; None for a column of
            numbers.

    Raises:
        ConfigError: If there is no column, or names or categories are not as expected.
    """

    names: tuple[str, ...]
    categories: tuple[tuple[str, ...] | None, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        categories = [None if kind is None else tuple(map(str, kind)) for kind in self.categories]
        object.__setattr__(self, "categories", tuple(categories))
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(
                f"A table has columns of different names, but they are {list(self.names)}."
            )
        if len(self.categories) != len(self.names):
            raise ConfigError(
                f"A table of {len(self.names)} columns has {len(self.categories)} entries in "
                "categories; expected one for each column, None for a column of numbers."
            )
        for name, kind in zip(self.names, categories, strict=True):
            if kind is not None and (not kind or len(set(kind)) < len(kind)):
                raise ConfigError(
                    f"Column {name} has the categories {list(kind)}; expected different names, and "
                    "at least one."
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of categories of each column; 0 for a column of numbers."""
        return tuple(0 if kind is None else len(kind) for kind in self.categories)

    def as_json(self) -> list[dict[str, Any]]:
        """Return name and categories of each column, as bundles and saved models hold them."""
        pairs = zip(self.names, self.categories, strict=True)
        return [
            {"name": name, "categories": None if kind is None else list(kind)}
            for name, kind in pairs
        ]

    def check(self, inputs: Tensor, where: str) -> None:
        """Check that inputs have these columns.

        Args:
            inputs: Inputs ``[N, F]``.
            where: Dataset and split, for messages.

        Raises:
            DataError: If they have another shape or type, or if a value is infinite or no code of
                its column.
        """
        if inputs.ndim != 2 or inputs.shape[1] != len(self) or inputs.dtype != torch.float32:
            raise DataError(
                f"{where}: a table of {len(self)} columns has inputs [N, {len(self)}] of float32, "
                f"got {list(inputs.shape)} of {inputs.dtype}."
            )
        for number, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
            values = inputs[:, number]
            is_valid = values.isfinite()
            expected = "a finite number, or NaN for a missing one"
            if size:
                is_valid = is_valid & (values >= 0) & (values < size) & (values == values.floor())
                expected = f"the code of a category, 0 to {size - 1}, or NaN for a missing one"
            is_valid |= values.isnan()
            if not bool(is_valid.all()):
                row = int((~is_valid).nonzero()[0])
                raise DataError(
                    f"{where}: sample {row} has {float(values[row]):g} in column {name}; expected "
                    f"{expected}."
                )
