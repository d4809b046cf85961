"""What a student minimises, ``hard_weight * hard + soft_weight * soft``: one student or a whole cohort."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limbeck.config import LARGEST
from limbeck.errors import ConfigError, TeacherError
from limbeck.losses.class_weights import balanced_weights, check_class_weights, check_length
from limbeck.losses.divergence import standardised
from limbeck.losses.feature import Feature
from limbeck.losses.response import (
    HARD_LOSSES,
    SETTINGS,
    SOFT_LOSSES,
    STANDARDISED,
    TAKES_LABELS,
    hard_loss,
    is_labelled,
)  # fmt: skip


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
            probabilities), ``logits`` (squared error of the zero-mean logits), ``dkd`` (decoupled) and ``dist``
            (Pearson's distance over classes and over the batch).
        scale_by_t2: multiply the soft loss by T^2, so that its gradient hardly depends on T.
        standardise: the soft loss sees logits less their mean and divided by their standard deviation; for ``kl``,
            ``cross_entropy`` and ``dkd``.
        target_weight: of the target's part of ``dkd``.
        nontarget_weight: of the other classes' part of ``dkd``.
        hard: ``cross_entropy``, or ``squared_error`` for graded classes.
        class_weights: what a sample of each class counts in the hard loss; ``balanced`` makes the classes of a transfer
            set count alike; None for 1. The hard loss is divided by the number of samples, whatever they count.
        features: layers of the student that are guided by layers of the teacher, each a
            :class:`~limbeck.losses.Feature` or its settings; :class:`limbeck.DistillationModule` adds their loss.

    Raises:
        ConfigError: a value is out of range, or nothing would be learnt.
    """

    hard_weight: float = 0.1
    soft_weight: float = 0.9
    temperature: float = 4.0
    soft: str = "kl"
    scale_by_t2: bool = True
    standardise: bool = False
    target_weight: float = 1.0
    nontarget_weight: float = 8.0
    hard: str = "cross_entropy"
    class_weights: str | Sequence[float] | None = None
    features: Sequence[Feature] = ()

    def __post_init__(self) -> None:
        self._check_numbers()
        object.__setattr__(self, "class_weights", check_class_weights(self.class_weights))
        if isinstance(self.features, (str, dict)) or not isinstance(self.features, Sequence):
            raise ConfigError(f"objective.features={self.features!r} should be a list; [] for none.")
        object.__setattr__(self, "features", tuple(map(Feature.of, self.features)))
        if self.hard_weight == 0 and self.soft_weight == 0 and not self.features:
            raise ConfigError("objective.hard_weight and objective.soft_weight are both 0: nothing would be learnt.")
        for name, known in (("soft", SOFT_LOSSES), ("hard", HARD_LOSSES)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise ConfigError(f"objective.{name}={value!r} is unknown; choose one of {', '.join(known)}.")
        for name in ("scale_by_t2", "standardise"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"objective.{name}={getattr(self, name)!r} should be true or false.")
        if self.standardise and self.soft not in STANDARDISED and self.soft_weight > 0:
            raise ConfigError(
                f"objective.standardise=true goes with objective.soft={', '.join(STANDARDISED)}; found {self.soft}."
            )
        if self.soft == "dkd" and self.soft_weight > 0 and not self.target_weight + self.nontarget_weight:
            raise ConfigError("objective.target_weight and objective.nontarget_weight are both 0: dkd would be 0.")

    def _check_numbers(self) -> None:
        for name in ("hard_weight", "soft_weight", "temperature", "target_weight", "nontarget_weight"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
                raise ConfigError(f"objective.{name}={value!r} should be a finite number, at most {LARGEST:,.0f}.")
        if self.temperature <= 0:
            raise ConfigError(
                f"objective.temperature={self.temperature} should be above 0 (1 leaves the teacher's answers "
                "as they are, 2 to 20 are usual)."
            )
        for first, second in (("hard_weight", "soft_weight"), ("target_weight", "nontarget_weight")):
            if getattr(self, first) < 0 or getattr(self, second) < 0:
                raise ConfigError(
                    f"objective.{first}={getattr(self, first)} and objective.{second}={getattr(self, second)} "
                    "should not be negative."
                )

    @property
    def needs_teacher(self) -> bool:
        """Whether the soft loss or a layer of the teacher takes part."""
        return self.soft_weight > 0 or bool(self.features)

    @property
    def soft_scale(self) -> float:
        """The factor on the soft divergence: T^2, or 1."""
        return float(self.temperature) ** 2 if self.scale_by_t2 else 1.0

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def for_labels(self, labels: Tensor, classes: int) -> "Objective":
        """This objective with one class weight a class, those of ``balanced`` made from labels.

        Args:
            labels: of a transfer set, :data:`limbeck.losses.UNLABELLED` where there is none, ``[M]``.
            classes: how many there are.

        Raises:
            ConfigError: there are more or fewer class weights than classes.
        """
        if self.class_weights is None:
            return self
        if self.class_weights == "balanced":
            return replace(self, class_weights=balanced_weights(labels, classes))
        check_length(self.class_weights, classes)
        return self

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
        self._groups: dict[Hashable, list[int]] = {}
        self._hard_groups: dict[str, list[int]] = {}
        for i, objective in enumerate(self.objectives):
            self._hard_groups.setdefault(objective.hard, []).append(i)
            if objective.soft_weight > 0:
                self._groups.setdefault((objective.soft, objective.standardise), []).append(i)
        if any(objective.class_weights == "balanced" for objective in self.objectives):
            raise ConfigError(
                "objective.class_weights=balanced needs the labels of a transfer set, as a study has; in Python make "
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
            ConfigError: an arm has more or fewer class weights than there are classes.
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
            hard = self._hard(student, labels, mixed) / labelled if self._learns_from_labels else none
            soft = self._soft(student, teacher, None if mixed else labels) / counts[1] if self._groups else none
            extra = hard.ndim - 1
            hard_weight = self._tensor("hard_weight", range(len(student)), hard, extra)
            soft_weight = self._tensor("soft_weight", range(len(student)), hard, extra)
            return Terms(hard_weight * hard + soft_weight * soft, hard, soft)

    def _hard(self, student: Tensor, labels: Tensor, mixed: tuple[Tensor, Tensor] | None) -> Tensor:
        """The hard terms ``[A, ...]``, summed over samples."""
        parts, order = [], []
        for kind, arms in self._hard_groups.items():
            logits = student if len(arms) == len(student) else student[arms]
            weights = self._tensor("class_weights", arms, student, student.ndim - 2) if self._weighs_classes else None
            parts.append(hard_loss(logits, labels, mixed=mixed, kind=kind, class_weights=weights).sum(-1))
            order += arms
        return _in_order(parts, order)

    def _soft(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None) -> Tensor:
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
        for group, arms in self._groups.items():
            logits = student if len(arms) == len(student) else student[arms]
            scale = self._tensor("soft_scale", arms, student, student.ndim - 3)
            parts.append(scale * self._soft_values(group, arms, logits, teacher, labels).sum(-1))
            order += arms
        if len(order) < len(student):
            rest = [arm for arm in range(len(student)) if arm not in order]
            parts.append(parts[0].new_zeros(len(rest), *parts[0].shape[1:]))
            order += rest
        return _in_order(parts, order)

    def _soft_values(
        self, group: Any, arms: Sequence[int], student: Tensor, teacher: Tensor, labels: Tensor | None
    ) -> Tensor:
        """The soft losses ``[a, ..., B]`` of arms that share their kind."""
        kind, standardise = group
        temperature = self._tensor("temperature", arms, student, student.ndim - 1)
        settings: dict[str, Any] = {
            name: self._tensor(name, arms, student, student.ndim - 2) for name in SETTINGS.get(kind, ())
        }
        if kind in TAKES_LABELS:
            settings["labels"] = labels
        if standardise:
            student, teacher = standardised(student), standardised(teacher)
        return SOFT_LOSSES[kind](student, teacher, temperature=temperature, **settings)

    def _tensor(self, name: str, arms: Sequence[int], like: Tensor, extra: int) -> Tensor:
        """A setting of some arms as ``[a, 1, ...]`` with ``extra`` ones, kept per device and dtype; class weights as
        ``[a, 1, ..., C]``.
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

    def _setting(self, name: str, objective: Objective, classes: int) -> float | list[float]:
        if name != "class_weights":
            return float(getattr(objective, name))
        weights = [1.0] * classes if objective.class_weights is None else [float(w) for w in objective.class_weights]
        check_length(weights, classes)
        return weights


def _in_order(parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
    """What was computed in groups, ``[a, ...]`` each, as one tensor in the order of the arms."""
    stacked = parts[0] if len(parts) == 1 else torch.cat(tuple(parts))
    if list(order) == sorted(order):
        return stacked
    return stacked[[order.index(arm) for arm in range(len(order))]]
