"""The transfer set: which inputs a student sees, and which of them have a label."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from limbeck._base.checks import check_seed, closest, without_addresses
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Split
from limbeck.data.sources.base import Source
from limbeck.losses.base import UNLABELLED

MOST_LISTED = 20
"""Of classes in a message."""


@dataclass(frozen=True)
class TransferSet:
    """A rule that picks inputs for a student: samples of the training split, or of a source without
    labels.

    Both counts are taken evenly over the classes, as far as these go; a fraction of samples is of
    those whose classes are shown, a fraction of labels is of the samples picked.

    Attributes:
        samples: how many samples, as a number or as a fraction; None or 1.0 for all (1 is one
            sample).
        labelled: how many of them keep their label, likewise; None for all, 0 for none. The teacher
            answers for every sample, the hard loss counts the labelled ones only.
        seed: which ones. It does not change with the seed of a student, so that all learn from the
            same samples.
        without: classes that are not shown, by name or number.
        classes: the only classes that are shown, likewise; None for all.
        source: where the inputs come from instead of the training split; they have no labels.

    Raises:
        ConfigError: settings exclude each other.

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
            object.__setattr__(self, field, _class_list(getattr(self, field), f"transfer.{field}"))
        if self.without and self.classes:
            raise ConfigError(
                "transfer.without and transfer.classes say the same in two ways; give one of them."
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
                "transfer.source gives inputs without labels, so transfer.without, "
                "transfer.classes and "
                "transfer.labelled do not go with it; they should be null."
            )

    @property
    def name(self) -> str:
        """Short name for tables."""
        whole = "all" if self.samples is None else _amount(self.samples)
        if self.source is not None:
            whole = self.source.name if self.samples is None else f"{whole} of {self.source.name}"
        if self.without:
            whole += f" without {_listed(self.without)}"
        if self.classes:
            whole += (
                f" of {'class' if len(self.classes) == 1 else 'classes'} {_listed(self.classes)}"
            )
        parts = [whole]
        if self.source is None and self.labelled is not None:
            parts.append(
                "unlabelled" if self.labelled == 0 else f"{_amount(self.labelled)} labelled"
            )
        return ", ".join(parts + [f"seed {self.seed}"] * (self._picks and self.seed != 0))

    @property
    def _picks(self) -> bool:
        """Whether the seed matters."""
        return self.samples is not None or bool(self.labelled)

    def settings(self) -> dict[str, Any]:
        """What tells this rule from others, as plain values for JSON: sources of one name may
        differ in a setting.
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        listed = {key: list(value) for key, value in plain.items() if isinstance(value, tuple)}
        source = None if self.source is None else without_addresses(repr(self.source))
        return {**plain, **listed, "seed": self.seed if self._picks else None, "source": source}

    @property
    def has_labels(self) -> bool:
        """Whether any sample has a label."""
        return self.source is None and self.labelled != 0

    def select(
        self, pool: Split, class_names: Sequence[str] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pick the samples.

        Args:
            pool: the training split, or what the source has made.
            class_names: of the data, in the order of the labels; by default the numbers from 0.

        Returns:
            Row numbers in ``pool`` (int64, ascending, ``[M]``) and their labels, -100 where there
            is none (``[M]``); of text the labels of the rows, ``[M, T]``.

        Raises:
            ConfigError: a count is out of range, a class is unknown, or the rule asks of text what
                it has not.
        """
        if pool.labels.ndim > 1:
            return self._select_blocks(pool)
        labels = pool.labels.cpu()
        names = class_names or [str(c) for c in range(int(labels.max()) + 1)]
        rows = torch.arange(len(labels))
        if lacking := self.absent(names):
            rows = rows[~torch.isin(labels, torch.tensor(lacking))]
            if not len(rows):
                raise ConfigError(
                    f"transfer.classes={list(self.classes or ())}: the training split has none of "
                    "these."
                )
        order = rows[even_order(labels[rows], self.seed)]
        chosen = order[: _count(self.samples, "transfer.samples", len(rows))]
        labelled = chosen[: _count(self.labelled, "transfer.labelled", len(chosen), least=0)]
        kept = torch.full((len(labels),), UNLABELLED)
        kept[labelled] = labels[labelled]
        index = chosen.sort().values
        return index, kept[index]

    def _select_blocks(self, pool: Split) -> tuple[Tensor, Tensor]:
        """Blocks of text: they have no classes, and label themselves."""
        for name in ("labelled", "classes", "without"):
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"transfer.{name}={getattr(self, name)!r} is for samples of one class each; "
                    "text labels itself by "
                    "its next tokens. transfer.samples shows a part of its blocks."
                )
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(self.seed))
        index = order[: _count(self.samples, "transfer.samples", len(pool))].sort().values
        return index, pool.labels[index] if len(index) < len(pool) else pool.labels

    def absent(self, class_names: Sequence[str]) -> list[int]:
        """The classes that the rule leaves out, ascending.

        Raises:
            ConfigError: a class is unknown, or none is left.
        """
        every = range(len(class_names))
        if self.classes:
            shown = {_class_number(c, class_names, "transfer.classes") for c in self.classes}
            return [c for c in every if c not in shown]
        hidden = {_class_number(c, class_names, "transfer.without") for c in self.without or ()}
        if len(hidden) == len(class_names):
            raise ConfigError(
                f"transfer.without={list(self.without or ())} leaves no class to learn from."
            )
        return sorted(hidden)

    def small(self, samples: int, pool: Split, class_names: Sequence[str]) -> "TransferSet":
        """The same rule for a quick run: counts that are too large for it become all that is left.

        Args:
            samples: at most so many come from a source.
            pool: what is left of the training split.
            class_names: as for :meth:`select`.
        """
        source = self.source and self.source.small(samples)
        left = (
            samples
            if source
            else len(replace(self, samples=None, labelled=None).select(pool, class_names)[0])
        )
        picked = (
            self.samples if type(self.samples) is int else max(1, round((self.samples or 1) * left))
        )
        return replace(
            self,
            source=source,
            samples=self.samples if picked < left else None,
            labelled=None
            if type(self.labelled) is int and self.labelled > min(picked, left)
            else self.labelled,
        )


def mixing_pool(index: Tensor, labels: Tensor) -> Tensor:
    """The rows that views may mix in: those with a label, or all where none has one.

    So a sample that has a label keeps it in a mixture, and one without stays without: a control
    that learns from few labels sees as many of them as it does unmixed.

    Args:
        index: rows of a transfer set, ``[M]``.
        labels: of these rows, -100 where there is none, ``[M]``.

    Returns:
        Rows, int64 ``[P]``.
    """
    labelled = index[labels != UNLABELLED]
    return labelled if len(labelled) else index


def even_order(labels: Tensor, seed: int) -> Tensor:
    """An order of the samples whose every beginning holds the classes as evenly as can be.

    Args:
        labels: int64, ``[N]``; those of unlabelled samples count as a class.
        seed: of the order within a class.

    Returns:
        A permutation of 0 to N - 1.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    labels = labels - labels.min().clamp(max=0)  # -100 where there is none
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[rank.argsort(stable=True)]


def _amount(value: int | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def _listed(classes: Sequence[int | str]) -> str:
    return ", ".join(str(c) for c in classes)


def _class_list(value: Any, name: str) -> tuple[int | str, ...] | None:
    if value is None:
        return None
    single = isinstance(value, (str, int)) or not isinstance(value, Sequence)
    if (
        single
        or not value
        or any(isinstance(c, bool) or not isinstance(c, (int, str)) for c in value)
    ):
        raise ConfigError(
            f"{name}={value!r} should be a list of classes, by name or number, as in [3] or [7, 8]."
        )
    return tuple(value)


def _class_number(wanted: int | str, names: Sequence[str], where: str) -> int:
    """The number of a class given by its name or, where no class is named so, by its number."""
    if str(wanted) in names:
        return list(names).index(str(wanted))
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return wanted
    near = closest(str(wanted), names)
    hint = f"did you mean {near}?" if near else f"known are {', '.join(names[:MOST_LISTED])}"
    more = "" if near else " ..." if len(names) > MOST_LISTED else "."
    raise ConfigError(f"{where}: there is no class {wanted!r}; {hint}{more}")


def _count(value: int | float | None, name: str, most: int, least: int = 1) -> int:
    if value is None:
        return most
    count: object = value
    if isinstance(value, float) and 0 < value < 1:
        count = max(1, round(value * most))
    if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= most:
        asked = (
            f"{name}={value!r}"
            if count is value
            else f"{name}={value!r} of {most}, that is {count},"
        )
        raise ConfigError(
            f"{asked} should be a whole number from {least} to {most}, a fraction above 0 and at "
            "most 1.0, or null for "
            "all."
        )
    return count
