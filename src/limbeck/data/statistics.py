"""Mean and standard deviation of training inputs and of targets."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.data.split import read_parts

Statistics = tuple[list[float], list[float]]
"""Means and standard deviations: one per channel for images, one per column for tables, otherwise a
single one.
"""


def input_statistics(inputs: Tensor) -> Statistics:
    """Compute the mean and the sample standard deviation (n - 1) of inputs.

    Args:
        inputs: ``[N, C, H, W]`` for statistics per channel, otherwise ``[N, ...]``. uint8 values
            are divided by 255.

    Returns:
        Means and standard deviations. A standard deviation of 0 becomes 1, so that inputs can be
        divided by it.
    """
    if inputs.dtype == torch.uint8 and inputs.ndim == 4:
        mean, std = _byte_statistics(inputs)
    else:
        mean, std = _plain_statistics(inputs)
    return mean, [deviation if deviation > 0 else 1.0 for deviation in std]


def column_statistics(inputs: Tensor, sizes: Sequence[int]) -> Statistics:
    """Compute the mean and the sample standard deviation of each column of a table.

    Args:
        inputs: Rows ``[N, F]``; missing values are NaN, and do not count.
        sizes: Number of categories of each column; 0 for a column of numbers.

    Returns:
        Means and standard deviations; 0 and 1 for a column of categories. A standard deviation of 0
        becomes 1, and the mean of a column without values 0.
    """
    mean, std = [0.0] * len(sizes), [1.0] * len(sizes)
    for number, size in enumerate(sizes):
        values = inputs[:, number]
        values = values[~values.isnan()].double()
        if size == 0 and len(values):
            mean[number] = float(values.mean())
            deviation = float(values.std()) if len(values) > 1 else 0.0
            std[number] = deviation if deviation > 0 else 1.0
    return mean, std


def target_statistics(labels: Tensor) -> Statistics:
    """Compute the mean and the sample standard deviation (n - 1) of each target.

    Args:
        labels: Targets ``[N, D]``.

    Returns:
        Means and standard deviations; 1 in place of a standard deviation of 0.
    """
    mean, std = labels.double().mean(0), labels.double().std(0)
    return mean.tolist(), [deviation if deviation > 0 else 1.0 for deviation in std.tolist()]


def _plain_statistics(inputs: Tensor) -> Statistics:
    parts = inputs.transpose(0, 1).flatten(1) if inputs.ndim == 4 else inputs.reshape(1, -1)
    scale = 255.0 if inputs.dtype == torch.uint8 else 1.0
    mean, std = [], []
    for part in parts:
        mean.append(float(part.double().mean()) / scale)
        std.append(float(part.double().std()) / scale)
    return mean, std


def _byte_statistics(images: Tensor) -> Statistics:
    """Compute exact statistics by channel of uint8 ``[N, C, H, W]``, a few images at a time."""
    count = images[:, 0].numel()
    total = square = torch.zeros(images.shape[1], dtype=torch.int64)
    for part in read_parts(images):
        values = part.long()
        total = total + values.sum((0, 2, 3))
        square = square + values.square().sum((0, 2, 3))
    mean, std = [], []
    for first, second in zip(total.tolist(), square.tolist(), strict=True):
        variance = (count * second - first * first) / (count * max(count - 1, 1))
        mean.append(first / count / 255)
        std.append(math.sqrt(variance) / 255)
    return mean, std
