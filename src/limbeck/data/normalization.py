"""Normalisation of the inputs of a dataset: what models do to them first."""

from collections.abc import Sequence
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.data.statistics import Statistics
from limbeck.models.normalizations import Normalization, check_normalization, statistics_of

OWN = "data"
"""Normalisation with the mean and standard deviation of the training inputs."""
SETTING = "data.normalize"


def parse_normalize(value: object, shape: Sequence[int]) -> Normalization:
    """Return a normalisation that a user gives, after a check.

    Args:
        value: Name of a normalisation; mean and standard deviation as a pair or a mapping; None for
            those of the training inputs; False for none.
        shape: Shape of one input.

    Raises:
        ConfigError: If it is unknown, or does not fit the number of channels.
    """
    normalization: Any = value
    if value is None or value is True:
        normalization = OWN
    elif value is False:
        normalization = "none"
    elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        normalization = {"mean": value[0], "std": value[1]}
    check_normalization(normalization, SETTING)
    if normalization != OWN:
        statistics_of(normalization, _channels(shape), ([0.0], [1.0]), SETTING)
    return normalization if isinstance(normalization, str) else dict(normalization)


def normalization_of(
    normalization: Normalization, shape: Sequence[int], statistics: Statistics
) -> Statistics:
    """Return the mean and the standard deviation with which models normalise inputs.

    Args:
        normalization: Normalisation from :func:`parse_normalize`.
        shape: Shape of one input.
        statistics: Mean and standard deviation of the training inputs.
    """
    mean, std = statistics_of(normalization, _channels(shape), statistics, SETTING)
    return list(mean), list(std)


def check_has_normalization(normalization: Normalization, name: str, kind: str | None) -> None:
    """Check that a normalisation is not set for a table or a text.

    Args:
        normalization: Normalisation from :func:`parse_normalize`.
        name: Name of the dataset.
        kind: ``table`` or ``text``; None for other inputs.

    Raises:
        ConfigError: If it is.
    """
    if kind is not None and normalization != OWN:
        rule = "its numbers are standardised" if kind == "table" else "its tokens are no numbers"
        raise ConfigError(
            f"normalize={normalization!r} is for images and arrays, but {name} is a {kind}: {rule}."
        )


def describe_normalization(
    normalization: Normalization, statistics: Statistics, *, is_table: bool
) -> str:
    """Return a phrase about what models do to the inputs first.

    Args:
        normalization: Normalisation of the dataset.
        statistics: Its mean and standard deviation.
        is_table: Whether the inputs are rows of a table.
    """
    if is_table:
        return "numbers standardised with mean and standard deviation of the training split"
    if normalization == "none":
        return "not normalised"
    mean, std = (", ".join(f"{value:.3g}" for value in values[:4]) for values in statistics)
    if len(statistics[0]) > 4:
        mean, std = f"{mean}, ...", f"{std}, ..."
    sources = {OWN: " of the training split", "imagenet": " of ImageNet"}
    source = sources.get(normalization, "") if isinstance(normalization, str) else ""
    return f"normalised with mean {mean} and standard deviation {std}{source}"


def _channels(shape: Sequence[int]) -> int:
    """Number of channels of images, of features, or of other inputs with channels first."""
    return shape[0] if shape else 1
