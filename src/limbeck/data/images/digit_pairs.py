"""Two handwritten digits in one image: several labels per sample."""

import torch
from torch import Tensor

from limbeck._base.checks import check_count, check_seed
from limbeck.data.dataset import Dataset
from limbeck.data.images.digits import digits
from limbeck.data.randomness import random_order
from limbeck.data.split import Split


def digit_pairs(
    *, train: int = 1500, val: int = 300, test: int = 500, split_seed: int = 0
) -> Dataset:
    """Make images of two of scikit-learn's digits next to each other, 8 x 16 pixels.

    The labels are the digits that an image contains: two of ten, or one if both are the same. The
    digits of the test images are in no other image.

    Args:
        train: Number of images for training.
        val: Number of images for validation.
        test: Number of images for testing.
        split_seed: Seed of the splits and of the pairs.

    Raises:
        ConfigError: If a number is out of range.
    """
    for name, value in (("train", train), ("val", val), ("test", test)):
        check_count(f"data.{name}", value)
    check_seed("data.split_seed", split_seed)
    single = digits(split_seed=split_seed)
    pairs = {
        "train": (single.train, train),
        "val": (single.val, val),
        "test": (single.open_test(), test),
    }
    splits = {name: _pairs(part, count, split_seed) for name, (part, count) in pairs.items()}
    return Dataset.from_splits(
        "digit_pairs",
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=single.class_names,
        task="multi_label",
    )


def _pairs(single: Split, count: int, seed: int) -> Split:
    """Put two digits of a split next to each other."""
    left, right = (_draw(len(single), count, 2 * seed + side) for side in (0, 1))
    images = torch.cat([single.inputs[left], single.inputs[right]], -1)
    labels = torch.zeros(count, 10)
    for rows in (left, right):
        labels[torch.arange(count), single.labels[rows]] = 1
    return Split(images, labels)


def _draw(size: int, count: int, seed: int) -> Tensor:
    """Draw ``count`` rows of ``size``, each about equally often."""
    rounds = -(-count // size)
    orders = [random_order(size, (seed << 8) + number) for number in range(rounds)]
    return torch.cat(orders)[:count]
