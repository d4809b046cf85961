"""Checks shared by datasets of images, text and arrays."""

import itertools
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.checks import check_seed
from limbeck._base.copies import local_copy
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck._base.runtime import folders as runtime_folders
from limbeck._base.runtime.errors import InputError
from limbeck._base.runtime.folders import is_system_file
from limbeck._base.scope import refusal
from limbeck.data.precision import rounding
from limbeck.data.split import Split, read_parts
from limbeck.data.tables.columns import TableColumns
from limbeck.losses.base import UNLABELLED
from limbeck.losses.tasks import TASKS, Task

MAX_LISTED = 10
"""Largest number of items that a message lists."""


@dataclass(frozen=True, kw_only=True)
class SplitShares:
    """Shares of a dataset for the validation and test splits.

    Attributes:
        val: Share for validation, between 0 and 1.
        test: Share for testing, between 0 and 1.
        split_seed: Seed of the splits.
    """

    val: float
    test: float
    split_seed: int

    def check_shares(self, samples: str) -> None:
        """Check the shares and the seed.

        Args:
            samples: Name of the samples for messages, such as ``the images``.

        Raises:
            ConfigError: If a share is not between 0 and 1, if no training samples are left, or if
                the seed is out of range.
        """
        for key, share in (("val", self.val), ("test", self.test)):
            is_number = isinstance(share, (int, float)) and not isinstance(share, bool)
            if not is_number or not 0 < share < 1:
                raise ConfigError(
                    f"data.{key}={share!r} should be a share of {samples}, above 0 and below 1."
                )
        if self.val + self.test >= 1:
            raise ConfigError(
                f"data.val={self.val} and data.test={self.test} leave none of {samples} for "
                "training. Choose shares whose sum is below 1."
            )
        check_seed("data.split_seed", self.split_seed)


def check_flag(name: str, value: object) -> None:
    """Check that a setting is a boolean.

    Raises:
        ConfigError: If it is neither true nor false.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value!r} should be true or false.")


def check_samples(
    split: Split,
    classes: int,
    *,
    where: str,
    task: Task = TASKS["classes"],
    columns: TableColumns | None = None,
) -> None:
    """Check that the inputs and labels of a split match.

    Args:
        split: Inputs ``[N, ...]``, token ids ``[N, T]`` for next tokens; and labels ``[N]`` (-100
            where embeddings have none), next tokens ``[N, T]``, or values ``[N, D]``.
        classes: Number of classes, of tokens in the vocabulary, or of targets.
        where: Dataset and split, for messages.
        task: Kind of target.
        columns: Columns of the inputs; None if they are no rows of a table.

    Raises:
        DataError: If shapes differ, if there is no sample, if there is one class, if a label is out
            of range or missing, or if an input is infinite or not a number. Rows of a table may
            have NaN.
    """
    inputs, labels = split.inputs, split.labels
    if task.name == "next_token":
        _check_tokens(inputs, labels, classes, where)
        return
    if task.outputs == "vectors":
        _check_texts(inputs, labels, classes, where)
    elif task.has_classes:
        _check_classes(inputs, labels, classes, where)
    else:
        _check_values(inputs, labels, classes, where)
    if task.outputs == "labels":
        _check_zero_or_one(labels, where)
    if columns is not None:
        columns.check(inputs, where)
    else:
        check_finite(inputs, lambda row: f"{where}: sample {row}")


def _check_classes(inputs: Tensor, labels: Tensor, classes: int, where: str) -> None:
    if labels.ndim != 1 or inputs.ndim == 0 or len(inputs) != len(labels):
        hint = ""
        if labels.ndim == 2 and len(inputs) == len(labels):
            hint = " For one-hot labels, pass y.argmax(1); for several labels per sample, set "
            hint += "task='multi_label'."
        if labels.ndim > 2 and len(inputs) == len(labels):
            hint = f" {refusal('segmentation')}"
        raise DataError(
            f"{where}: expected one label per input, got inputs of shape {list(inputs.shape)} and "
            f"labels of shape {list(labels.shape)}.{hint}"
        )
    if len(labels) == 0:
        raise DataError(f"{where} is empty; expected at least one sample.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"{where}: labels range from {low} to {high}, but {classes} classes have labels from 0 "
            f"to {classes - 1}."
        )
    if classes < 2:
        raise DataError(f"{where} has a single class; expected at least two to tell apart.")


def _check_texts(inputs: Tensor, labels: Tensor, classes: int, where: str) -> None:
    """Check texts for embeddings, with the classes of a probe where there are any."""
    if inputs.ndim != 2 or inputs.dtype not in (torch.int32, torch.int64):
        raise DataError(
            f"{where}: embeddings are for texts, token ids as integers [texts, length], but the "
            f"inputs are {inputs.dtype} of shape {list(inputs.shape)}. Read a table of texts, as "
            "with data=text_csv."
        )
    is_outside = ((labels < 0) & (labels != UNLABELLED)) | (labels >= classes)
    if labels.shape != inputs.shape[:1] or bool(is_outside.any()):
        raise DataError(
            f"{where}: expected the number of a class from 0 to {classes - 1} for each text, or "
            f"{UNLABELLED} for none."
        )
    if len(labels) == 0:
        raise DataError(f"{where} is empty; expected at least one text.")


def check_finite(inputs: Tensor, name: Callable[[int], str]) -> None:
    """Check that no input is infinite or NaN.

    Args:
        inputs: Inputs ``[N, ...]``.
        name: Function that returns the name of a sample for messages.

    Raises:
        DataError: If there is one.
    """
    if not inputs.is_floating_point() or bool(torch.isfinite(inputs).all()):
        return
    bad = ~torch.isfinite(inputs)
    row = int(bad.reshape(len(bad), -1).any(1).nonzero()[0])
    value = float(inputs[row][bad[row]][0])
    raise DataError(
        f"{name(row)} contains {value} (as {inputs.dtype}). Inputs should be finite numbers: "
        "remove or replace samples with missing values."
    )


def _check_values(inputs: Tensor, labels: Tensor, targets: int, where: str) -> None:
    is_match = labels.ndim == 2 and inputs.ndim > 0 and len(inputs) == len(labels)
    if not is_match or labels.shape[1] != targets or not labels.is_floating_point():
        raise DataError(
            f"{where}: expected {targets} {'value' if targets == 1 else 'values'} per input as "
            f"floats [{len(inputs) if inputs.ndim else 'N'}, {targets}], got {labels.dtype} of "
            f"shape {list(labels.shape)}."
        )
    if len(labels) == 0:
        raise DataError(f"{where} is empty; expected at least one sample.")
    is_bad = ~labels.isfinite().all(1)
    if bool(is_bad.any()):
        row = int(is_bad.nonzero()[0])
        raise DataError(
            f"{where}: {int(is_bad.sum())} of {len(labels)} samples have a target that is missing "
            f"or infinite, the first of which is sample {row}: {labels[row].tolist()}. Remove "
            "them, or fill in their targets."
        )


def check_targets(labels: Tensor, names: Sequence[str], task: Task, where: str) -> None:
    """Check that training samples differ in what is to be predicted.

    Args:
        labels: Labels of the training split.
        names: Names of the targets or labels.
        task: Kind of target.
        where: Name of the dataset, for messages.

    Raises:
        DataError: If a target of a regression is constant, or if float32 rounds its differences
            away.

    Warns:
        LimbeckWarning: If all samples have, or none has, one of several labels.
    """
    if task.has_classes or task.outputs == "vectors":
        return
    is_constant = (labels == labels[0]).all(0).tolist()
    if task.outputs == "labels":
        if any(is_constant):
            constant = list(itertools.compress(names, is_constant))
            verb = "is" if len(constant) == 1 else "are"
            warnings.warn(
                f"{where}: {join_some(constant)} {verb} the same in all training samples, so "
                "nothing can be learned about it. Leave it out.",
                LimbeckWarning,
                stacklevel=4,
            )
        return
    for name, constant, value in zip(names, is_constant, labels[0].tolist(), strict=True):
        if constant:
            raise DataError(
                f"{where}: {name} is {value:g} in all training samples, so there is nothing "
                "to predict. If the values differ, float32 has rounded them: subtract a constant."
            )
    for name, text in zip(names, rounding(labels), strict=True):
        if text:
            raise DataError(f"{where}: {name} {text}.")


def _check_zero_or_one(labels: Tensor, where: str) -> None:
    is_bad = ((labels != 0) & (labels != 1)).any(1)
    if bool(is_bad.any()):
        row = int(is_bad.nonzero()[0])
        raise DataError(
            f"{where}: labels should be 0 or 1, a column for each label, but those of sample {row} "
            f"are {labels[row].tolist()[:MAX_LISTED]}."
        )


def _check_tokens(inputs: Tensor, labels: Tensor, classes: int, where: str) -> None:
    if inputs.ndim != 2 or inputs.shape != labels.shape or inputs.is_floating_point():
        raise DataError(
            f"{where}: expected token ids and next tokens as integers of one shape "
            f"[blocks, positions], got shapes {list(inputs.shape)} and {list(labels.shape)}."
        )
    if len(labels) == 0:
        raise DataError(f"{where} is empty; expected at least one block.")
    for part in itertools.chain(read_parts(inputs), read_parts(labels)):
        low, high = map(int, torch.aminmax(part))
        if low < 0 or high >= classes:
            raise DataError(
                f"{where}: tokens range from {low} to {high}, but a vocabulary of {classes} tokens "
                f"has ids from 0 to {classes - 1}."
            )


def check_same_shape(train: Tensor, other: Tensor, *, name: str, part: str) -> None:
    """Check that the inputs of a split have the shape and dtype of the training inputs.

    Args:
        train: Training inputs ``[N, ...]``.
        other: Inputs of the other split.
        name: Name of the dataset, for messages.
        part: Name of the other split, for messages.

    Raises:
        DataError: If shape or dtype differ.
    """
    if train.shape[1:] == other.shape[1:] and train.dtype == other.dtype:
        return
    raise DataError(
        f"{name}: training inputs are {list(train.shape[1:])} {train.dtype}, but {part} inputs are "
        f"{list(other.shape[1:])} {other.dtype}. All splits need inputs of the same shape "
        "and type."
    )


def require_folder(root: str | Path) -> Path:
    """Return the folder ``data.root`` as a path.

    Raises:
        DataError: If it is missing or is a file.
    """
    folder = local_copy(root).expanduser()
    try:
        if folder.is_dir():
            return folder
        problem = "is a file" if folder.exists() else "is missing"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise DataError(f"{folder} {problem}. Set data.root= to a folder.")


def absolute(path: Path) -> Path:
    """Return the absolute path without ``..``; links are not followed, and may be circles."""
    return Path(os.path.abspath(path))


def is_file(path: Path) -> bool:
    """Whether a path is a file.

    Raises:
        DataError: If its folder may not be entered.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None


def subfolders(root: Path) -> dict[str, Path]:
    """Return the folders in a folder by name, sorted, without hidden and system folders.

    Raises:
        DataError: If the folder cannot be read, or contains a link to a missing folder.
    """
    folders = {}
    try:
        for path in sorted(root.iterdir()):
            if is_system_file(path.name):
                continue
            if path.is_dir():
                folders[path.name] = path
            elif not path.exists():
                raise DataError(
                    f"{path} is a link to a missing file or folder. Mend the link, or remove it."
                )
    except OSError as error:
        raise DataError(f"{root} cannot be read ({error.strerror}).") from None
    return folders


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted.

    See :func:`limbeck._base.runtime.folders.files_below` for links and for files that are skipped.

    Raises:
        DataError: If a folder cannot be read.
    """
    try:
        return runtime_folders.files_below(folder)
    except InputError as error:
        raise DataError(f"{error}.") from None


def warn_of_unused(folder: Path, names: Sequence[str], kind: str, place: str) -> None:
    """Warn of files that a dataset does not use; without names, nothing happens.

    Args:
        folder: Folder of the files.
        names: Names of the files.
        kind: Content of a file, such as "image".
        place: Place of the files, such as "in no class folder".
    """
    if not names:
        return
    count = f"1 {kind} is" if len(names) == 1 else f"{len(names)} {kind}s are"
    warnings.warn(
        f"{folder}: {count} {place}, and not used: {join_some(names)}.",
        LimbeckWarning,
        stacklevel=3,
    )


def join_some(items: Sequence[str]) -> str:
    """Join the first ten items for a message, with the number of further items."""
    text = "; ".join(items[:MAX_LISTED])
    more = len(items) - MAX_LISTED
    return f"{text}; and {more} more" if more > 0 else text
