"""Training, validation and test splits that a user names, or that are cut by shares."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data.checks import SplitShares, join_some
from limbeck.data.dataset import Split
from limbeck.losses.tasks import Task

TEST, VAL, TRAIN = range(3)
PARTS = {"test": TEST, "val": VAL, "train": TRAIN}
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Split by the words that name it in tables, files and folders of tables."""


def parts_of_names(names: Sequence[str], table: Path) -> list[int]:
    """Return the number of the split that each row of a table names.

    Args:
        names: Name of the split of each row.
        table: File of the table, for messages.

    Raises:
        DataError: If a name is none of a split.
    """
    splits = [SPLIT_NAMES.get(name.lower()) for name in names]
    unknown = {name for name, split in zip(names, splits, strict=True) if split is None}
    if unknown:
        raise DataError(
            f"{table}: the column of splits contains {join_some(sorted(unknown))}; expected "
            f"{', '.join(SPLIT_NAMES)}."
        )
    return [PARTS[split] for split in splits if split is not None]


def cut_parts(
    parts: Sequence[int], positions: Sequence[float], shares: SplitShares, where: Path, unit: str
) -> list[int]:
    """Cut the splits that have no sample yet from the training split.

    Args:
        parts: Number of the split of each sample.
        positions: Position of each sample from 0 to 1, by which splits are cut.
        shares: Shares of the splits.
        where: Folder or table, for messages.
        unit: Word for samples, such as ``images``.

    Returns:
        Number of the split of each sample.

    Raises:
        DataError: If a split has no sample.
    """
    test_end = 0.0 if TEST in parts else shares.test
    val_end = test_end + (0.0 if VAL in parts else shares.val)
    new_parts = []
    for part, position in zip(parts, positions, strict=True):
        if part == TRAIN and position < test_end:
            part = TEST
        elif part == TRAIN and position < val_end:
            part = VAL
        new_parts.append(part)
    for name, part in PARTS.items():
        if part not in new_parts:
            groups = len(set(positions))
            reason = ""
            if groups < len(parts):
                reason = f" They form {groups} groups or copies, each of which is in one split."
            raise DataError(
                f"{where}: none of the {len(parts)} {unit} is left for {name}.{reason} Add {unit}, "
                "or change data.test, data.val or data.split_seed."
            )
    return new_parts


def number_groups(groups: Sequence[str], parts: Sequence[int], where: Path) -> Tensor | None:
    """Number groups of samples, each of which has to be in one split.

    Args:
        groups: Name of the group of each sample; empty without groups.
        parts: Number of the split of each sample.
        where: Folder or table, for messages.

    Returns:
        int64 ``[N]``; None without groups.

    Raises:
        DataError: If a group is in several splits.
    """
    if not groups:
        return None
    part_of: dict[str, int] = {}
    divided = []
    for group, part in zip(groups, parts, strict=True):
        if part_of.setdefault(group, part) != part:
            divided.append(group)
    if divided:
        names = list(dict.fromkeys(divided))
        raise DataError(
            f"{where}: {len(names)} groups are in several splits: {join_some(names)}. Put all "
            "samples of a group into one split, or remove data.group."
        )
    numbers = {group: number for number, group in enumerate(part_of)}
    return torch.tensor([numbers[group] for group in groups])


def check_labels(
    splits: Mapping[str, Split], names: Sequence[str], kind: Task, where: Path, unit: str
) -> None:
    """Check that training has every class of the other splits, and the test every class or label.

    Args:
        splits: Splits by name.
        names: Names of the classes, labels or values.
        kind: Kind of target.
        where: Folder or table, for messages.
        unit: Word for samples, such as ``images``.

    Raises:
        DataError: If training lacks a class.

    Warns:
        LimbeckWarning: If the test lacks a class or a label.
    """
    if kind.has_classes:
        _check_classes(splits, names, where, unit)
    elif kind.outputs == "labels":
        has_label = (splits["test"].labels > 0).any(0).tolist()
        _warn_of_untested(
            [name for name, is_there in zip(names, has_label, strict=True) if not is_there],
            where,
            unit,
            "label",
        )


def _warn_of_untested(names: Sequence[str], where: Path, unit: str, noun: str) -> None:
    if names:
        warnings.warn(
            f"{where}: the test split has no {unit} of {join_some(names)}, so the results do not "
            f"cover every {noun}.",
            LimbeckWarning,
            stacklevel=4,
        )


def _check_classes(
    splits: Mapping[str, Split], class_names: Sequence[str], where: Path, unit: str
) -> None:
    train_labels = set(splits["train"].labels.tolist())
    for part in ("val", "test"):
        missing = sorted(set(splits[part].labels.tolist()) - train_labels)
        if missing:
            names = ", ".join(class_names[label] for label in missing)
            raise DataError(
                f"{where}: {part} has {unit} of {names}, but training has none. Add {unit} "
                "of each class, or change data.split_seed."
            )
    untested = sorted(train_labels - set(splits["test"].labels.tolist()))
    _warn_of_untested([class_names[label] for label in untested], where, unit, "class")
