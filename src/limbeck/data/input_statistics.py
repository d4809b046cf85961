"""Statistics of the inputs of a dataset, and the normalisation with which models begin."""

from functools import cached_property

from limbeck._base.mapped_memory import fits_memory
from limbeck._base.sizes import format_bytes
from limbeck.data.normalization import (
    check_has_normalization,
    describe_normalization,
    normalization_of,
    parse_normalize,
)
from limbeck.data.split import Split
from limbeck.data.statistics import Statistics, column_statistics, input_statistics
from limbeck.data.tables.columns import TableColumns
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.models.normalizations import Normalization


class InputStatistics:
    """Base of a dataset: what is known about its training inputs.

    Attributes:
        name: Name of the dataset.
        train: Training split.
        columns: Columns of a table; None for other inputs.
        tokenizer: Tokenizer of a text; None for other inputs.
        normalize: Normalisation of the inputs.
    """

    name: str
    train: Split
    columns: TableColumns | None = None
    tokenizer: Tokenizer | None = None
    normalize: Normalization = "data"

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and standard deviation of the training inputs in the form that models take.

        There is one number per channel for images ``[C, H, W]``, and per column for a table,
        otherwise a single number.
        """
        if self.columns is not None:
            return column_statistics(self.train.inputs, self.columns.sizes)
        return input_statistics(self.train.inputs)

    def set_normalization(self, normalize: object) -> None:
        """Set what models do to the inputs first: subtract a mean, divide by a standard deviation.

        Args:
            normalize: ``(mean, std)``, numbers or lists with one per channel; ``imagenet``,
                ``symmetric`` (0.5 and 0.5); ``none`` or False for inputs as they are; ``data`` or
                None for mean and standard deviation of the training split.

        Raises:
            ConfigError: If it is something else, or if the inputs are a table or a text.
        """
        normalization = parse_normalize(normalize, self.train.inputs.shape[1:])
        kind = "table" if self.columns is not None else "text" if self.tokenizer else None
        check_has_normalization(normalization, self.name, kind)
        self.normalize = normalization

    @property
    def normalization(self) -> Statistics:
        """Mean and standard deviation with which models normalise the inputs."""
        return normalization_of(self.normalize, self.train.inputs.shape[1:], self.statistics)

    def describe_normalization(self) -> str:
        """Return a phrase about what models do to the inputs first; empty for texts."""
        if self.tokenizer is not None:
            return ""
        is_table = self.columns is not None
        return describe_normalization(self.normalize, self.normalization, is_table=is_table)

    def notes(self) -> list[str]:
        """Return what to say about the inputs before a study."""
        notes = []
        if normalization := self.describe_normalization():
            notes.append(f"inputs: {normalization}")
        if self.train.is_on_disk:
            size = self.train.inputs.untyped_storage().nbytes()
            reason = "data.in_memory=false"
            if not fits_memory(size):
                reason = (
                    "they would fill more than a quarter of the available memory; "
                    "data.in_memory=true keeps them in memory"
                )
            notes.append(f"data: {format_bytes(size)} stay on the disk ({reason})")
        return notes

    @property
    def gaps(self) -> list[bool]:
        """Whether training rows of a table lack values of each column."""
        gaps: list[bool] = self.train.inputs.isnan().any(0).tolist()
        return gaps
