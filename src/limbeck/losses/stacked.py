"""The objectives of a whole cohort, evaluated together."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses.base import TWO_LOGITS, UNLABELLED, SoftLoss, check_several_classes, load
from limbeck.losses.divergences import standardised
from limbeck.losses.hard import hard_loss, is_labelled
from limbeck.losses.setting_tensors import SettingTensors, loss_dtype
from limbeck.losses.settings import ObjectiveSettings, outputs_of
from limbeck.losses.soft import SOFT_LOSSES
from limbeck.losses.sparse import Answers, SparseTargets, map_answers, topk_refusal

SPARSE_LOSSES = {loss.name: load(loss.sparse) for loss in SOFT_LOSSES.values() if loss.sparse}
"""Functions of the soft losses that work with sparse targets, by name."""

MAX_PADDING = 1024
"""Maximum number of extra vocabulary entries that may be padding."""


class Terms(NamedTuple):
    """The loss and its two unweighted terms, each ``[...]``: one value per student."""

    loss: Tensor
    hard: Tensor
    soft: Tensor


class _HardGroup(NamedTuple):
    """Properties shared by arms whose hard losses are computed together."""

    kind: str
    smoothed: bool


class _SoftGroup(NamedTuple):
    """Properties shared by arms whose soft losses are computed together."""

    loss: SoftLoss
    standardise: bool
    shuffled: bool


class StackedObjective:
    """The objectives of A arms, evaluated together.

    Arms with the same kind of soft loss share its computation.

    Args:
        objectives: Objective of each arm.
        scale: Number by which values of each target are divided, ``[D]``, such as its standard
            deviation; None for 1. Without effect on logits of classes.

    Raises:
        ConfigError: If there is none, one has ``balanced`` class weights instead of numbers, or
            losses are for different outputs.
    """

    def __init__(
        self, objectives: Sequence[ObjectiveSettings], *, scale: Sequence[float] | None = None
    ):
        if not objectives:
            raise ConfigError("A cohort needs at least one objective.")
        self.objectives = tuple(objectives)
        self.outputs = outputs_of(self.objectives)
        self.scale = scale
        if any(objective.class_weights == "balanced" for objective in self.objectives):
            raise ConfigError(
                "objective.class_weights=balanced needs the labels of a transfer set, as a study "
                "has. In Python, compute them with Objective.for_labels(labels, classes)."
            )
        self._hard_groups: dict[_HardGroup, list[int]] = {}
        self._soft_groups: dict[_SoftGroup, list[int]] = {}
        for arm, objective in enumerate(self.objectives):
            hard = _HardGroup(objective.hard, objective.label_smoothing > 0)
            self._hard_groups.setdefault(hard, []).append(arm)
            if objective.soft_weight > 0:
                loss = SOFT_LOSSES[objective.soft].resolve()
                soft = _SoftGroup(loss, objective.standardise, objective.shuffled)
                self._soft_groups.setdefault(soft, []).append(arm)
        self._weighs_classes = any(objective.class_weights for objective in self.objectives)
        self.learns_from_labels = any(objective.hard_weight > 0 for objective in self.objectives)
        self._hard_weights_are_one = all(o.hard_weight == 1 for o in self.objectives)
        self._tensors = SettingTensors(self.objectives, scale)

    @property
    def needs_teacher(self) -> bool:
        """Whether any arm has a soft loss or uses layers of the teacher."""
        return any(objective.needs_teacher for objective in self.objectives)

    @property
    def finite_loss(self) -> str | None:
        """Name of a soft loss that needs finite logits for all classes; None if there is none."""
        names = [group.loss.name for group in self._soft_groups if group.loss.needs_finite]
        return names[0] if names else None

    @property
    def mixes_samples(self) -> bool:
        """Whether the loss of a sample depends on other samples of the batch, in any arm."""
        return any(group.shuffled or group.loss.per_batch for group in self._soft_groups)

    def __call__(
        self,
        student: Tensor,
        teacher: Answers | None,
        labels: Tensor,
        *,
        mixed: tuple[Tensor, Tensor] | None = None,
        ignored: Tensor | None = None,
        counts: tuple[Tensor | float, Tensor | float] | None = None,
    ) -> Terms:
        """Compute the loss and the terms of every student.

        Args:
            student: Logits, ``[A, ..., B, C]``: arm first.
            teacher: Logits, ``[..., B, C]``, or sparse targets, shared by all arms; None if no arm
                has a soft loss.
            labels: Class indices, ``[..., B]``, :data:`limbeck.losses.UNLABELLED` for a sample
                without a label; for vectors those of other views, ``[A, ..., B, D]``.
            mixed: Labels of the second inputs and weights of the first ones if inputs are mixtures,
                both ``[..., B]``. The teacher's logits are for the mixture itself.
            ignored: Positions without a sample, such as the padding of a block of tokens, bool
                ``[..., B]``. Neither loss counts them, whatever their values. A sample whose
                shuffled answer comes from such a position has no soft loss.
            counts: Numbers of labelled samples and of all samples (each a number or ``[...]``) to
                divide by; None to count them. Processes that share a batch pass the numbers of the
                whole batch divided by the number of processes, so that the mean over processes is
                the mean over the whole batch.

        Returns:
            Terms of shape ``[A, ...]``; ``soft`` is 0 for arms without a soft loss, ``hard`` if no
            arm has a hard loss.

        Raises:
            TeacherError: If an arm has a soft loss and there is no teacher, the teacher has another
                number of classes, or a loss that needs all classes gets sparse targets.
            ConfigError: If the student has a single logit, the number of class weights differs from
                the number of classes, a soft loss has no meaning with ignored positions, or the
                temperature is below 1 and the targets have a tail.
            ValueError: If the first dimension of ``student`` is not the number of arms.
        """
        if len(student) != len(self.objectives):
            raise ValueError(f"Expected logits of {len(self.objectives)} arms, got {len(student)}.")
        if self.outputs == "classes":
            check_several_classes(student.shape[-1], "student")
        with torch.autocast(student.device.type, enabled=False):
            if self.scale is not None:
                divide = self._tensors.divide_by_scale
                student, labels = divide(student), divide(labels)
                teacher = map_answers(teacher, divide)
                mixed = None if mixed is None else (divide(mixed[0]), mixed[1])
            if ignored is not None:
                student, teacher, labels = self._zero_ignored(ignored, student, teacher, labels)
            if counts is None:
                counts = _counts(labels, mixed, ignored)
            labelled, samples = counts
            hard = soft = None
            if self.learns_from_labels:
                hard = self._hard(student, labels, mixed) / _safe_divisor(labelled)
            if self._soft_groups:
                targets = None if mixed else labels
                soft = self._soft(student, teacher, targets, ignored) / _safe_divisor(samples)
            if hard is None or soft is None:
                zeros = student.new_zeros(student.shape[:-2], dtype=loss_dtype(student))
                hard = zeros if hard is None else hard
                soft = zeros if soft is None else soft
            return Terms(self._weighted_sum(hard, soft), hard, soft)

    def validation_loss(self, student: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss ``[..., B]`` by which students are followed on the validation split.

        It is the cross-entropy at T = 1 (of several labels the binary one), or the squared error of
        scaled values; 0 for samples without a label.
        """
        if self.outputs == "classes":
            return hard_loss(student, labels)
        kind = "mse" if self.outputs == "values" else "binary_cross_entropy"
        divide = self._tensors.divide_by_scale
        return hard_loss(divide(student), divide(labels), kind=kind)

    def _weighted_sum(self, hard: Tensor, soft: Tensor) -> Tensor:
        """Add the terms with their weights, in as few operations as the weights allow."""
        if not self._soft_groups and self._hard_weights_are_one:
            return hard
        arms = range(len(hard))
        loss = self._tensors.get("hard_weight", arms, hard, hard.ndim - 1) * hard
        if not self._soft_groups:
            return loss
        return loss + self._tensors.get("soft_weight", arms, hard, hard.ndim - 1) * soft

    def _zero_ignored(
        self, ignored: Tensor, student: Tensor, teacher: Answers | None, labels: Tensor
    ) -> tuple[Tensor, Answers | None, Tensor]:
        """Zero logits and targets and remove labels at ignored positions.

        So not even a NaN at such a position reaches a gradient.
        """
        for group in self._soft_groups:
            if group.loss.per_batch:
                raise ConfigError(
                    f"objective.soft={group.loss.name} compares the samples of a batch with each "
                    "other, which has no meaning with ignored positions (padding of token blocks). "
                    "Choose another soft loss, such as kl."
                )

        def zero(values: Tensor) -> Tensor:
            return torch.where(ignored[..., None], 0, values)

        return zero(student), map_answers(teacher, zero), torch.where(ignored, UNLABELLED, labels)

    def _hard(self, student: Tensor, labels: Tensor, mixed: tuple[Tensor, Tensor] | None) -> Tensor:
        """Compute the hard terms ``[A, ...]``, summed over samples."""
        parts, order = [], []
        extra = student.ndim - 2
        for (kind, smoothed), arms in self._hard_groups.items():
            logits, targets = student, labels
            if len(arms) < len(student):
                logits = student[arms]
                if labels.ndim == student.ndim:  # of vectors, which each student has of its own
                    targets = labels[arms]
            weights = smoothing = None
            if smoothed:
                smoothing = self._tensors.get("label_smoothing", arms, student, extra)
            elif self._weighs_classes:
                weights = self._tensors.get("class_weights", arms, student, extra)
            values = hard_loss(
                logits, targets, mixed=mixed, kind=kind, class_weights=weights, smoothing=smoothing
            )
            parts.append(values.sum(-1))
            order += arms
        return _in_order(parts, order)

    def _soft(
        self,
        student: Tensor,
        teacher: Answers | None,
        labels: Tensor | None,
        ignored: Tensor | None,
    ) -> Tensor:
        """Compute the soft terms ``[A, ...]``, summed over samples."""
        teacher = map_answers(self._check_teacher(teacher, student.shape[-1]), Tensor.detach)
        answers = {}
        for shuffled in {group.shuffled for group in self._soft_groups}:
            answers[shuffled] = _answers(teacher, student, shuffled)
        parts, order = [], []
        for group, arms in self._soft_groups.items():
            logits = student if len(arms) == len(student) else student[arms]
            scale = self._tensors.get("soft_scale", arms, student, student.ndim - 3)
            values = self._soft_values(group, arms, logits, answers[group.shuffled], labels)
            if ignored is not None:
                excluded = ignored | _shift_by_half(ignored, -1) if group.shuffled else ignored
                values = torch.where(excluded, 0.0, values)
            parts.append(scale * values.sum(-1))
            order += arms
        if len(order) < len(student):
            controls = [arm for arm in range(len(student)) if arm not in order]
            parts.append(parts[0].new_zeros(len(controls), *parts[0].shape[1:]))
            order += controls
        return _in_order(parts, order)

    def _check_teacher(self, teacher: Answers | None, classes: int) -> Answers:
        """Check that the soft losses can use the teacher's answers, and return these."""
        if teacher is None:
            raise TeacherError(
                "An objective with soft_weight above 0 needs a teacher's logits, but there is "
                "no teacher."
            )
        count = teacher.classes if isinstance(teacher, SparseTargets) else teacher.shape[-1]
        if count != classes:
            smaller = min(count, classes)
            advice = "Both need the same classes in the same order."
            if count == 1:
                advice = TWO_LOGITS
            elif abs(count - classes) <= MAX_PADDING and classes > MAX_PADDING:
                advice += f" If the larger vocabulary is padded, cut it: logits[..., :{smaller}]."
            raise TeacherError(
                f"The teacher has {count} classes and the student {classes}. {advice}"
            )
        if isinstance(teacher, SparseTargets):
            self._check_sparse(teacher)
        return teacher

    def _check_sparse(self, teacher: SparseTargets) -> None:
        others = teacher.classes - teacher.ids.shape[-1]
        for group, arms in self._soft_groups.items():
            if group.loss.sparse and not group.standardise:
                temperature = min(self.objectives[arm].temperature for arm in arms)
                if teacher.tail is not None and others > 1 and temperature < 1:
                    raise ConfigError(topk_refusal(temperature))
                continue
            setting = "standardise=true" if group.loss.sparse else f"soft={group.loss.name}"
            raise TeacherError(
                f"objective.{setting} needs the teacher's whole distribution, but the store holds "
                "some of the classes for each position. Use store.kind=dense (or store=off), or "
                f"objective.soft={' or '.join(SPARSE_LOSSES)} without standardise."
            )

    def _soft_values(
        self,
        group: _SoftGroup,
        arms: Sequence[int],
        student: Tensor,
        teacher: Answers,
        labels: Tensor | None,
    ) -> Tensor:
        """Compute the soft losses ``[a, ..., B]`` of the arms of a group."""
        temperature = self._tensors.get("temperature", arms, student, student.ndim - 1)
        if isinstance(teacher, SparseTargets):
            assert group.loss.sparse is not None
            return load(group.loss.sparse)(student, teacher, temperature=temperature)
        settings: dict[str, Tensor | None] = {}
        for setting in group.loss.settings:
            name = setting.name
            settings[name] = self._tensors.get(name, arms, student, student.ndim - 2)
        if group.loss.uses_labels:
            settings["labels"] = labels
        if group.standardise:
            student, teacher = standardised(student), standardised(teacher)
        return group.loss(student, teacher, temperature=temperature, **settings)


def _counts(
    labels: Tensor, mixed: tuple[Tensor, Tensor] | None, ignored: Tensor | None
) -> tuple[Tensor, Tensor | float]:
    """Count the labelled samples and all samples."""
    mask = is_labelled(labels, mixed)
    if ignored is None:
        return mask.sum(-1), max(1, mask.shape[-1])
    return mask.sum(-1), (~ignored).sum(-1)


def _answers(teacher: Answers, student: Tensor, shuffled: bool) -> Answers:
    """Return the teacher's answers to the samples, or to other samples if shuffled."""
    if shuffled:
        teacher = map_answers(teacher, lambda values: _shift_by_half(values, -2))
    if isinstance(teacher, Tensor) and student.stride(-1) != 1:
        # the same memory order as the student's logits, so that both are read in one order
        return teacher.mT.contiguous().mT
    return teacher


def _shift_by_half(values: Tensor, dim: int) -> Tensor:
    """Return for each sample the value of the sample half a batch further on."""
    return values.roll(-(values.shape[dim] // 2), dim)


def _safe_divisor(count: Tensor | float) -> Tensor | float:
    """Return a count to divide by that is above 0, so that an empty sum gives 0."""
    return count.clamp(min=1e-6) if isinstance(count, Tensor) else count


def _in_order(parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
    """Join the results of groups, ``[a, ...]`` each, in the order of the arms."""
    stacked = parts[0] if len(parts) == 1 else torch.cat(tuple(parts))
    if list(order) == sorted(order):
        return stacked
    return stacked[[order.index(arm) for arm in range(len(order))]]
