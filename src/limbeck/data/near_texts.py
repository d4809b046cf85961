"""Texts of one split that are nearly the same as texts of another one."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from limbeck.data.near_copies import NearCopies
from limbeck.data.randomness import random_order

SHINGLE = 3
"""Number of consecutive tokens that are compared."""
MAX_TEXTS, MAX_QUERIES = 20_000, 2_000
"""Largest number of training texts and of texts of another split that are compared."""
BANDS, ROWS = 12, 3
"""Number of bands of a signature, and of hashes in a band. Texts with equal bands are compared."""
SIMILARITY = 0.7
"""Smallest share of common shingles of near copies (Jaccard similarity)."""
_FACTORS = np.random.default_rng(0).integers(1, 1 << 62, BANDS * ROWS).astype(np.uint64) * 2 + 1
_BASE = np.uint64(0x9E3779B97F4A7C15)
Shingles = list[np.ndarray]


def near_texts(train: Tensor, others: Mapping[str, Tensor], padding: int) -> dict[str, NearCopies]:
    """Compare texts with those of the training split.

    Near copies have at least 70 % of their shingles, three consecutive tokens, in common. Pairs to
    compare are found by MinHash (Broder 1997). Texts of fewer tokens are left out.

    Args:
        train: Token ids of the training split, ``[N, L]``.
        others: Token ids of other splits by name, ``[M, L]``.
        padding: Id of the padding.

    Returns:
        The near copies by split.
    """
    train_rows, train_shingles = _shingles(train, padding, MAX_TEXTS)
    index: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for number, shingles in enumerate(train_shingles):
        for key in _bands(shingles):
            index[key].append(number)
    results = {}
    for name, inputs in others.items():
        rows, queries = _shingles(inputs, padding, MAX_QUERIES)
        copies = []
        for row, query in zip(rows, queries, strict=True):
            candidates = {number for key in _bands(query) for number in index.get(key, ())}
            for number in sorted(candidates):
                if _similarity(query, train_shingles[number]) >= SIMILARITY:
                    copies.append((row, train_rows[number]))
                    break
        results[name] = NearCopies(copies, len(rows), len(train_rows))
    return results


def _shingles(inputs: Tensor, padding: int, count: int) -> tuple[list[int], Shingles]:
    """Draw texts, and return their rows and the sorted hashes of their shingles."""
    sample = random_order(len(inputs), 0)[:count].sort().values
    rows, shingles = [], []
    for row, ids in zip(sample.tolist(), inputs[sample].numpy(), strict=True):
        tokens = ids[ids != padding].astype(np.uint64)
        if len(tokens) >= SHINGLE:
            parts = [tokens[k : len(tokens) - SHINGLE + 1 + k] for k in range(SHINGLE)]
            hashes = np.zeros_like(parts[0])
            for part in parts:
                hashes = (hashes ^ part) * _BASE
            rows.append(row)
            shingles.append(np.unique(hashes ^ (hashes >> np.uint64(29))))
    return rows, shingles


def _bands(shingles: np.ndarray) -> list[tuple[int, bytes]]:
    """Return the bands of the signature of a text."""
    signature = (shingles[:, None] * _FACTORS).min(0).reshape(BANDS, ROWS)
    return [(number, band.tobytes()) for number, band in enumerate(signature)]


def _similarity(first: np.ndarray, second: np.ndarray) -> float:
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)
