"""Metrics of one model on one split, as records of ``summary.json``."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of one classifier on one split, or their mean or standard deviation over seeds.

    Attributes:
        errors: Number of samples whose top class is not the label.
        accuracy: Share of samples whose top class is the label.
        nll: Mean negative log-likelihood of the labels in nats.
        ece: Expected calibration error.
        agreement: Share of samples with the teacher's top class; None without a teacher.
        kl_to_teacher: Mean KL divergence from the teacher in nats; None without a teacher.
    """

    errors: float | None
    accuracy: float | None
    nll: float | None
    ece: float | None
    agreement: float | None
    kl_to_teacher: float | None


@dataclass(frozen=True, kw_only=True)
class GradedMetrics(Metrics):
    """Metrics of a classifier whose classes are grades.

    Attributes:
        kappa: Quadratic kappa of top class and label; None where it is undefined.
    """

    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class TextMetrics(Metrics):
    """Metrics of a language model; a sample is a token.

    Attributes:
        bits_per_byte: Negative log-likelihood of all tokens in bits, per byte of text.
        perplexity: ``exp(nll)``.
    """

    bits_per_byte: float | None
    perplexity: float | None


@dataclass(frozen=True, kw_only=True)
class RegressionMetrics(Metrics):
    """Metrics of a regression; those of classes are None.

    Attributes:
        squared_error: Mean squared error in units of the variance of each target in the training
            split, the mean over targets.
        r_squared: Coefficient of determination, the mean over targets.
        mae: Mean absolute error, in the unit of a single target; with several targets in their
            standard deviations.
        rmse: Root of the mean squared error, in the unit of ``mae``.
        distance_to_teacher: Mean squared distance from the teacher's values, in the unit of
            ``squared_error``; None without a teacher.
    """

    squared_error: float | None
    r_squared: float | None
    mae: float | None
    rmse: float | None
    distance_to_teacher: float | None


@dataclass(frozen=True, kw_only=True)
class MultiLabelMetrics(Metrics):
    """Metrics of a model of several labels per sample; an error is a sample with a wrong label.

    Attributes:
        label_errors: Number of wrong labels of all samples, at a probability of 0.5.
        label_accuracy: Share of the labels that are right.
        mean_average_precision: Mean over labels of the average precision.
        f1_micro: F1 score over all labels, with thresholds fitted on validation.
        f1_macro: Mean over labels of the F1 score, with these thresholds.
    """

    label_errors: float | None
    label_accuracy: float | None
    mean_average_precision: float | None
    f1_micro: float | None
    f1_macro: float | None


@dataclass(frozen=True, kw_only=True)
class VectorMetrics(Metrics):
    """Metrics of embeddings; those of classes are None.

    Attributes:
        missed_neighbours: Mean number of the teacher's 10 nearest texts that are not among the 10
            nearest of the model.
        rank_correlation: Spearman's correlation of the similarities of pairs of texts with the
            teacher's.
        cosine_to_teacher: Mean cosine of the vectors of model and teacher.
        probe_accuracy: Share of labelled texts that a linear classifier of the vectors gets right;
            None without labels.
    """

    missed_neighbours: float | None
    rank_correlation: float | None
    cosine_to_teacher: float | None
    probe_accuracy: float | None


AnyMetrics: TypeAlias = (
    TextMetrics | GradedMetrics | RegressionMetrics | MultiLabelMetrics | VectorMetrics | Metrics
)
