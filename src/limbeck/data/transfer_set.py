"""The transfer set: which inputs a student sees, and which of them are labelled."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from limbeck._base.checks import check_seed, closest, without_addresses
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Split
from limbeck.data.randomness import random_order
from limbeck.data.sources.base import Source
from limbeck.losses import UNLABELLED, is_labelled, without_label

MAX_LISTED = 20
"""Largest number of classes that a message lists."""


@dataclass(frozen=True)
class TransferSet:
    """A rule that selects the inputs of a student: from the training split, or from a source.

    Both counts are spread evenly over the classes, as far as the classes have enough samples. A
    fraction of samples refers to the samples of the classes in use, a fraction of labels to the
    selected samples.

    Attributes:
        samples: Number of samples, or a fraction of them; None or 1.0 for all (1 is one sample).
        labelled: Number of selected samples that keep their label, or a fraction of them; None for
            all, 0 for none. The teacher answers for every sample; the hard loss counts only
            labelled samples.
        seed: Seed of the selection. It does not change with the seed of a student, so that all
            students learn from the same samples.
        without: Classes to leave out, by name or number.
        classes: Classes to use, by name or number; None for all.
        source: Source of unlabelled inputs to use instead of the training split.

    Raises:
        ConfigError: If settings are out of range or cannot be combined.

    References:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3
        (classes left out).
    """

    samples: int | float | None = None
    labelled: int | float | None = None
    seed: int = 0
    without: Sequence[int | str] | None = None
    classes: Sequence[int | str] | None = None
    source: Source | None = None

    def __post_init__(self) -> None:
        check_seed("transfer.seed", self.seed)
        for field in ("samples", "labelled"):
            value = getattr(self, field)
            if isinstance(value, float) and value == 1:
                object.__setattr__(self, field, None)
        for field in ("without", "classes"):
            classes = _check_classes(getattr(self, field), f"transfer.{field}")
            object.__setattr__(self, field, classes)
        if self.without and self.classes:
            raise ConfigError(
                "transfer.without and transfer.classes cannot be combined. Set only one of them."
            )
        if self.source is None:
            return
        if not isinstance(self.source, Source):
            raise ConfigError(
                f"transfer.source={self.source!r} should be a source of inputs, such as "
                "limbeck.data.ImagesFrom."
            )
        if self.without or self.classes or self.labelled:
            raise ConfigError(
                "transfer.source provides inputs without labels. Set transfer.without, "
                "transfer.classes and transfer.labelled to null."
            )

    @property
    def name(self) -> str:
        """Short name for tables."""
        name = "all" if self.samples is None else _format_amount(self.samples)
        if self.source is not None:
            name = self.source.name if self.samples is None else f"{name} of {self.source.name}"
        if self.without:
            name += f" without {_join(self.without)}"
        if self.classes:
            noun = "class" if len(self.classes) == 1 else "classes"
            name += f" of {noun} {_join(self.classes)}"
        if self.source is None and self.labelled == 0:
            name += ", unlabelled"
        elif self.source is None and self.labelled is not None:
            name += f", {_format_amount(self.labelled)} labelled"
        if self._uses_seed and self.seed != 0:
            name += f", seed {self.seed}"
        return name

    @property
    def _uses_seed(self) -> bool:
        return self.samples is not None or bool(self.labelled)

    @property
    def has_labels(self) -> bool:
        """Whether any sample has a label."""
        return self.source is None and self.labelled != 0

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify this rule, as plain values for JSON.

        Sources of the same name may differ in a setting, so a source is described by its ``repr``.
        """
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        for key, value in settings.items():
            if isinstance(value, tuple):
                settings[key] = list(value)
        if not self._uses_seed:
            settings["seed"] = None
        if self.source is not None:
            settings["source"] = without_addresses(repr(self.source))
        return settings

    def select(
        self,
        pool: Split,
        class_names: Sequence[str] | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Select the samples.

        Args:
            pool: Training split, or the inputs of the source.
            class_names: Names of the classes, in the order of the labels; None for the numbers
                from 0.
            rows: Rows of ``pool`` to select from, int64 ``[P]``, ascending; None for all.

        Returns:
            Rows of ``pool`` (int64 ``[M]``, ascending) and their labels, -100 for unlabelled ones
            (int64 ``[M]``). For text the labels of the rows, ``[M, T]``; for regression ``[M, D]``,
            NaN for unlabelled ones.

        Raises:
            ConfigError: If a count is out of range, if a class is unknown, or if the rule needs
                classes that text and regression do not have.
        """
        if rows is not None:
            index, labels = self.select(Split(pool.inputs, pool.labels[rows]), class_names)
            return rows[index], labels
        if pool.labels.is_floating_point():
            return self._select_values(pool)
        if pool.labels.ndim > 1:
            return self._select_blocks(pool)
        labels = pool.labels.cpu()
        names = class_names or [str(number) for number in range(int(labels.max()) + 1)]
        usable = torch.arange(len(labels))
        absent = self.absent(names)
        if absent:
            usable = usable[~torch.isin(labels, torch.tensor(absent))]
        if absent and not len(usable):
            raise ConfigError(
                f"transfer.classes={list(self.classes or ())}: the training split has no sample of "
                "these classes."
            )
        order = usable[balanced_order(labels[usable], self.seed)]
        selected = order[: _count(self.samples, "transfer.samples", len(usable))]
        labelled = selected[: _count(self.labelled, "transfer.labelled", len(selected), minimum=0)]
        selected_labels = torch.full((len(labels),), UNLABELLED)
        selected_labels[labelled] = labels[labelled]
        index = selected.sort().values
        return index, selected_labels[index]

    def _select_values(self, pool: Split) -> tuple[Tensor, Tensor]:
        """Select samples of a regression, which have no classes."""
        for name in ("classes", "without"):
            value = getattr(self, name)
            if value is not None:
                raise ConfigError(
                    f"transfer.{name}={value!r} needs samples with a class, but the labels are "
                    "values. Set it to null."
                )
        order = random_order(len(pool), self.seed)
        selected = order[: _count(self.samples, "transfer.samples", len(pool))]
        labelled = selected[: _count(self.labelled, "transfer.labelled", len(selected), minimum=0)]
        labels = without_label(pool.labels, len(pool))
        labels[labelled] = pool.labels[labelled]
        index = selected.sort().values
        return index, labels[index]

    def _select_blocks(self, pool: Split) -> tuple[Tensor, Tensor]:
        """Select blocks of text, which have no classes and are always labelled."""
        for name in ("labelled", "classes", "without"):
            value = getattr(self, name)
            if value is not None:
                raise ConfigError(
                    f"transfer.{name}={value!r} needs samples with a class, but the labels of "
                    "text are next tokens. Set it to null. Use transfer.samples to select a part "
                    "of the blocks."
                )
        count = _count(self.samples, "transfer.samples", len(pool))
        index = random_order(len(pool), self.seed)[:count].sort().values
        # The labels of a whole memory-mapped text are not copied.
        labels = pool.labels[index] if count < len(pool) else pool.labels
        return index, labels

    def absent(self, class_names: Sequence[str]) -> list[int]:
        """Return the numbers of the classes that the rule leaves out, ascending.

        Args:
            class_names: Names of the classes, in the order of the labels.

        Raises:
            ConfigError: If a class is unknown, or if no class is left.
        """
        numbers = set(range(len(class_names)))
        if self.classes:
            used = {_class_number(c, class_names, "transfer.classes") for c in self.classes}
            return sorted(numbers - used)
        absent = {_class_number(c, class_names, "transfer.without") for c in self.without or ()}
        if absent and absent == numbers:
            raise ConfigError(
                f"transfer.without={list(self.without or ())} leaves no class to learn from."
            )
        return sorted(absent)

    def small(self, samples: int, pool: Split, class_names: Sequence[str]) -> "TransferSet":
        """Return the same rule for a quick run; counts that are too large become None.

        Args:
            samples: Largest number of inputs from a source.
            pool: Part of the training split that the quick run uses.
            class_names: Names of the classes, in the order of the labels.
        """
        if self.source is None:
            source = None
            everything = replace(self, samples=None, labelled=None)
            available = len(everything.select(pool, class_names)[0])
        else:
            source = self.source.small(samples)
            available = samples
        if type(self.samples) is int:
            count = self.samples
        else:
            count = _count(self.samples, "transfer.samples", available)
        labelled = self.labelled
        if type(labelled) is int and labelled > min(count, available):
            labelled = None
        return replace(
            self,
            source=source,
            samples=self.samples if count < available else None,
            labelled=labelled,
        )


def mixing_pool(index: Tensor, labels: Tensor) -> Tensor:
    """Return the rows that views may mix in: the labelled ones, or all if none is labelled.

    So a labelled sample keeps its label in a mixture. A control that learns from few labels sees as
    many of them as without mixtures.

    Args:
        index: Rows of a transfer set, int64 ``[M]``.
        labels: Labels of these rows, ``[M]`` or ``[M, D]``, of which some may be missing.

    Returns:
        Rows, int64 ``[P]``.
    """
    labelled = index[is_labelled(labels)]
    return labelled if len(labelled) else index


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """Order samples so that every prefix is as balanced over the classes as possible.

    Args:
        labels: Labels, int64 ``[N]``. Unlabelled samples count as a class.
        seed: Seed of the order within a class.

    Returns:
        A permutation of 0 to N - 1, int64 ``[N]``.
    """
    order = random_order(len(labels), seed)
    labels = labels - labels.min().clamp(max=0)  # unlabelled samples have a negative label
    by_class = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[rank_in_class.argsort(stable=True)]


def _format_amount(value: int | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def _join(classes: Sequence[int | str]) -> str:
    return ", ".join(str(name) for name in classes)


def _check_classes(value: Sequence[int | str] | None, name: str) -> tuple[int | str, ...] | None:
    """Check a list of classes and return it as a tuple."""
    if value is None:
        return None
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if not is_list or not value or not all(map(_is_class, value)):
        raise ConfigError(
            f"{name}={value!r} should be a list of classes by name or number, such as [3] or "
            "[7, 8]."
        )
    return tuple(value)


def _is_class(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _class_number(class_: int | str, names: Sequence[str], where: str) -> int:
    """Return the number of a class given by its name or, if no class has this name, by number."""
    if str(class_) in names:
        return list(names).index(str(class_))
    if isinstance(class_, int) and 0 <= class_ < len(names):
        return class_
    match = closest(str(class_), names)
    if match:
        raise ConfigError(f"{where}: unknown class {class_!r}. Did you mean {match}?")
    more = " ..." if len(names) > MAX_LISTED else "."
    raise ConfigError(
        f"{where}: unknown class {class_!r}. The classes are {', '.join(names[:MAX_LISTED])}{more}"
    )


def _count(value: int | float | None, name: str, maximum: int, minimum: int = 1) -> int:
    """Return a number of samples, given as a number, a fraction or None for all."""
    if value is None:
        return maximum
    count: object = value
    setting = f"{name}={value!r}"
    if isinstance(value, float) and 0 < value < 1:
        count = max(1, round(value * maximum))
        setting += f" of {maximum}, that is {count},"
    if isinstance(count, bool) or not isinstance(count, int) or not minimum <= count <= maximum:
        raise ConfigError(
            f"{setting} should be a whole number from {minimum} to {maximum}, a fraction above 0 "
            "and at most 1.0, or null for all."
        )
    return count
