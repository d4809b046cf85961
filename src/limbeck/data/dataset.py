"""A data set: training, validation and test split, the last opened on purpose only; of images or
other inputs with a class each, or of text, whose samples are blocks of tokens with the next token
at each position."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.text.tokenizer import Tokenizer

STATISTICS_PART = 1 << 24
"""Values at a time, so that a mapped file is not copied whole into wider numbers."""
PART_ROWS = 1 << 14


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one split.

    Attributes:
        inputs: ``[N, ...]``; uint8 images ``[N, C, H, W]`` (0 to 255) or floats of any shape; of
            text int32 token ids ``[N, T]``.
        labels: int64, ``[N]``; of text the next token at each position, int32 ``[N, T]``.
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
    """What a model sees: uint8 images become floats from 0 to 1, floats stay as they are, token ids
    become int64.
    """
    if inputs.dtype == torch.uint8:
        return inputs.float().div_(255)
    return inputs if inputs.is_floating_point() else inputs.long()


class Dataset:
    """Training, validation and test split of one task.

    Args:
        name: for tables and messages.
        train: the labelled training samples; the validation split is cut from them.
        test: the test samples.
        class_names: one name a class, in the order of the labels.
        val: how many of the training samples to keep for validation.
        split_seed: which ones; the same seed gives the same split everywhere.
        ordinal: classes are grades in their order; the quadratic kappa is reported beside the
            errors.

    Raises:
        ConfigError: ``val`` leaves no training or no validation sample.
        DataError: inputs and labels do not fit together, or a label is out of range.
    """

    def __init__(
        self,
        name: str,
        train: Split,
        test: Split,
        *,
        class_names: Sequence[str],
        val: int,
        split_seed: int = 0,
        ordinal: bool = False,
    ):
        for part, split in (("training", train), ("test", test)):
            check_split(split, len(class_names), where=f"{name}, {part} split")
        if isinstance(val, bool) or not isinstance(val, int) or not 1 <= val < len(train):
            raise ConfigError(
                f"data.val={val!r} should be a whole number from 1 to {len(train) - 1}."
            )
        _check_alike(train, test, name, "test")
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(split_seed))
        held, rest = train.take(order[:val].sort().values), train.take(order[val:].sort().values)
        self._set(name, rest, held, test, class_names, ordinal)

    def _set(
        self,
        name: str,
        train: Split,
        val: Split,
        test: Split,
        class_names: Sequence[str],
        ordinal: bool,
        crop_border: bool = False,
        tokenizer: Tokenizer | None = None,
    ) -> "Dataset":
        self.name, self.train, self.val, self._test, self.test_size = (
            str(name),
            train,
            val,
            test,
            len(test),
        )
        self.class_names, self.ordinal, self.crop_border = (
            [str(c) for c in class_names],
            ordinal,
            crop_border,
        )
        self.tokenizer = tokenizer
        return self

    @classmethod
    def from_splits(
        cls,
        name: str,
        train: Split,
        val: Split,
        test: Split,
        *,
        class_names: Sequence[str],
        ordinal: bool = False,
        crop_border: bool = False,
        tokenizer: Tokenizer | None = None,
    ) -> "Dataset":
        """A data set whose validation split is given; splits of a memory-mapped array stay on the
        disk.

        Args:
            name: for tables and messages.
            train: the training samples.
            val: the validation samples.
            test: the test samples.
            class_names: one name a class, in the order of the labels.
            ordinal: classes are grades in their order.
            crop_border: images lost a black border first; a device that runs a student has to do it
                too.
            tokenizer: of a text, whose inputs are blocks of its ids and whose labels are the next
                ones.

        Raises:
            DataError: inputs and labels do not fit together, or a label is out of range.
        """
        for part, split in (("training", train), ("validation", val), ("test", test)):
            check_split(
                split, len(class_names), where=f"{name}, {part} split", text=tokenizer is not None
            )
            _check_alike(train, split, name, part)
        return object.__new__(cls)._set(
            name, train, val, test, class_names, ordinal, crop_border, tokenizer
        )

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        x_test: Any,
        y_test: Any,
        *,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        val: int | None = None,
        split_seed: int = 0,
        ordinal: bool = False,
    ) -> "Dataset":
        """A data set from arrays or tensors; a tenth of the training samples is kept for validation
        by default.

        Args:
            x: training inputs ``[N, ...]``: uint8 images ``[N, C, H, W]`` (or ``[N, H, W]``), or
                floats.
            y: integer labels ``[N]``.
            x_test: test inputs, alike.
            y_test: test labels.
            name: for tables.
            class_names: by default the numbers from 0.
            val: number of validation samples.
            split_seed: of the validation split.
            ordinal: classes are grades in their order.
        """
        train, test = _as_split(x, y, name), _as_split(x_test, y_test, name)
        if class_names is None:
            class_names = [
                str(c) for c in range(int(train.labels.max()) + 1 if train.labels.numel() else 0)
            ]
        return cls(
            name,
            train,
            test,
            class_names=class_names,
            split_seed=split_seed,
            ordinal=ordinal,
            val=max(1, len(train) // 10) if val is None else val,
        )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def positions(self) -> int | None:
        """T, the predictions in a sample of text; None where a sample has one class."""
        return None if self.tokenizer is None else self.shape[0]

    @property
    def tokenizer_file(self) -> str | None:
        """Content of the ``tokenizer.json`` that should go along with a model of this text, if
        there is one.
        """
        return None if self.tokenizer is None else self.tokenizer.file

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of a model's logits for one input: ``[C]``, of text ``[T, C]``."""
        return (self.classes,) if self.positions is None else (self.positions, self.classes)

    def blank(self, *batch: int) -> Tensor:
        """Empty inputs as a model sees them, ``[*batch, *shape]``: zeros, of text the token 0."""
        return torch.zeros(
            *batch, *self.shape, dtype=torch.float32 if self.tokenizer is None else torch.int64
        )

    def open_test(self) -> Split:
        """The test split. A study calls this once, after its last arm has finished."""
        return self._test

    def head(self, samples: int) -> "Dataset":
        """A small part of the data set: at most ``samples`` to train, half as many to validate and
        to test.
        """
        parts = (self.train, samples), (self.val, samples // 2), (self._test, samples // 2)
        train, val, test = (
            split.take(torch.arange(min(most, len(split)))) for split, most in parts
        )
        return object.__new__(Dataset)._set(
            self.name,
            train,
            val,
            test,
            self.class_names,
            self.ordinal,
            self.crop_border,
            self.tokenizer,
        )

    def digest(self) -> str:
        """SHA-256 of the samples of all splits and their labels, in hexadecimal."""
        found = hashlib.sha256()
        for split in (self.train, self.val, self._test):
            found.update(f"{list(split.inputs.shape)} {split.inputs.dtype}".encode())
            for values in (split.inputs, split.labels):
                for part in values.split(PART_ROWS):  # no copy of a whole mapped file
                    found.update(part.contiguous().view(-1).numpy().data.cast("B"))
        return found.hexdigest()

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the training inputs as a model sees them, one per channel
        (images) or one.
        """
        inputs = self.train.inputs
        if inputs.dtype == torch.uint8 and inputs.ndim == 4:
            return _byte_statistics(inputs)
        parts = inputs.transpose(0, 1).flatten(1) if inputs.ndim == 4 else inputs.reshape(1, -1)
        scale = 255.0 if inputs.dtype == torch.uint8 else 1.0
        mean = [float(part.double().mean()) / scale for part in parts]
        std = [float(part.double().std()) / scale for part in parts]
        return mean, [s if s > 0 else 1.0 for s in std]


def _byte_statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by channel of ``[N, C, H, W]`` as shares of 255, exact, a few
    images at a time.
    """
    count = images[:, 0].numel()
    total = square = torch.zeros(images.shape[1], dtype=torch.int64)
    for part in images.split(max(1, STATISTICS_PART // max(images[0].numel(), 1))):
        values = part.long()
        total, square = total + values.sum((0, 2, 3)), square + values.square().sum((0, 2, 3))
    mean, std = [], []
    for first, second in zip(total.tolist(), square.tolist(), strict=True):
        mean.append(first / count / 255)
        std.append(math.sqrt((count * second - first * first) / (count * max(count - 1, 1))) / 255)
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


def _check_alike(train: Split, other: Split, name: str, part: str) -> None:
    if train.inputs.shape[1:] != other.inputs.shape[1:] or train.inputs.dtype != other.inputs.dtype:
        raise DataError(
            f"{name}: training inputs are {list(train.inputs.shape[1:])} {train.inputs.dtype}, "
            f"{part} inputs "
            f"{list(other.inputs.shape[1:])} {other.inputs.dtype}; they should be alike."
        )


def check_split(split: Split, classes: int, *, where: str, text: bool = False) -> None:
    """Check that inputs and labels fit together.

    Args:
        split: to check.
        classes: the labels should be numbers below it.
        where: for the message.
        text: inputs are token ids with a label at each position.

    Raises:
        DataError: naming what was found and where.
    """
    if text:
        _check_tokens(split, classes, where)
        return
    if split.labels.ndim != 1 or split.inputs.ndim == 0 or len(split.inputs) != len(split.labels):
        raise DataError(
            f"{where}: inputs of shape {list(split.inputs.shape)} and labels of shape "
            f"{list(split.labels.shape)}; one "
            "label an input was expected."
        )
    if len(split) == 0:
        raise DataError(f"{where}: it is empty.")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"{where}: labels from {low} to {high} were found; 0 to {classes - 1} were expected."
        )
    if split.inputs.is_floating_point() and not bool(torch.isfinite(split.inputs).all()):
        raise DataError(f"{where}: some inputs are infinite or not a number.")


def _check_tokens(split: Split, classes: int, where: str) -> None:
    if (
        split.inputs.ndim != 2
        or split.inputs.shape != split.labels.shape
        or split.inputs.is_floating_point()
    ):
        raise DataError(
            f"{where}: token ids of shape {list(split.inputs.shape)} and next tokens of shape "
            f"{list(split.labels.shape)}; both should be whole numbers [blocks, positions]."
        )
    if len(split) == 0:
        raise DataError(f"{where}: it is empty.")
    for part in (
        *split.inputs.split(PART_ROWS),
        *split.labels.split(PART_ROWS),
    ):  # no copy of a whole mapped file
        low, high = map(int, torch.aminmax(part))
        if low < 0 or high >= classes:
            raise DataError(
                f"{where}: tokens from {low} to {high} were found; 0 to {classes - 1} were "
                "expected."
            )
