"""Metrics of several labels are scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, log_loss
from support.tensors import randn

from limbeck.evaluation.labels import (
    average_precision,
    best_thresholds,
    f1_scores,
    multi_label_metrics,
    wrong_labels,
)

Z = randn(60, 4)
Y = (randn(60, 4, seed=1) + 0.5 * Z > 1).float()


def test_wrong_labels_are_the_hamming_loss():
    assert int(wrong_labels(Z, Y).sum()) == round(hamming_loss(Y, Z > 0) * Y.numel())
    broken = Z.clone()
    broken[3] = torch.nan
    assert int(wrong_labels(broken, Y)[3]) == 4


@pytest.mark.parametrize("digits", [8, 0])
def test_the_average_precision_is_scikit_learns_also_with_ties(digits):
    scores = (Z / 2).round(decimals=digits)
    expected = average_precision_score(Y, scores, average=None)
    np.testing.assert_allclose(average_precision(scores, Y), expected, rtol=1e-12)


def test_f1_is_scikit_learns():
    thresholds = torch.tensor([0.0, 0.5, -1.0, 2.0], dtype=torch.float64)
    micro, macro = f1_scores(Z, Y, thresholds)
    predicted = thresholds < Z
    assert float(micro) == pytest.approx(f1_score(Y, predicted, average="micro"))
    assert float(macro) == pytest.approx(f1_score(Y, predicted, average="macro"))


def test_no_other_threshold_has_a_larger_f1():
    logits, labels = Z[:60], Y[:60]
    for scores, truth, threshold in zip(
        logits.T, labels.T, best_thresholds(logits, labels), strict=True
    ):
        best = f1_score(truth, scores > threshold)
        others = [f1_score(truth, scores >= score) for score in scores]
        assert best == pytest.approx(max(others))


def test_a_label_that_no_sample_has_is_left_out():
    labels = Y.clone()
    labels[:, 2] = 0
    metrics = multi_label_metrics(Z, labels, None, best_thresholds(Z, labels))
    expected = average_precision_score(labels[:, [0, 1, 3]], Z[:, [0, 1, 3]])
    assert metrics.mean_average_precision == pytest.approx(expected)
    assert float(best_thresholds(Z, labels)[2]) == 0


def test_the_other_metrics_are_means_over_samples_and_labels():
    metrics = multi_label_metrics(Z, Y, Z.flip(0), torch.zeros(4))
    p = Z.sigmoid().flatten()
    assert metrics.nll == pytest.approx(log_loss(Y.flatten(), p), rel=1e-6)
    assert metrics.accuracy == pytest.approx(float(((Z > 0) == (Y > 0)).all(1).double().mean()))
    assert metrics.errors == 60 - round(60 * metrics.accuracy)
    assert metrics.agreement == pytest.approx(float(((Z > 0) == (Z.flip(0) > 0)).double().mean()))
    assert metrics.label_accuracy == pytest.approx(1 - hamming_loss(Y, Z > 0))
    assert multi_label_metrics(Z, Y, Z, torch.zeros(4)).kl_to_teacher == pytest.approx(0, abs=1e-12)
