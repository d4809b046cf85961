"""The objectives of a whole cohort, evaluated together."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import torch
from torch import Tensor

from limbeck._base.checks import UNLABELLED
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses.class_weights import check_length
from limbeck.losses.divergences import standardised
from limbeck.losses.response import (
    OF_THE_BATCH,
    SETTINGS,
    SOFT_LOSSES,
    TAKES_LABELS,
    hard_loss,
    is_labelled,
)
from limbeck.losses.sparse import SPARSE_LOSSES, SparseTargets

if TYPE_CHECKING:
    from limbeck.losses.objective import Objective


class Terms(NamedTuple):
    """The loss and its two unweighted terms, each ``[...]``: one value per student."""

    loss: Tensor
    hard: Tensor
    soft: Tensor


class _SoftGroup(NamedTuple):
    """What arms have in common whose soft losses are computed at once."""

    kind: str
    standardise: bool
    shuffled: bool


class StackedObjective:
    """Objectives of A arms, evaluated together: arms with one kind of soft loss share its
    computation.
    """

    def __init__(self, objectives: "Sequence[Objective]"):
        if not objectives:
            raise ConfigError("A cohort needs at least one objective.")
        self.objectives = tuple(objectives)
        self._groups: dict[_SoftGroup, list[int]] = {}
        self._hard_groups: dict[tuple[str, bool], list[int]] = {}
        for i, objective in enumerate(self.objectives):
            self._hard_groups.setdefault(
                (objective.hard, objective.label_smoothing > 0), []
            ).append(i)
            if objective.soft_weight > 0:
                group = _SoftGroup(objective.soft, objective.standardise, objective.shuffled)
                self._groups.setdefault(group, []).append(i)
        if any(objective.class_weights == "balanced" for objective in self.objectives):
            raise ConfigError(
                "objective.class_weights=balanced needs the labels of a transfer set, as a study "
                "has; in Python make "
                "numbers of them with Objective.for_labels(labels, classes)."
            )
        self._weighs_classes = any(objective.class_weights for objective in self.objectives)
        self._learns_from_labels = any(objective.hard_weight > 0 for objective in self.objectives)
        self._tensors: dict[tuple[Any, ...], Tensor] = {}

    @property
    def needs_teacher(self) -> bool:
        """Whether any arm has a soft loss, or is guided by layers of the teacher."""
        return any(objective.needs_teacher for objective in self.objectives)

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor | SparseTargets | None,
        labels: Tensor,
        *,
        mixed: tuple[Tensor, Tensor] | None = None,
        ignored: Tensor | None = None,
        counts: tuple[Tensor | float, Tensor | float] | None = None,
    ) -> Terms:
        """Loss and terms of every student.

        Args:
            student: logits, ``[A, ..., B, C]``: arm first.
            teacher: logits, ``[..., B, C]``, or some of the classes' probabilities, the same for
                all arms; None if no arm has a soft loss.
            labels: ``[..., B]``, :data:`limbeck.losses.UNLABELLED` where there is none.
            mixed: of inputs that are mixtures, the labels of the second ones and the weights of the
                first ones, both ``[..., B]``. The teacher's logits are of the mixture itself.
            ignored: where there is no sample, as in the padding of a block of tokens, bool ``[...,
                B]``: neither loss counts it, whatever is there. A sample whose shuffled answer is
                of such a position has no soft loss.
            counts: numbers of labelled samples and of all samples (each a number or ``[...]``) to
                divide by; None to count them. Where several processes share a batch, each has those
                of the whole batch divided by the number of processes, so that the mean over
                processes is the mean over the whole batch.

        Returns:
            Terms of shape ``[A, ...]``; ``soft`` is 0 for arms without a soft loss, ``hard`` if no
            arm has a hard one.

        Raises:
            TeacherError: an arm has a soft loss and there is no teacher, or it has another number
                of classes, or the loss needs more of them than are given.
            ConfigError: an arm has more or fewer class weights than there are classes, or a soft
                loss that has no meaning with ignored positions.
            ValueError: the first dimension of ``student`` is not the number of arms.
        """
        if len(student) != len(self.objectives):
            raise ValueError(f"Expected logits of {len(self.objectives)} arms, got {len(student)}.")
        with torch.autocast(student.device.type, enabled=False):
            if ignored is not None:
                student, teacher, labels = self._without(ignored, student, teacher, labels)
            if counts is None:
                samples = max(1, labels.shape[-1]) if ignored is None else (~ignored).sum(-1)
                counts = is_labelled(labels, mixed).sum(-1), samples
            none = student.new_zeros(
                student.shape[:-2],
                dtype=torch.float64 if student.dtype == torch.float64 else torch.float32,
            )
            hard = (
                self._hard(student, labels, mixed) / _above_0(counts[0])
                if self._learns_from_labels
                else none
            )
            soft = none
            if self._groups:
                soft = self._soft(student, teacher, None if mixed else labels, ignored) / _above_0(
                    counts[1]
                )
            extra = hard.ndim - 1
            hard_weight = self._tensor("hard_weight", range(len(student)), hard, extra)
            soft_weight = self._tensor("soft_weight", range(len(student)), hard, extra)
            return Terms(hard_weight * hard + soft_weight * soft, hard, soft)

    def _without(
        self,
        ignored: Tensor,
        student: Tensor,
        teacher: Tensor | SparseTargets | None,
        labels: Tensor,
    ) -> tuple[Tensor, Tensor | SparseTargets | None, Tensor]:
        """Logits and targets of zeros and no labels at ignored positions: not even a NaN there
        reaches a gradient.
        """
        for kind in OF_THE_BATCH:
            if any(group.kind == kind for group in self._groups):
                raise ConfigError(
                    f"objective.soft={kind} compares the samples of a batch with each other, which "
                    "has no meaning with "
                    "ignored positions (padding of token blocks); choose another soft loss, as kl."
                )

        def blank(values: Tensor) -> Tensor:
            return torch.where(ignored[..., None], 0, values)

        return blank(student), _mapped(teacher, blank), torch.where(ignored, UNLABELLED, labels)

    def _hard(self, student: Tensor, labels: Tensor, mixed: tuple[Tensor, Tensor] | None) -> Tensor:
        """The hard terms ``[A, ...]``, summed over samples."""
        parts, order = [], []
        for (kind, smooths), arms in self._hard_groups.items():
            logits = student if len(arms) == len(student) else student[arms]
            weights, smoothing = None, None
            if smooths:
                smoothing = self._tensor("label_smoothing", arms, student, student.ndim - 2)
            elif self._weighs_classes:
                weights = self._tensor("class_weights", arms, student, student.ndim - 2)
            values = hard_loss(
                logits, labels, mixed=mixed, kind=kind, class_weights=weights, smoothing=smoothing
            )
            parts.append(values.sum(-1))
            order += arms
        return _in_order(parts, order)

    def _soft(
        self,
        student: Tensor,
        teacher: Tensor | SparseTargets | None,
        labels: Tensor | None,
        ignored: Tensor | None,
    ) -> Tensor:
        """The soft terms ``[A, ...]``, summed over samples."""
        teacher = _mapped(self._checked(teacher, student.shape[-1]), Tensor.detach)
        answers = {
            shuffled: _answers(teacher, student, shuffled)
            for shuffled in {g.shuffled for g in self._groups}
        }
        parts, order = [], []
        for group, arms in self._groups.items():
            logits = student if len(arms) == len(student) else student[arms]
            scale = self._tensor("soft_scale", arms, student, student.ndim - 3)
            values = self._soft_values(group, arms, logits, answers[group.shuffled], labels)
            if ignored is not None:
                silent = ignored | _half_on(ignored, -1) if group.shuffled else ignored
                values = torch.where(silent, 0.0, values)
            parts.append(scale * values.sum(-1))
            order += arms
        if len(order) < len(student):
            rest = [arm for arm in range(len(student)) if arm not in order]
            parts.append(parts[0].new_zeros(len(rest), *parts[0].shape[1:]))
            order += rest
        return _in_order(parts, order)

    def _checked(
        self, teacher: Tensor | SparseTargets | None, classes: int
    ) -> Tensor | SparseTargets:
        """The teacher, if there is one and the arms' soft losses can use it."""
        if teacher is None:
            raise TeacherError(
                "An objective with soft_weight above 0 needs a teacher's logits; none were given."
            )
        known = teacher.classes if isinstance(teacher, SparseTargets) else teacher.shape[-1]
        if known != classes:
            raise TeacherError(
                f"The teacher gives {known} classes and the student {classes}: they should be the "
                "same classes in the "
                "same order."
            )
        for group in self._groups if isinstance(teacher, SparseTargets) else ():
            if group.kind not in SPARSE_LOSSES or group.standardise:
                setting = (
                    "standardise=true" if group.kind in SPARSE_LOSSES else f"soft={group.kind}"
                )
                raise TeacherError(
                    f"objective.{setting} needs the teacher's whole distribution, and what is "
                    "stored has some of its "
                    "classes at each position; use store.kind=dense (or store=off), or "
                    "objective.soft="
                    f"{' or '.join(SPARSE_LOSSES)} without standardise."
                )
        return teacher

    def _soft_values(
        self,
        group: _SoftGroup,
        arms: Sequence[int],
        student: Tensor,
        teacher: Tensor | SparseTargets,
        labels: Tensor | None,
    ) -> Tensor:
        """The soft losses ``[a, ..., B]`` of arms that share their kind."""
        temperature = self._tensor("temperature", arms, student, student.ndim - 1)
        if isinstance(teacher, SparseTargets):
            return SPARSE_LOSSES[group.kind](student, teacher, temperature=temperature)
        settings: dict[str, Any] = {
            name: self._tensor(name, arms, student, student.ndim - 2)
            for name in SETTINGS.get(group.kind, ())
        }
        if group.kind in TAKES_LABELS:
            settings["labels"] = labels
        if group.standardise:
            student, teacher = standardised(student), standardised(teacher)
        return SOFT_LOSSES[group.kind](student, teacher, temperature=temperature, **settings)

    def _tensor(self, name: str, arms: Sequence[int], like: Tensor, extra: int) -> Tensor:
        """A setting of some arms as ``[a, 1, ...]`` with ``extra`` ones, kept per device and dtype;
        class weights as ``[a, 1, ..., C]``.
        """
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        key = (name, tuple(arms), like.device, dtype, extra)
        if key not in self._tensors:
            values = [self._setting(name, self.objectives[arm], like.shape[-1]) for arm in arms]
            # one made in a validation step must serve a training step too
            with torch.inference_mode(False):
                tensor = torch.tensor(values, device=like.device, dtype=dtype)
                self._tensors[key] = tensor.view(len(arms), *[1] * extra, *tensor.shape[1:])
        return self._tensors[key]

    def _setting(self, name: str, objective: "Objective", classes: int) -> float | list[float]:
        if name != "class_weights":
            return float(getattr(objective, name))
        weights = (
            [1.0] * classes
            if objective.class_weights is None
            else [float(w) for w in objective.class_weights]
        )
        check_length(weights, classes)
        return weights


@overload
def _mapped(
    teacher: Tensor | SparseTargets, fn: Callable[[Tensor], Tensor]
) -> Tensor | SparseTargets: ...
@overload
def _mapped(teacher: None, fn: Callable[[Tensor], Tensor]) -> None: ...
def _mapped(
    teacher: Tensor | SparseTargets | None, fn: Callable[[Tensor], Tensor]
) -> Tensor | SparseTargets | None:
    """What is known of a teacher, ``fn`` applied to each tensor."""
    if teacher is None:
        return None
    return teacher.map(fn) if isinstance(teacher, SparseTargets) else fn(teacher)


def _answers(
    teacher: Tensor | SparseTargets, student: Tensor, shuffled: bool
) -> Tensor | SparseTargets:
    """The teacher's answers to the samples, or to others."""
    if shuffled:
        teacher = _mapped(teacher, lambda values: _half_on(values, -2))
    if isinstance(teacher, Tensor) and student.stride(-1) != 1:
        return (
            teacher.mT.contiguous().mT
        )  # alike in memory, so that what follows goes through both in one order
    return teacher


def _half_on(values: Tensor, dim: int) -> Tensor:
    """For each sample the values of the one half a batch further on."""
    return values.roll(-(values.shape[dim] // 2), dim)


def _above_0(count: Tensor | float) -> Tensor | float:
    """A number to divide a sum by; a sum over nothing is 0, and 0 / 0 should be 0."""
    return count.clamp(min=1e-6) if isinstance(count, Tensor) else count


def _in_order(parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
    """What was computed in groups, ``[a, ...]`` each, as one tensor in the order of the arms."""
    stacked = parts[0] if len(parts) == 1 else torch.cat(tuple(parts))
    if list(order) == sorted(order):
        return stacked
    return stacked[[order.index(arm) for arm in range(len(order))]]
