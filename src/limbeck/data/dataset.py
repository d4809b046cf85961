"""A dataset: a training, a validation and a test split.

Samples are images, texts, rows of a table or other inputs, each with a class or with values to
predict, or blocks of text, whose labels are the next token at each position. The test split is
returned only by :meth:`Dataset.open_test`.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limbeck._base.checks import check_seed
from limbeck._base.errors import ConfigError
from limbeck.data.arrays import (
    convert_arrays,
    convert_ids,
    default_names,
    warn_of_absent_classes,
    warn_of_copies,
)
from limbeck.data.checks import check_same_shape, check_samples, check_targets
from limbeck.data.input_statistics import InputStatistics
from limbeck.data.padding import check_texts
from limbeck.data.randomness import random_order
from limbeck.data.split import Split, digest_of_splits
from limbeck.data.statistics import Statistics, target_statistics
from limbeck.data.tables.columns import TableColumns
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.losses.tasks import TASKS, Task, check_task


def as_float(inputs: Tensor) -> Tensor:
    """Convert inputs to the form that models take.

    uint8 images become float32 from 0 to 1, floats are not changed, token ids become int64.
    """
    if inputs.dtype == torch.uint8:
        return inputs.float().div_(255)
    return inputs if inputs.is_floating_point() else inputs.long()


class Dataset(InputStatistics):
    """Training, validation and test split of one task.

    Args:
        name: Name for tables and messages.
        train: Labelled training samples, which include the validation split.
        test: Test samples.
        class_names: Names of the classes, in the order of the labels; for regression names of the
            targets; for embeddings names of the labels of a probe, of which there may be none.
        val: Number of training samples that become the validation split.
        split_seed: Seed of that split; the same seed gives the same split everywhere.
        ordinal: Whether the classes are ordered grades, as with the task ``ordinal``.
        task: Kind of target: ``classes``; ``ordinal`` for ordered grades, whose quadratic kappa is
            reported in addition to the errors; ``multi_label`` for several labels per sample; or
            ``regression``. That of text is ``next_token``.
        columns: Columns of a table whose rows are the inputs; None for other inputs.

    Attributes:
        train: Training split.
        val: Validation split.
        test_size: Number of test samples.
        crop_border: Whether a black border is cropped from the images.
        value_range: Lowest and highest value of image files with more than 8 bits, which became 0
            and 255; None if there were none.
        tokenizer: Tokenizer of a text; None for other inputs.
        text_columns: Column of texts in the user's table, or two columns of pairs.
        has_own_val: Whether files or a column of the user name the validation samples.
        id_column: Column of the names of the samples in the user's table; None without one.
        columns: Columns of a table; None for other inputs.
        dimensions: Number of dimensions of embeddings, which a study takes from its teacher.
        normalize: Normalisation of the inputs, see :meth:`set_normalization`.

    Raises:
        ConfigError: If ``val`` leaves no training or no validation sample.
        DataError: If inputs and labels do not match, or if a label is out of range.
    """

    crop_border: bool = False
    value_range: tuple[float, float] | None = None
    tokenizer: Tokenizer | None = None
    text_columns: tuple[str, ...] = ("text",)
    has_own_val: bool = False
    id_column: str | None = None
    columns: TableColumns | None = None
    dimensions: int | None = None

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
        task: str = "classes",
        columns: TableColumns | None = None,
    ):
        self.task = check_task(task, ordinal=ordinal)
        if not isinstance(class_names, Sequence):
            raise ConfigError(f"class_names={class_names!r} should be a list of names.")
        for part, split in (("training", train), ("test", test)):
            where = f"{name}, {part} split"
            check_samples(split, len(class_names), where=where, task=self.kind, columns=columns)
        if isinstance(val, bool) or not isinstance(val, int) or not 1 <= val < len(train):
            raise ConfigError(
                f"data.val={val!r} should be a whole number from 1 to {len(train) - 1}."
            )
        check_same_shape(train.inputs, test.inputs, name=name, part="test")
        check_targets(train.labels, class_names, self.kind, name)
        order = random_order(len(train), check_seed("data.split_seed", split_seed))
        self.name = str(name)
        self.class_names = [str(class_name) for class_name in class_names]
        self.columns = columns
        self._set_splits(
            train.take(order[val:].sort().values), train.take(order[:val].sort().values), test
        )

    def _set_splits(self, train: Split, val: Split, test: Split) -> None:
        splits = [replace(split, padding=self.padding) for split in (train, val, test)]
        self.train, self.val, self._test = splits
        self.test_size = len(test)

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
        columns: TableColumns | None = None,
        task: str | None = None,
    ) -> "Dataset":
        """Create a dataset from three splits. Memory-mapped splits stay on the disk.

        Args:
            name: Name for tables and messages.
            train: Training samples.
            val: Validation samples.
            test: Test samples.
            class_names: Names of the classes, in the order of the labels; for regression names of
                the targets.
            ordinal: Whether the classes are grades in their order.
            crop_border: Whether a black border was cropped from the images. Exported students
                then crop it too.
            tokenizer: Tokenizer of the inputs; None for inputs that are not text. With labels
                ``[N]`` these are texts of one class each, padded at their end. With labels
                ``[N, T]`` they are blocks of a text, and the labels are the next ids.
            columns: Columns of a table whose rows are the inputs; None for other inputs.
            task: Kind of target, see :class:`Dataset`; None for ``next_token`` if the inputs are
                blocks of a text, and else ``classes``.

        Raises:
            DataError: If inputs and labels do not match, or if a label is out of range.
        """
        if task is None:
            is_blocks = tokenizer is not None and train.labels.ndim > 1
            task = "next_token" if is_blocks else "classes"
        task = check_task(task, ordinal=ordinal)
        for part, split in (("training", train), ("validation", val), ("test", test)):
            where = f"{name}, {part} split"
            check_samples(split, len(class_names), where=where, task=TASKS[task], columns=columns)
            if tokenizer is not None and task != "next_token":
                check_texts(split.inputs, tokenizer, where=where)
            check_same_shape(train.inputs, split.inputs, name=name, part=part)
        check_targets(train.labels, class_names, TASKS[task], name)
        data = cls.__new__(cls)
        data.name = str(name)
        data.class_names = [str(class_name) for class_name in class_names]
        data.task = task
        data.crop_border = crop_border
        data.tokenizer = tokenizer
        data.columns = columns
        data._set_splits(train, val, test)
        return data

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        x_test: ArrayLike | Tensor,
        y_test: ArrayLike | Tensor,
        *,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        val: int | None = None,
        split_seed: int = 0,
        ordinal: bool = False,
        ids: Sequence[object] | None = None,
        test_ids: Sequence[object] | None = None,
        columns: TableColumns | None = None,
        task: str = "classes",
        normalize: object = None,
    ) -> "Dataset":
        """Create a dataset from arrays or tensors.

        Args:
            x: Training inputs ``[N, ...]``: uint8 images ``[N, C, H, W]`` or ``[N, H, W]``, or
                floats. Other integers are refused, because they may be token ids.
            y: Integer labels ``[N]``; for regression values ``[N]`` or ``[N, D]``; several labels
                ``[N, L]``, 0 or 1.
            x_test: Test inputs of the same shape and type.
            y_test: Test labels.
            name: Name for tables and messages.
            class_names: Names of the classes, or of the targets; None for the numbers from 0.
            val: Number of validation samples; None for a tenth of the training samples.
            split_seed: Seed of the validation split.
            ordinal: Whether the classes are grades in their order.
            ids: Names of the training samples, such as file names, by which a file of a teacher's
                answers may name them; None for their row numbers in ``x``.
            test_ids: Names of the test samples, likewise.
            columns: Columns of a table whose rows are the inputs: their names and categories. Only
                such inputs may have NaN, for missing values. None for other inputs.
            task: Kind of target: ``classes``, ``ordinal``, ``multi_label`` or ``regression``.
            normalize: Normalisation of the inputs in the models, see :meth:`set_normalization`.

        Raises:
            ConfigError: If ``val`` leaves no training or no validation sample.
            DataError: If inputs and labels are not numbers of these types or do not match, if
                the inputs look like images ``[N, H, W, C]``, or if an id is given twice.

        Warns:
            LimbeckWarning: If test inputs are also training inputs, or if classes have no training
                sample.
        """
        kind = TASKS[check_task(task, ordinal=ordinal)]
        train = Split(*convert_arrays(x, y, name, kind), convert_ids(ids, name))
        test = Split(*convert_arrays(x_test, y_test, name, kind), convert_ids(test_ids, name))
        if class_names is None:
            class_names = default_names(train.labels, name, kind)
        data = cls(
            name,
            train,
            test,
            class_names=class_names,
            val=max(1, len(train) // 10) if val is None else val,
            split_seed=split_seed,
            columns=columns,
            task=kind.name,
        )
        data.set_normalization(normalize)
        warn_of_copies(train.inputs, test.inputs, name, stacklevel=2)
        if kind.has_classes:
            warn_of_absent_classes(train.labels, class_names, name, stacklevel=2)
        return data

    @property
    def kind(self) -> Task:
        """Kind of target, with what belongs to it."""
        return TASKS[self.task]

    @property
    def ordinal(self) -> bool:
        """Whether the classes are grades in their order."""
        return self.task == "ordinal"

    @property
    def classes(self) -> int:
        """Number of outputs: of classes, tokens in the vocabulary, targets or dimensions."""
        if self.kind.outputs == "vectors":
            return self.dimensions or 1
        return len(self.class_names)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs; those of embeddings are only numbered."""
        if self.kind.outputs == "vectors":
            return [str(number) for number in range(self.classes)]
        return self.class_names

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def positions(self) -> int | None:
        """Number T of predictions in a block of text; None if a sample has one label."""
        return self.shape[0] if self.task == "next_token" else None

    @property
    def padding(self) -> int | None:
        """Id of the padding at the end of texts of one class each; None for other inputs."""
        if self.tokenizer is None or self.task == "next_token":
            return None
        return self.tokenizer.padding

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of a model's logits for one input: ``[C]``, or ``[T, C]`` for text."""
        if self.positions is None:
            return (self.classes,)
        return (self.positions, self.classes)

    def blank(self, *batch: int) -> Tensor:
        """Return a model input of zeros, ``[*batch, *shape]``; for text, of token 0.

        Where 0 is the padding of texts, it is of token 1.
        """
        if self.tokenizer is None:
            return torch.zeros(*batch, *self.shape)
        return torch.full((*batch, *self.shape), int(self.padding == 0))

    @property
    def test_ids(self) -> np.ndarray:
        """Ids of the test samples, see :class:`Split`."""
        return self._test.sample_ids

    def open_test(self) -> Split:
        """Return the test split. A study calls this once, after its last arm has finished."""
        return self._test

    @property
    def test_inputs(self) -> Tensor:
        """Inputs of the test split, to compare them with those of other splits."""
        return self._test.inputs

    def absent_classes(self) -> dict[str, list[int]]:
        """Return the numbers of the classes without a sample, by the name of the split."""
        splits = {"training": self.train, "validation": self.val, "test": self._test}
        absent = {}
        for name, split in splits.items():
            classes = set(split.labels.unique().tolist())
            absent[name] = sorted(set(range(self.classes)) - classes)
        return absent

    def head(self, samples: int) -> "Dataset":
        """Return a small dataset with the first samples of each split.

        Args:
            samples: Maximum number of training samples. The validation and the test split get at
                most half of it.
        """
        small = copy.copy(self)
        for name in ("statistics", "target_statistics"):  # of the whole training split
            small.__dict__.pop(name, None)
        small._set_splits(
            self.train.first(samples),
            self.val.first(samples // 2),
            self._test.first(samples // 2),
        )
        return small

    def without_test(self) -> "Dataset":
        """Return the dataset with an empty test split, for what must not see it."""
        rest = copy.copy(self)
        rest._set_splits(self.train, self.val, self._test.first(0))
        return rest

    def digest(self) -> str:
        """Return the SHA-256 of the inputs and labels of all splits, in hexadecimal."""
        return digest_of_splits((self.train, self.val, self._test))

    @cached_property
    def target_statistics(self) -> Statistics | None:
        """Mean and standard deviation of each target of a regression; None for other labels."""
        return target_statistics(self.train.labels) if self.kind.outputs == "values" else None

    @property
    def target_scale(self) -> list[float] | None:
        """Standard deviation of each target of a regression; None for other labels."""
        return None if self.target_statistics is None else self.target_statistics[1]
