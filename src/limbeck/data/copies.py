"""Copies among many samples, found by their digests."""

import numpy as np


def copies_in(digests: np.ndarray) -> list[tuple[int, int]]:
    """Find equal digests.

    Args:
        digests: SHA-256 of each sample, uint8 ``[N, 32]``.

    Returns:
        The row of the first sample with a digest, and that of each further one, in the order of
        the latter.
    """
    words = np.ascontiguousarray(digests).view("<u8")
    order = np.lexsort(words.T)  # stable, so that the first of equal rows is the lowest
    ordered = words[order]
    is_copy = (ordered[1:] == ordered[:-1]).all(1)
    first, pairs = 0, []
    for place in (is_copy.nonzero()[0] + 1).tolist():
        if place == 1 or not is_copy[place - 2]:
            first = int(order[place - 1])
        pairs.append((first, int(order[place])))
    return sorted(pairs, key=lambda pair: pair[1])
