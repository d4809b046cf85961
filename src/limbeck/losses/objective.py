"""What a student minimises, ``hard_weight * hard + soft_weight * soft``: one student or a whole cohort."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limbeck.errors import ConfigError, TeacherError
from limbeck.losses.response import SOFT_LOSSES, hard_loss, is_labelled

LARGEST = 1e6
"""Of a weight or a temperature; beyond it float32 runs out of digits."""


class Terms(NamedTuple):
    """The loss and its two unweighted terms, each ``[...]``: one value per student."""

    loss: Tensor
    hard: Tensor
    soft: Tensor


@dataclass(frozen=True, kw_only=True)
class Objective:
    r"""The distillation objective of Hinton et al. 2015.

    .. math::
        loss = hard\_weight \cdot CE(y, softmax(z))
            + soft\_weight \cdot T^2 \cdot D(softmax(v/T), softmax(z/T))

    Each term is summed over classes and averaged over samples, the hard one over those that have a label.
    ``Objective(hard_weight=1, soft_weight=0)`` is plain supervised training and needs no teacher.

    Attributes:
        hard_weight: weight of the hard loss.
        soft_weight: weight of the soft loss.
        temperature: T of the soft loss; larger shows more of what the teacher thinks of the wrong classes.
        soft: D, one of ``kl``, ``cross_entropy``, ``probabilities`` (squared error of the softened
            probabilities), ``logits`` (squared error of the zero-mean logits).
        scale_by_t2: multiply the soft loss by T^2, so that its gradient hardly depends on T.

    Raises:
        ConfigError: a value is out of range, or both weights are 0.
    """

    hard_weight: float = 0.1
    soft_weight: float = 0.9
    temperature: float = 4.0
    soft: str = "kl"
    scale_by_t2: bool = True

    def __post_init__(self) -> None:
        for name in ("hard_weight", "soft_weight", "temperature"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
                raise ConfigError(f"objective.{name}={value!r} should be a finite number, at most {LARGEST:,.0f}.")
        if self.temperature <= 0:
            raise ConfigError(
                f"objective.temperature={self.temperature} should be above 0 (1 leaves the teacher's answers "
                "as they are, 2 to 20 are usual)."
            )
        if self.hard_weight < 0 or self.soft_weight < 0:
            raise ConfigError(
                f"objective.hard_weight={self.hard_weight} and objective.soft_weight={self.soft_weight} "
                "should not be negative."
            )
        if self.hard_weight == 0 and self.soft_weight == 0:
            raise ConfigError("objective.hard_weight and objective.soft_weight are both 0: nothing would be learnt.")
        if not isinstance(self.soft, str) or self.soft not in SOFT_LOSSES:
            raise ConfigError(f"objective.soft={self.soft!r} is unknown; choose one of {', '.join(SOFT_LOSSES)}.")
        if not isinstance(self.scale_by_t2, bool):
            raise ConfigError(f"objective.scale_by_t2={self.scale_by_t2!r} should be true or false.")

    @property
    def needs_teacher(self) -> bool:
        """Whether the soft loss takes part."""
        return self.soft_weight > 0

    @property
    def soft_scale(self) -> float:
        """The factor on the soft divergence: T^2, or 1."""
        return float(self.temperature) ** 2 if self.scale_by_t2 else 1.0

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, for JSON."""
        return asdict(self)

    def __call__(
        self, student: Tensor, teacher: Tensor | None, labels: Tensor, *, mixed: tuple[Tensor, Tensor] | None = None
    ) -> Terms:
        """Loss and terms for logits ``[..., B, C]`` and labels ``[..., B]``; each term is ``[...]``.

        ``mixed`` is for inputs that are mixtures, see :func:`limbeck.losses.hard_loss`.
        """
        terms = StackedObjective([self])(student[None], teacher, labels, mixed=mixed)
        return Terms(*(term[0] for term in terms))


class StackedObjective:
    """Objectives of A arms, evaluated together: arms with one kind of soft loss share its computation."""

    def __init__(self, objectives: Sequence[Objective]):
        if not objectives:
            raise ConfigError("A cohort needs at least one objective.")
        self.objectives = tuple(objectives)
        self._groups: dict[str, list[int]] = {}
        for i, objective in enumerate(self.objectives):
            if objective.needs_teacher:
                self._groups.setdefault(objective.soft, []).append(i)
        self._learns_from_labels = any(objective.hard_weight > 0 for objective in self.objectives)
        self._tensors: dict[tuple[Any, ...], Tensor] = {}

    @property
    def needs_teacher(self) -> bool:
        """Whether any arm has a soft loss."""
        return bool(self._groups)

    def __call__(
        self, student: Tensor, teacher: Tensor | None, labels: Tensor, *, mixed: tuple[Tensor, Tensor] | None = None,
        counts: tuple[Tensor | float, float] | None = None,
    ) -> Terms:  # fmt: skip
        """Loss and terms of every student.

        Args:
            student: logits, ``[A, ..., B, C]``: arm first.
            teacher: logits, ``[..., B, C]``, the same for all arms; None if no arm has a soft loss.
            labels: ``[..., B]``, :data:`limbeck.losses.UNLABELLED` where there is none.
            mixed: of inputs that are mixtures, the labels of the second ones and the weights of the first ones, both
                ``[..., B]``. The teacher's logits are of the mixture itself.
            counts: numbers of labelled samples (a number or ``[...]``) and of all samples to divide by; None to count
                them. Where several processes share a batch, each has those of the whole batch divided by the number
                of processes, so that the mean over processes is the mean over the whole batch.

        Returns:
            Terms of shape ``[A, ...]``; ``soft`` is 0 for arms without a soft loss, ``hard`` if no arm has a hard one.

        Raises:
            TeacherError: an arm has a soft loss and there is no teacher, or it has another number of classes.
            ValueError: the first dimension of ``student`` is not the number of arms.
        """
        if len(student) != len(self.objectives):
            raise ValueError(f"Expected logits of {len(self.objectives)} arms, got {len(student)}.")
        with torch.autocast(student.device.type, enabled=False):
            if counts is None:
                counts = is_labelled(labels, mixed).sum(-1), max(1, labels.shape[-1])
            labelled = counts[0].clamp(min=1e-6) if isinstance(counts[0], Tensor) else counts[0]  # 0 / 0 should be 0
            none = student.new_zeros(
                student.shape[:-2], dtype=torch.float64 if student.dtype == torch.float64 else torch.float32
            )
            hard = hard_loss(student, labels, mixed=mixed).sum(-1) / labelled if self._learns_from_labels else none
            soft = self._soft(student, teacher) / counts[1] if self._groups else none
            extra = hard.ndim - 1
            hard_weight = self._tensor("hard_weight", range(len(student)), hard, extra)
            soft_weight = self._tensor("soft_weight", range(len(student)), hard, extra)
            return Terms(hard_weight * hard + soft_weight * soft, hard, soft)

    def _soft(self, student: Tensor, teacher: Tensor | None) -> Tensor:
        """The soft terms ``[A, ...]``, summed over samples."""
        if teacher is None:
            raise TeacherError("An objective with soft_weight above 0 needs a teacher's logits; none were given.")
        if teacher.shape[-1] != student.shape[-1]:
            raise TeacherError(
                f"The teacher gives {teacher.shape[-1]} classes and the student {student.shape[-1]}: they "
                "should be the same classes in the same order."
            )
        teacher = teacher.detach()
        if student.stride(-1) != 1:  # alike in memory, so that what follows goes through both in one order
            teacher = teacher.mT.contiguous().mT
        parts, order = [], []
        for kind, arms in self._groups.items():
            logits = student if len(arms) == len(student) else student[arms]
            temperature = self._tensor("temperature", arms, student, student.ndim - 1)
            scale = self._tensor("soft_scale", arms, student, student.ndim - 3)
            values = SOFT_LOSSES[kind](logits, teacher, temperature=temperature)
            parts.append(scale * values.sum(-1))
            order += arms
        if len(order) < len(student):
            rest = [arm for arm in range(len(student)) if arm not in order]
            parts.append(parts[0].new_zeros(len(rest), *parts[0].shape[1:]))
            order += rest
        stacked = parts[0] if len(parts) == 1 else torch.cat(parts)
        if order == sorted(order):
            return stacked
        return stacked[[order.index(arm) for arm in range(len(student))]]

    def _tensor(self, name: str, arms: Sequence[int], like: Tensor, extra: int) -> Tensor:
        """A setting of some arms as ``[a, 1, ...]`` with ``extra`` ones, kept per device and dtype."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        key = (name, tuple(arms), like.device, dtype, extra)
        if key not in self._tensors:
            values = [float(getattr(self.objectives[arm], name)) for arm in arms]
            # one made in a validation step must serve a training step too
            with torch.inference_mode(False):
                tensor = torch.tensor(values, device=like.device, dtype=dtype)
                self._tensors[key] = tensor.view(-1, *[1] * extra)
        return self._tensors[key]
