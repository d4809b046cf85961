"""The usual normalisations of inputs, by name."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models.normalized import Normalized, without_normalization

NORMALIZATIONS = ("none", "symmetric", "imagenet", "data")
"""Names of normalisations: inputs stay from 0 to 1, become -1 to 1, or are standardised with the
mean and standard deviation of ImageNet, or of the training inputs.
"""
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
GREY_IMAGENET = ([0.449], [0.226])
"""Means and standard deviations of ImageNet: of its colours, and of grey images."""
EXAMPLE = "{mean: [0.5], std: [0.5]}"
Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation, one per channel or one for all."""
Normalization = str | Mapping[str, Any]
"""A name, or ``mean`` and ``std`` with one number per channel or one for all."""


def check_normalization(normalization: Any, setting: str = "teacher.normalization") -> None:
    """Check a normalisation, except its number of channels.

    Args:
        normalization: Normalisation.
        setting: Name of the setting, for messages.

    Raises:
        ConfigError: If the name is unknown, or mean and standard deviation are no numbers.
    """
    if isinstance(normalization, Mapping):
        _own_statistics(normalization, setting)
    elif not isinstance(normalization, str) or normalization not in NORMALIZATIONS:
        raise ConfigError(
            f"{setting}={normalization!r} is unknown; choose one of "
            f"{', '.join(NORMALIZATIONS)}, or give mean and std, as in {EXAMPLE}."
        )


def statistics_for(
    model: nn.Module, normalization: Normalization, shape: Sequence[int], of_data: Statistics
) -> Statistics:
    """Return the mean and the standard deviation of a normalisation for a model.

    A model may take colours of grey images, see :class:`Normalized`.

    Args:
        model: Model.
        normalization: Normalisation.
        shape: Shape of one input.
        of_data: Mean and standard deviation of the training inputs.

    Raises:
        ConfigError: If it is unknown, or does not fit the number of channels.
    """
    channels = shape[0] if len(shape) == 3 else 1
    own = model.mean.numel() if isinstance(model, Normalized) else 1
    mean, std = statistics_of(normalization, max(channels, own), of_data)
    if own > channels and len(mean) == 1:
        return [*mean] * own, [*std] * own
    return mean, std


def statistics_of(
    normalization: Normalization,
    channels: int,
    of_data: Statistics,
    setting: str = "teacher.normalization",
) -> Statistics:
    """Return the mean and the standard deviation of a normalisation.

    Args:
        normalization: Normalisation.
        channels: Number of channels.
        of_data: Mean and standard deviation of the training inputs.
        setting: Name of the setting, for messages.

    Raises:
        ConfigError: If it is unknown, or does not fit the number of channels.
    """
    check_normalization(normalization, setting)
    if normalization == "none":
        return [0.0], [1.0]
    if normalization == "symmetric":
        return [0.5], [0.5]
    if normalization == "data":
        return of_data
    if isinstance(normalization, Mapping):
        mean, std = _own_statistics(normalization, setting)
    else:
        mean, std = GREY_IMAGENET if channels == 1 else IMAGENET
    if len(mean) not in (1, channels):
        raise ConfigError(
            f"{setting}={normalization} is for {len(mean)} channels, but the inputs "
            f"have {channels}. Give mean and std, as in {EXAMPLE}."
        )
    return mean, std


def with_statistics(model: nn.Module, statistics: Statistics) -> Normalized:
    """Return the network of a model with another normalisation of its inputs."""
    size = model.size if isinstance(model, Normalized) else None
    return Normalized(without_normalization(model), *statistics, size=size)


def _own_statistics(values: Mapping[str, Any], setting: str) -> Statistics:
    """Return lists of equal length.

    Raises:
        ConfigError: If mean or standard deviation is missing, or is no number or list of numbers.
    """
    mean, std = _numbers(values, "mean", setting), _numbers(values, "std", setting)
    length = max(len(mean), len(std))
    has_others = bool(values.keys() - {"mean", "std"})
    if has_others or {len(mean), len(std)} - {1, length} or not all(s > 0 for s in std):
        raise ConfigError(
            f"{setting}={dict(values)!r} should have mean and std, with as many "
            f"numbers, and std above 0, as in {EXAMPLE}."
        )
    return mean * (length // len(mean)), std * (length // len(std))


def _numbers(values: Mapping[str, Any], name: str, setting: str) -> list[float]:
    value: Any = values.get(name)
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    are_numbers = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    if not numbers or not are_numbers:
        raise ConfigError(f"{setting}.{name}={value!r} should be a number, or a list of numbers.")
    return [float(number) for number in numbers]
