"""Metrics against scikit-learn, torchmetrics, scipy and numpy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from sklearn.metrics import accuracy_score, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from limbeck.evaluation import metrics
from limbeck.evaluation.bias import recall
from limbeck.run.metrics import Metrics


def randn(*shape, seed=0, scale=2.0):
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        * scale
    )


def labels_like(logits, seed=3, right=0.6):
    """Labels that the logits get right about as often as asked."""
    generator = torch.Generator().manual_seed(seed)
    n, classes = logits.shape[-2:]
    noise = torch.randint(0, classes, (n,), generator=generator)
    keep = torch.rand(n, generator=generator) < right
    return torch.where(keep, logits.reshape(-1, n, classes)[0].argmax(-1), noise)


def ece_by_loop(confidence, right, bins):
    """Bins ``(low, high]`` as in Naeini et al. 2015, with exact integer edges."""
    total = 0.0
    for b in range(bins):
        inside = (confidence * bins > b) & (confidence * bins <= b + 1)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def logits_of(confidences):
    """Two-class logits whose top probability, for class 0, is as given."""
    p = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([p, 1 - p], -1).log()


@pytest.mark.parametrize("classes", [2, 10])
def test_errors_and_nll_equal_sklearn(classes):
    logits = randn(200, classes)
    y = labels_like(logits)
    accuracy = accuracy_score(y.numpy(), logits.argmax(-1).numpy())
    assert 0 < accuracy < 1
    result = metrics.classification_metrics(logits, y)
    assert result.errors == round(200 * (1 - accuracy))
    assert result.accuracy == accuracy
    want = log_loss(y.numpy(), softmax(logits.numpy(), axis=-1), labels=range(classes))
    assert result.nll == pytest.approx(want, rel=1e-12)


def test_accuracy_is_the_rounded_share_of_right_answers():
    """9 of 10 wrong is 0.1; ``1 - 0.9`` is not."""
    logits = torch.eye(2)[[0] * 10]
    assert metrics.classification_metrics(logits, torch.tensor([0] + [1] * 9)).accuracy == 0.1


def test_confident_and_wrong_is_finite():
    logits = torch.tensor([[1e4, -1e4], [0.0, 0.0]])
    assert metrics.nll(logits, torch.tensor([1, 0])).item() == pytest.approx(
        (2e4 + math.log(2)) / 2
    )


def test_nll_is_computed_in_float64_whatever_comes_in():
    logits = randn(50, 4).bfloat16()
    y = labels_like(logits)
    result = metrics.nll(logits, y)
    assert result.dtype == torch.float64
    want = log_loss(y.numpy(), softmax(logits.double().numpy(), axis=-1), labels=range(4))
    assert result.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("scale", [0.1, 2.0, 6.0])
def test_calibration_error_equals_torchmetrics_off_the_edges(classes, scale):
    logits = randn(500, classes, scale=scale, seed=5)
    y = labels_like(logits)
    want = multiclass_calibration_error(logits.softmax(-1), y, classes, n_bins=15, norm="l1")
    assert metrics.expected_calibration_error(logits, y) == pytest.approx(want.item(), abs=1e-6)


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_calibration_error_equals_a_loop(bins):
    logits = randn(300, 3, seed=6)
    y = labels_like(logits)
    probabilities = softmax(logits.numpy(), axis=-1)
    want = ece_by_loop(probabilities.max(-1), probabilities.argmax(-1) == y.numpy(), bins)
    assert metrics.expected_calibration_error(logits, y, bins=bins) == pytest.approx(
        want, abs=1e-12
    )


def test_calibration_error_at_confidence_one():
    """A confidence of exactly 1 belongs to the last bin (torchmetrics 1.9 gives it a bin of its
    own).
    """
    logits, y = logits_of([1.0, 0.97]), torch.tensor([1, 0])
    assert metrics.expected_calibration_error(logits, y) == pytest.approx((1 - 0.03) / 2, abs=1e-12)
    sure = torch.tensor([[1e4, 0.0, 0.0]] * 4)
    assert metrics.expected_calibration_error(sure, torch.tensor([0, 0, 0, 0])) == 0
    assert metrics.expected_calibration_error(sure, torch.tensor([0, 1, 2, 0])) == 0.5
    assert metrics.expected_calibration_error(sure, torch.tensor([1, 1, 2, 2])) == 1


def test_calibration_error_on_an_edge_belongs_to_the_bin_below():
    logits, y = logits_of([0.5, 0.52]), torch.tensor([0, 1])
    assert metrics.expected_calibration_error(logits, y, bins=2) == pytest.approx(0.51, abs=1e-12)


@pytest.mark.parametrize("classes", [3, 5, 15])
def test_calibration_error_of_a_uniform_answer(classes):
    """Confidence exactly 1/C is an edge of the 15 bins for these C."""
    logits = torch.zeros(30, classes)
    y = torch.arange(30) % classes
    assert metrics.expected_calibration_error(logits, y) == pytest.approx(0, abs=1e-12)
    assert metrics.expected_calibration_error(logits, torch.full((30,), 1)) == pytest.approx(
        1 / classes
    )


def test_agreement_equals_numpy():
    student, teacher = randn(3, 50, 4), randn(50, 4, seed=1)
    want = (student.numpy().argmax(-1) == teacher.numpy().argmax(-1)).mean(-1)
    np.testing.assert_array_equal(metrics.agreement(student, teacher), want)
    assert metrics.agreement(teacher, teacher) == 1
    assert metrics.agreement(teacher * 0.1 + 7, teacher) == 1


def test_kl_to_teacher_equals_scipy():
    student, teacher = randn(3, 50, 4), randn(50, 4, seed=1)
    want = (
        rel_entr(softmax(teacher.numpy(), axis=-1), softmax(student.numpy(), axis=-1))
        .sum(-1)
        .mean(-1)
    )
    np.testing.assert_allclose(metrics.kl_to_teacher(student, teacher), want, rtol=1e-11)
    assert metrics.kl_to_teacher(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-14)


def test_kl_to_teacher_with_an_excluded_class():
    student, teacher = randn(20, 4), randn(20, 4, seed=1)
    teacher[:, 0] = -math.inf
    want = (
        rel_entr(softmax(teacher.numpy(), axis=-1), softmax(student.numpy(), axis=-1))
        .sum(-1)
        .mean()
    )
    assert metrics.kl_to_teacher(student, teacher).item() == pytest.approx(want, rel=1e-11)


def test_a_stack_of_models_equals_each_alone():
    logits, teacher = randn(2, 3, 40, 5), randn(40, 5, seed=1)
    y = labels_like(logits)
    for name, against in (
        ("errors", y),
        ("nll", y),
        ("agreement", teacher),
        ("kl_to_teacher", teacher),
    ):
        metric = getattr(metrics, name)
        result = metric(logits, against)
        assert result.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                torch.testing.assert_close(
                    result[i, j], metric(logits[i, j], against), rtol=1e-12, atol=0
                )


def test_classification_metrics_are_plain_numbers():
    logits, teacher = randn(40, 5).float(), randn(40, 5, seed=1).float()
    y = labels_like(logits)
    with_teacher = metrics.classification_metrics(logits, y, teacher)
    assert type(with_teacher) is Metrics
    kinds = {name: type(value) for name, value in vars(with_teacher).items()}
    assert kinds.pop("errors") is int
    assert set(kinds.values()) == {float}
    assert with_teacher.agreement == metrics.agreement(logits, teacher).item()
    alone = metrics.classification_metrics(logits, y)
    assert alone == replace(with_teacher, agreement=None, kl_to_teacher=None)


def test_mean_and_sd_over_seeds():
    seeds = [
        metrics.classification_metrics(randn(40, 5, seed=i), torch.arange(40) % 5) for i in range(3)
    ]
    mean, sd = metrics.mean_and_sd(seeds)
    errors = [seed.errors for seed in seeds]
    assert mean.errors == pytest.approx(np.mean(errors))
    assert sd.errors == pytest.approx(np.std(errors, ddof=1))
    assert (mean.agreement, sd.agreement) == (None, None)
    mean, sd = metrics.mean_and_sd(seeds[:1])
    assert mean.nll == seeds[0].nll
    assert sd.nll is None


NOT_A_PREDICTION = [math.nan, -math.inf]


@pytest.mark.parametrize("value", NOT_A_PREDICTION)
def test_a_model_without_a_prediction_is_always_wrong(value):
    """The largest of equal logits would be class 0, which is often right."""
    logits, y = torch.full((9, 4), value), torch.arange(9) % 4
    result = metrics.classification_metrics(logits, y, logits, ordinal=True)
    assert (result.errors, result.accuracy, result.agreement) == (9, 0, 0)
    assert (result.nll, result.ece, result.kl_to_teacher, result.kappa) == (None,) * 4
    assert recall(logits, y) == [0.0] * 4


def test_samples_without_a_prediction_are_wrong_and_the_others_count():
    logits = randn(40, 5)
    y = logits.argmax(-1)
    logits[3, 1], logits[7] = math.nan, -math.inf
    assert metrics.top_class(logits)[[3, 7]].tolist() == [-1, -1]
    assert metrics.errors(logits, y) == 2
    assert metrics.agreement(logits, logits) == pytest.approx(38 / 40)
    excluded = randn(40, 5)
    excluded[:, 2] = -math.inf
    assert torch.equal(metrics.top_class(excluded), excluded.argmax(-1))
    assert metrics.kl_to_teacher(randn(40, 5, seed=1), excluded).isfinite()
    excluded[0, 0] = math.nan
    assert metrics.kl_to_teacher(randn(40, 5, seed=1), excluded).isnan()
