"""Objective of a student: ``hard_weight * hard + soft_weight * soft``.

Its settings and their defaults are in ``settings.py``, the computation for a whole cohort is in
``stacked.py``.
"""

from dataclasses import replace
from typing import Any, Self

from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.losses.class_weights import balanced_weights, check_length
from limbeck.losses.hard import HARD_LOSSES
from limbeck.losses.labels import balanced_label_weights
from limbeck.losses.settings import ObjectiveSettings
from limbeck.losses.soft import SOFT_LOSSES
from limbeck.losses.sparse import SparseTargets
from limbeck.losses.stacked import StackedObjective, Terms
from limbeck.losses.tasks import Task


class Objective(ObjectiveSettings):
    r"""The distillation objective of Hinton et al. 2015.

    .. math::
        loss = hard\_weight \cdot CE(y, softmax(z))
            + soft\_weight \cdot T^2 \cdot D(softmax(v/T), softmax(z/T))

    Each term is summed over classes and averaged over samples, the hard loss over labelled samples.
    ``Objective(hard_weight=1, soft_weight=0)`` is plain supervised training and needs no teacher.
    All arguments are keywords.

    Attributes:
        hard_weight: Weight of the hard loss.
        soft_weight: Weight of the soft loss.
        temperature: T of the soft loss; a larger T gives more weight to the teacher's
            probabilities of wrong classes.
        soft: Name of the soft loss D: ``kl``, ``cross_entropy``, ``probabilities`` (squared error
            of the softened probabilities), ``logits`` (squared error of the zero-mean logits),
            ``dkd`` (decoupled), ``dist`` (Pearson's distance over classes and over the batch),
            ``reverse_kl`` or ``jensen_shannon``. For regression: ``mse``, ``huber`` or ``bounded``
            (the squared error to the label where it is larger than the teacher's). For several
            labels: ``binary_kl``. For embeddings: ``cosine_distance``, ``squared_distance``, or
            ``similarity`` (of the texts of a batch to each other).
        scale_by_t2: Whether to multiply the soft loss by T^2, so that its gradient hardly depends
            on T.
        standardise: Whether the soft loss sees standardised logits; for ``kl``, ``cross_entropy``,
            ``dkd``, ``reverse_kl`` and ``jensen_shannon``.
        shuffled: Whether the soft loss sees the teacher's answer to another sample of the batch,
            half a batch further on. This is a negative control: an answer to another sample
            must not help. A batch of one sample keeps its answer.
        target_weight: Weight of the target part of ``dkd``.
        nontarget_weight: Weight of the non-target part of ``dkd``.
        teacher_share: Share of the teacher in the mixture of ``jensen_shannon``, above 0 and below
            1.
        hard: Name of the hard loss: ``cross_entropy``, or ``squared_error`` for graded classes. For
            regression: ``mse`` or ``huber``. For several labels: ``binary_cross_entropy``. For
            embeddings: ``contrastive``, which compares a text with another view of it.
        class_weights: Weights of the classes in the hard loss: one number per class, ``balanced``
            for equal total weights in a transfer set, or None for 1. With several labels they are
            the weights of labels that apply. The hard loss is divided by
            the number of samples, whatever their weights.
        label_smoothing: Share of each label that is spread evenly over all classes, from 0 to below
            1; for the cross-entropy without class weights.
        features: Layers of the student that are guided by layers of the teacher, each a
            :class:`~limbeck.losses.Feature` or its settings; :class:`limbeck.DistillationModule`
            adds their loss.

    Raises:
        ConfigError: If a value is out of range, or there is nothing to learn from.
    """

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor | SparseTargets | None,
        labels: Tensor,
        *,
        mixed: tuple[Tensor, Tensor] | None = None,
        ignored: Tensor | None = None,
    ) -> Terms:
        """Compute the loss and its terms, each ``[...]``.

        Args:
            student: Logits, ``[..., B, C]``, or for regression outputs ``[..., B, D]``.
            teacher: Logits, ``[..., B, C]``, or the probabilities of some classes; None if there is
                no soft loss.
            labels: Class indices, ``[..., B]``, :data:`limbeck.losses.UNLABELLED` for a sample
                without a label; or values ``[..., B, D]``, NaN for a sample without a label.
            mixed: Second labels and weights of inputs that are mixtures, see
                :func:`limbeck.losses.hard_loss`.
            ignored: Positions that neither loss sees, see :class:`limbeck.losses.StackedObjective`.
        """
        stacked = StackedObjective([self])
        terms = stacked(student[None], teacher, labels, mixed=mixed, ignored=ignored)
        return Terms(*(term[0] for term in terms))

    def for_task(self, task: Task) -> Self:
        """Return this objective for a kind of target.

        The default losses, ``cross_entropy`` and ``kl``, become those of the task. Values and
        vectors have no temperature, so it becomes 1.

        Args:
            task: Kind of target of a dataset.

        Raises:
            ConfigError: If a setting has no meaning for such targets.
        """
        changes: dict[str, Any] = {}
        for setting, default, losses in (
            ("hard", task.hard, HARD_LOSSES),
            ("soft", task.soft, SOFT_LOSSES),
        ):
            name = getattr(self, setting)
            if losses[name].outputs == task.outputs:
                continue
            if name != getattr(Objective, setting):
                names = [loss.name for loss in losses.values() if loss.outputs == task.outputs]
                raise ConfigError(
                    f"objective.{setting}={name} is not for {task.description}. Choose one of "
                    f"{', '.join(names)}."
                )
            changes[setting] = default
        if not task.has_classes:
            self._check_other_outputs(task)
        if not task.has_temperature:
            changes["temperature"] = 1.0
        return replace(self, **changes) if changes else self

    def _check_other_outputs(self, task: Task) -> None:
        """Check that no setting is set that only classes have."""
        meaningless = {"label_smoothing": self.label_smoothing > 0, "standardise": self.standardise}
        if not task.has_temperature:
            meaningless["class_weights"] = self.class_weights is not None
            has_default = self.temperature == Objective.temperature
            meaningless["temperature"] = self.temperature != 1 and not has_default
        for name, is_set in meaningless.items():
            if is_set:
                raise ConfigError(
                    f"objective.{name}={getattr(self, name)} has no meaning for "
                    f"{task.description}. Leave it out."
                )

    def for_labels(self, labels: Tensor, classes: int) -> Self:
        """Return this objective with one number per class as class weights.

        Args:
            labels: Labels of a transfer set, from which ``balanced`` weights are computed,
                :data:`limbeck.losses.UNLABELLED` for a sample without a label, ``[M]``.
            classes: Number of classes.

        Raises:
            ConfigError: If the number of class weights differs from the number of classes.
        """
        if self.class_weights is None:
            return self
        if self.class_weights == "balanced" and labels.is_floating_point():
            return replace(self, class_weights=balanced_label_weights(labels))
        if self.class_weights == "balanced":
            return replace(self, class_weights=balanced_weights(labels, classes))
        check_length(self.class_weights, classes)
        return self
