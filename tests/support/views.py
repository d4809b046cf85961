"""What tests of views share: images, and a measure of uniformity."""

import numpy as np
import torch
from scipy.stats import chi2

FALSE_ALARM = 1e-6
"""Share of truly uniform generators that a test of uniformity rejects. Seeds are fixed."""
SAMPLES = 40
IMAGES = torch.randint(
    0, 256, (SAMPLES, 3, 9, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
POOL = torch.arange(0, SAMPLES, 3)
"""Rows that views may mix in."""


def assert_uniform(values, size):
    """Integers from 0 to ``size - 1`` are uniform by a chi-squared test."""
    counts = np.bincount(np.asarray(values), minlength=size)
    assert len(counts) == size
    expected = counts.sum() / size
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < chi2.isf(FALSE_ALARM, size - 1)
