"""What a student minimises, ``hard_weight * hard + soft_weight * soft``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from limbeck._base.checks import LARGEST
from limbeck._base.errors import ConfigError
from limbeck.losses.class_weights import balanced_weights, check_class_weights, check_length
from limbeck.losses.features import Feature
from limbeck.losses.response import HARD_LOSSES, SOFT_LOSSES, STANDARDISED
from limbeck.losses.sparse import SparseTargets
from limbeck.losses.stacked import StackedObjective, Terms

NUMBERS = (
    "hard_weight",
    "soft_weight",
    "temperature",
    "target_weight",
    "nontarget_weight",
    "teacher_share",
    "label_smoothing",
)
"""The settings that are numbers."""

LEAST_SHARE = 1e-6
"""Of either side of a mixture; less is lost in float32."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    r"""The distillation objective of Hinton et al. 2015.

    .. math::
        loss = hard\_weight \cdot CE(y, softmax(z))
            + soft\_weight \cdot T^2 \cdot D(softmax(v/T), softmax(z/T))

    Each term is summed over classes and averaged over samples, the hard one over those that have a
    label. ``Objective(hard_weight=1, soft_weight=0)`` is plain supervised training and needs no
    teacher.

    Attributes:
        hard_weight: weight of the hard loss.
        soft_weight: weight of the soft loss.
        temperature: T of the soft loss; larger shows more of what the teacher thinks of the wrong
            classes.
        soft: D, one of ``kl``, ``cross_entropy``, ``probabilities`` (squared error of the softened
            probabilities), ``logits`` (squared error of the zero-mean logits), ``dkd`` (decoupled),
            ``dist`` (Pearson's distance over classes and over the batch), ``reverse_kl`` and
            ``jensen_shannon``.
        scale_by_t2: multiply the soft loss by T^2, so that its gradient hardly depends on T.
        standardise: the soft loss sees logits less their mean and divided by their standard
            deviation; for ``kl``, ``cross_entropy``, ``dkd``, ``reverse_kl`` and
            ``jensen_shannon``.
        shuffled: a negative control: the soft loss sees the teacher's answer to another sample of
            the batch, the one half a batch further on, which says nothing of the sample's own: it
            must not help. A batch of one keeps its own.
        target_weight: of the target's part of ``dkd``.
        nontarget_weight: of the other classes' part of ``dkd``.
        teacher_share: of the mixture of ``jensen_shannon``, above 0 and below 1.
        hard: ``cross_entropy``, or ``squared_error`` for graded classes.
        class_weights: what a sample of each class counts in the hard loss; ``balanced`` makes the
            classes of a transfer set count alike; None for 1. The hard loss is divided by the
            number of samples, whatever they count.
        label_smoothing: share of each label that goes to all classes alike, from 0 to below 1; for
            the cross-entropy without class weights.
        features: layers of the student that are guided by layers of the teacher, each a
            :class:`~limbeck.losses.Feature` or its settings; :class:`limbeck.DistillationModule`
            adds their loss.

    Raises:
        ConfigError: a value is out of range, or nothing would be learnt.
    """

    hard_weight: float = 0.1
    soft_weight: float = 0.9
    temperature: float = 4.0
    soft: str = "kl"
    scale_by_t2: bool = True
    standardise: bool = False
    shuffled: bool = False
    target_weight: float = 1.0
    nontarget_weight: float = 8.0
    teacher_share: float = 0.5
    hard: str = "cross_entropy"
    class_weights: str | Sequence[float] | None = None
    label_smoothing: float = 0.0
    features: Sequence[Feature] = ()

    def __post_init__(self) -> None:
        self._check_numbers()
        object.__setattr__(self, "class_weights", check_class_weights(self.class_weights))
        if isinstance(self.features, (str, dict)) or not isinstance(self.features, Sequence):
            raise ConfigError(
                f"objective.features={self.features!r} should be a list; [] for none."
            )
        object.__setattr__(self, "features", tuple(map(Feature.of, self.features)))
        if self.hard_weight == 0 and self.soft_weight == 0 and not self.features:
            raise ConfigError(
                "objective.hard_weight and objective.soft_weight are both 0: nothing would be "
                "learnt."
            )
        for name, known in (("soft", SOFT_LOSSES), ("hard", HARD_LOSSES)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise ConfigError(
                    f"objective.{name}={value!r} is unknown; choose one of {', '.join(known)}."
                )
        for name in ("scale_by_t2", "standardise", "shuffled"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(
                    f"objective.{name}={getattr(self, name)!r} should be true or false."
                )
        self._check_together()

    def _check_together(self) -> None:
        if self.standardise and self.soft not in STANDARDISED and self.soft_weight > 0:
            raise ConfigError(
                f"objective.standardise=true goes with objective.soft={', '.join(STANDARDISED)}; "
                f"found {self.soft}."
            )
        if (
            self.soft == "dkd"
            and self.soft_weight > 0
            and not self.target_weight + self.nontarget_weight
        ):
            raise ConfigError(
                "objective.target_weight and objective.nontarget_weight are both 0: dkd would be 0."
            )
        if self.shuffled and self.soft_weight == 0:
            raise ConfigError(
                "objective.shuffled=true shuffles the teacher's answers, and "
                "objective.soft_weight=0 uses none; set it "
                "in an arm that has a soft loss."
            )
        if self.label_smoothing and self.hard != "cross_entropy":
            raise ConfigError(
                f"objective.label_smoothing={self.label_smoothing} goes with "
                "objective.hard=cross_entropy; found "
                f"{self.hard}."
            )
        if self.label_smoothing and self.class_weights is not None:
            raise ConfigError(
                f"objective.label_smoothing={self.label_smoothing} does not go with "
                "objective.class_weights; set one "
                "of them."
            )

    def _check_numbers(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not abs(value) <= LARGEST
            ):
                raise ConfigError(
                    f"objective.{name}={value!r} should be a finite number, at most {LARGEST:,.0f}."
                )
        if self.temperature <= 0:
            raise ConfigError(
                f"objective.temperature={self.temperature} should be above 0 (1 leaves the "
                "teacher's answers "
                "as they are, 2 to 20 are usual)."
            )
        if not LEAST_SHARE <= self.teacher_share <= 1 - LEAST_SHARE:
            raise ConfigError(
                f"objective.teacher_share={self.teacher_share} should be above 0 and below 1."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                f"objective.label_smoothing={self.label_smoothing} should be at least 0 and below "
                "1 (0.1 is usual)."
            )
        for first, second in (
            ("hard_weight", "soft_weight"),
            ("target_weight", "nontarget_weight"),
        ):
            if getattr(self, first) < 0 or getattr(self, second) < 0:
                raise ConfigError(
                    f"objective.{first}={getattr(self, first)} and "
                    f"objective.{second}={getattr(self, second)} "
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
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def for_labels(self, labels: Tensor, classes: int) -> "Objective":
        """This objective with one class weight a class, those of ``balanced`` made from labels.

        Args:
            labels: of a transfer set, :data:`limbeck.losses.UNLABELLED` where there is none,
                ``[M]``.
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
        self,
        student: Tensor,
        teacher: Tensor | SparseTargets | None,
        labels: Tensor,
        *,
        mixed: tuple[Tensor, Tensor] | None = None,
        ignored: Tensor | None = None,
    ) -> Terms:
        """Loss and terms for logits ``[..., B, C]`` and labels ``[..., B]``; each term is
        ``[...]``.

        ``mixed`` is for inputs that are mixtures, see :func:`limbeck.losses.hard_loss`; ``ignored``
        for positions that no loss sees, see :class:`limbeck.losses.StackedObjective`.
        """
        terms = StackedObjective([self])(
            student[None], teacher, labels, mixed=mixed, ignored=ignored
        )
        return Terms(*(term[0] for term in terms))
