"""Models of the rows of a table, with numbers, categories and missing values."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.normalized import InputWrapper

SETTINGS = ("sizes", "mean", "std", "gaps")


class TableEncoder(nn.Module):
    """The first layer of a model of a table: rows with missing values become plain numbers.

    Numbers are standardised, and a missing one becomes their mean. A category becomes one output
    for each category of its column, 1 for its own and 0 for the others; all are 0 if it is missing.
    A column with gaps has one more output, which is 1 where its value is missing.

    Args:
        sizes: Number of categories of each column; 0 for a column of numbers.
        mean: Mean of each column of numbers; any number for a column of categories.
        std: Standard deviation of each column of numbers; likewise.
        gaps: Whether the training rows lack values of a column.

    Attributes:
        width: Number of outputs.

    Raises:
        ConfigError: If the lists have different lengths, or a value is out of range.
    """

    number_columns: Tensor
    mean: Tensor
    std: Tensor
    category_columns: Tensor
    codes: Tensor
    gap_columns: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        gaps: Sequence[bool],
    ):
        super().__init__()
        if not len(sizes) == len(mean) == len(std) == len(gaps) > 0:
            raise ConfigError("A TableEncoder needs as many sizes, means, deviations and gaps.")
        if any(type(size) is not int or size < 0 for size in sizes):
            raise ConfigError(f"sizes={list(sizes)} should be whole numbers from 0.")
        self.sizes, self.gaps = list(sizes), list(map(bool, gaps))
        numbers = [column for column, size in enumerate(sizes) if size == 0]
        pairs = [(column, code) for column, size in enumerate(sizes) for code in range(size)]
        with_gaps = [column for column, has_gaps in enumerate(gaps) if has_gaps]
        self.width = len(numbers) + len(pairs) + len(with_gaps)
        buffers = {
            "number_columns": torch.tensor(numbers, dtype=torch.int64),
            "mean": torch.tensor([mean[column] for column in numbers], dtype=torch.float32),
            "std": torch.tensor([std[column] for column in numbers], dtype=torch.float32),
            "category_columns": torch.tensor([column for column, _ in pairs], dtype=torch.int64),
            "codes": torch.tensor([code for _, code in pairs], dtype=torch.float32),
            "gap_columns": torch.tensor(with_gaps, dtype=torch.int64),
        }
        for name, values in buffers.items():
            if len(values):  # other formats, such as ONNX, do without empty tensors
                self.register_buffer(name, values)

    def extra_repr(self) -> str:
        """Return the numbers of columns and outputs."""
        return f"{len(self.sizes)} columns, {self.width} outputs"

    def settings(self) -> dict[str, Any]:
        """Return the arguments that create the layer; those of columns of categories are 0 and 1.

        They are plain values, as JSON needs them.
        """
        mean, std = [0.0] * len(self.sizes), [1.0] * len(self.sizes)
        if 0 in self.sizes:
            values = zip(self.number_columns, self.mean, self.std, strict=True)
            for column, column_mean, column_std in values:
                mean[int(column)], std[int(column)] = float(column_mean), float(column_std)
        return {"sizes": self.sizes, "mean": mean, "std": std, "gaps": self.gaps}

    def forward(self, x: Tensor) -> Tensor:
        """Encode rows.

        Args:
            x: Rows ``[..., F]``: numbers, codes of categories, and NaN for missing values.

        Returns:
            Finite numbers ``[..., width]``.
        """
        parts = []
        if 0 in self.sizes:
            numbers = (x.index_select(-1, self.number_columns) - self.mean) / self.std
            parts.append(torch.where(numbers.isnan(), torch.zeros_like(numbers), numbers))
        if any(self.sizes):
            categories = x.index_select(-1, self.category_columns)
            parts.append((categories == self.codes).to(x.dtype))
        if any(self.gaps):
            parts.append(x.index_select(-1, self.gap_columns).isnan().to(x.dtype))
        return torch.cat(parts, -1)


class TableModel(InputWrapper):
    """A model of the rows of a table: a :class:`TableEncoder`, then a network.

    Args:
        net: Network that takes the outputs of the encoder.
        encoder: First layer.
    """

    def __init__(self, net: nn.Module, encoder: TableEncoder):
        super().__init__(net)
        self.encoder = encoder

    def settings(self) -> dict[str, Any]:
        """See :meth:`InputWrapper.settings`."""
        return self.encoder.settings()

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]`` of rows ``[B, F]``."""
        return self.net(self.encoder(x))


def table_model(net: nn.Module, settings: Mapping[str, Any], sides: frozenset[int]) -> TableModel:
    """Create a model of a table from settings in a file.

    Args:
        net: Network that takes the outputs of the encoder.
        settings: Content of :meth:`TableEncoder.settings`.
        sides: Sizes of the network's weights, one of which is the number of outputs.

    Raises:
        ValueError: If the settings do not fit the network.
    """
    values = [settings[name] for name in SETTINGS]
    if not all(isinstance(value, list) for value in values):
        raise ValueError("the settings of a table should be lists")
    sizes, gaps = values[0], values[3]
    width = sum(max(1, size) for size in sizes) + sum(gaps)
    if width not in sides:  # before memory is spent on it
        raise ValueError(f"no weight has the size {width} of the encoded columns")
    return TableModel(net, TableEncoder(*values))
