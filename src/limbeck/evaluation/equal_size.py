"""Size at which a model has a given result, by interpolation between models of several sizes."""

import math
from collections.abc import Sequence


def size_for(target: float, sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the smallest size at which a result is as good as the target.

    Between two sizes the result is taken to be linear in the logarithm of the size.

    Args:
        target: Result to reach, such as a number of errors. Lower is better.
        sizes: Size of each model in bytes, above 0, in any order.
        values: Result of each model.

    Returns:
        The size in bytes; that of the smallest model if it reaches the target, and None if no model
        does.
    """
    points = sorted(zip(sizes, values, strict=True))
    previous: tuple[float, float] | None = None
    for size, value in points:
        if value <= target:
            if previous is None:
                return size
            smaller, worse = previous
            share = (worse - target) / (worse - value)
            return smaller * math.exp(share * math.log(size / smaller))
        previous = size, value
    return None
