"""A data set in memory: training, validation and test split, the last opened on purpose only."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one split.

    Attributes:
        inputs: ``[N, ...]``; uint8 images ``[N, C, H, W]`` (0 to 255) or floats of any shape.
        labels: int64, ``[N]``.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Split":
        """The samples at ``index``."""
        return Split(self.inputs[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        """The split on a device."""
        return Split(self.inputs.to(device), self.labels.to(device))


def as_float(inputs: Tensor) -> Tensor:
    """What a model sees: uint8 images become floats from 0 to 1, floats stay as they are."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs


class Dataset:
    """Training, validation and test split of one task.

    Args:
        name: for tables and messages.
        train: the labelled training samples; the validation split is cut from them.
        test: the test samples.
        class_names: one name a class, in the order of the labels.
        val: how many of the training samples to keep for validation.
        split_seed: which ones; the same seed gives the same split everywhere.

    Raises:
        ConfigError: ``val`` leaves no training or no validation sample.
        DataError: inputs and labels do not fit together, or a label is out of range.
    """

    def __init__(
        self, name: str, train: Split, test: Split, *, class_names: Sequence[str], val: int, split_seed: int = 0
    ):
        for part, split in (("training", train), ("test", test)):
            check_split(split, len(class_names), where=f"{name}, {part} split")
        if isinstance(val, bool) or not isinstance(val, int) or not 1 <= val < len(train):
            raise ConfigError(f"data.val={val!r} should be a whole number from 1 to {len(train) - 1}.")
        if train.inputs.shape[1:] != test.inputs.shape[1:] or train.inputs.dtype != test.inputs.dtype:
            raise DataError(
                f"{name}: training inputs are {list(train.inputs.shape[1:])} {train.inputs.dtype}, test inputs "
                f"{list(test.inputs.shape[1:])} {test.inputs.dtype}; they should be alike."
            )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(split_seed))
        self.name = name
        self.class_names = [str(c) for c in class_names]
        self.val = train.take(order[:val].sort().values)
        self.train = train.take(order[val:].sort().values)
        self.test_size = len(test)
        self._test = test

    @classmethod
    def from_arrays(
        cls, x: Any, y: Any, x_test: Any, y_test: Any, *, name: str = "arrays",
        class_names: Sequence[str] | None = None, val: int | None = None, split_seed: int = 0,
    ) -> "Dataset":  # fmt: skip
        """A data set from arrays or tensors; a tenth of the training samples is kept for validation by default.

        Args:
            x: training inputs ``[N, ...]``: uint8 images ``[N, C, H, W]`` (or ``[N, H, W]``), or floats.
            y: integer labels ``[N]``.
            x_test: test inputs, alike.
            y_test: test labels.
            name: for tables.
            class_names: by default the numbers from 0.
            val: number of validation samples.
            split_seed: of the validation split.
        """
        train, test = _as_split(x, y, name), _as_split(x_test, y_test, name)
        if class_names is None:
            class_names = [str(c) for c in range(int(train.labels.max()) + 1 if train.labels.numel() else 0)]
        return cls(
            name, train, test, class_names=class_names, split_seed=split_seed,
            val=max(1, len(train) // 10) if val is None else val,
        )  # fmt: skip

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    def open_test(self) -> Split:
        """The test split. A study calls this once, after its last arm has finished."""
        return self._test

    def head(self, samples: int) -> "Dataset":
        """A small part of the data set: at most ``samples`` to train, half as many to validate and to test."""
        small = object.__new__(Dataset)
        small.name, small.class_names = self.name, self.class_names
        small.train = self.train.take(torch.arange(min(samples, len(self.train))))
        small.val = self.val.take(torch.arange(min(samples // 2, len(self.val))))
        small._test = self._test.take(torch.arange(min(samples // 2, len(self._test))))
        small.test_size = len(small._test)
        return small

    def digest(self) -> str:
        """SHA-256 of the samples of all splits and their labels, in hexadecimal."""
        found = hashlib.sha256()
        for split in (self.train, self.val, self._test):
            found.update(f"{list(split.inputs.shape)} {split.inputs.dtype}".encode())
            found.update(split.inputs.numpy().tobytes())
            found.update(split.labels.numpy().tobytes())
        return found.hexdigest()

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the training inputs as a model sees them, one per channel (images) or one."""
        inputs = self.train.inputs
        parts = inputs.transpose(0, 1).flatten(1) if inputs.ndim == 4 else inputs.reshape(1, -1)
        scale = 255.0 if inputs.dtype == torch.uint8 else 1.0
        mean = [float(part.double().mean()) / scale for part in parts]
        std = [float(part.double().std()) / scale for part in parts]
        return mean, [s if s > 0 else 1.0 for s in std]


def _as_split(x: Any, y: Any, name: str) -> Split:
    inputs, labels = _as_tensor(x, f"{name}: inputs"), _as_tensor(y, f"{name}: labels")
    if inputs.dtype == torch.uint8 and inputs.ndim == 3:
        inputs = inputs.unsqueeze(1)
    if inputs.dtype != torch.uint8:
        inputs = inputs.float()
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise DataError(f"{name}: labels should be integers, found {labels.dtype}.")
    return Split(inputs, labels.long())


def _as_tensor(values: Any, where: str) -> Tensor:
    """A tensor on the CPU that shares no memory with an array of the user's."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} should be an array of numbers ({error}).") from None


def check_split(split: Split, classes: int, *, where: str) -> None:
    """Check that inputs and labels fit together.

    Raises:
        DataError: naming what was found and where.
    """
    if split.labels.ndim != 1 or split.inputs.ndim == 0 or len(split.inputs) != len(split.labels):
        raise DataError(
            f"{where}: inputs of shape {list(split.inputs.shape)} and labels of shape {list(split.labels.shape)}; one "
            "label an input was expected."
        )
    if len(split) == 0:
        raise DataError(f"{where}: it is empty.")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= classes:
        raise DataError(f"{where}: labels from {low} to {high} were found; 0 to {classes - 1} were expected.")
    if split.inputs.is_floating_point() and not bool(torch.isfinite(split.inputs).all()):
        raise DataError(f"{where}: some inputs are infinite or not a number.")
