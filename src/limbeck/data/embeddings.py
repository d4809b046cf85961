"""Datasets of texts for embeddings."""

import copy

from limbeck.data.dataset import Dataset


def set_dimensions(data: Dataset, dimensions: int) -> Dataset:
    """Return a dataset of embeddings with the number of dimensions of its vectors.

    Args:
        data: Dataset of the task ``embedding``.
        dimensions: Number of dimensions.
    """
    result = copy.copy(data)
    result.dimensions = dimensions
    return result
