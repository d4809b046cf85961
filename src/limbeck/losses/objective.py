"""Objective of a student: ``hard_weight * hard + soft_weight * soft``.

Its settings and their defaults are in ``settings.py``, the computation for a whole cohort is in
``stacked.py``.
"""

from dataclasses import replace
from typing import Self

from torch import Tensor

from limbeck.losses.class_weights import balanced_weights, check_length
from limbeck.losses.settings import ObjectiveSettings
from limbeck.losses.sparse import SparseTargets
from limbeck.losses.stacked import StackedObjective, Terms


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
            ``reverse_kl`` or ``jensen_shannon``.
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
        hard: Name of the hard loss: ``cross_entropy``, or ``squared_error`` for graded classes.
        class_weights: Weights of the classes in the hard loss: one number per class, ``balanced``
            for equal total weights in a transfer set, or None for 1. The hard loss is divided by
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
            student: Logits, ``[..., B, C]``.
            teacher: Logits, ``[..., B, C]``, or the probabilities of some classes; None if there is
                no soft loss.
            labels: Class indices, ``[..., B]``, :data:`limbeck.losses.UNLABELLED` for a sample
                without a label.
            mixed: Second labels and weights of inputs that are mixtures, see
                :func:`limbeck.losses.hard_loss`.
            ignored: Positions that neither loss sees, see :class:`limbeck.losses.StackedObjective`.
        """
        stacked = StackedObjective([self])
        terms = stacked(student[None], teacher, labels, mixed=mixed, ignored=ignored)
        return Terms(*(term[0] for term in terms))

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
        if self.class_weights == "balanced":
            return replace(self, class_weights=balanced_weights(labels, classes))
        check_length(self.class_weights, classes)
        return self
