"""The handwritten digits of scikit-learn."""

import numpy as np
import torch

from limbeck._base.checks import check_seed
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.mnist import DIGIT_CLASSES
from limbeck.data.randomness import random_order


def digits(*, val: int = 200, test: int = 500, split_seed: int = 0) -> Dataset:
    """Load scikit-learn's 1797 handwritten digits, grey images of 8 x 8 pixels.

    Args:
        val: Number of images for validation.
        test: Number of images for testing.
        split_seed: Seed of both splits.

    Raises:
        ConfigError: If a number is out of range.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).long()
    if isinstance(test, bool) or not isinstance(test, int) or not 1 <= test < len(labels):
        raise ConfigError(
            f"data.test={test!r} should be a whole number from 1 to {len(labels) - 1}."
        )
    order = random_order(len(labels), check_seed("data.split_seed", split_seed))
    images_and_labels = Split(images, labels)
    return Dataset(
        "digits",
        images_and_labels.take(order[test:].sort().values),
        images_and_labels.take(order[:test].sort().values),
        class_names=DIGIT_CLASSES,
        val=val,
        split_seed=split_seed,
    )
