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


AnyMetrics: TypeAlias = TextMetrics | GradedMetrics | Metrics
