"""Random tensors for tests of losses and metrics, and few examples of a property."""

import torch
from hypothesis import settings

from limbeck.losses import UNLABELLED

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)


def randn(*shape, seed=0, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype) * scale


def labels(*shape, classes=5, seed=2):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


def some_labels(*shape, classes=5, seed=2):
    """Labels, of which the second of each batch is missing."""
    y = labels(*shape, classes=classes, seed=seed)
    y[..., 1] = UNLABELLED
    return y
