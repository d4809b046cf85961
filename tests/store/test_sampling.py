"""Choosing some classes of a distribution, against exact sums in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq
from scipy.special import log_softmax, logsumexp, softmax

from limbeck.store.sampling import (
    MARGIN,
    MIN_LOG_P,
    log_probabilities,
    most_probable,
    probabilities,
    systematic_sample,
)

COMB = 512
"""Uniform numbers on a grid: a class then is in the sample as often as it should be but for two of
them.
"""
CLASSES = st.integers(1, 40)
LOGITS = CLASSES.flatmap(
    lambda c: st.one_of(
        arrays(np.float32, c, elements=st.floats(-8, 8, width=32)),
        arrays(np.float32, c, elements=st.floats(-200, 200, width=32)),
        arrays(np.float32, c, elements=st.sampled_from([0.0, 1.0, 50.0, -1e4])),
        arrays(np.float32, c, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)),
    )
)
K = st.integers(1, 40)


def sampled(logits, k, uniform=None, temperature=1.0):
    """Classes and weights for each uniform number."""
    uniform = (torch.arange(COMB).double() + 0.5) / COMB if uniform is None else uniform
    p = probabilities(torch.as_tensor(logits), temperature).expand(len(uniform), -1).clone()
    return systematic_sample(p, k, uniform)


def spread(ids, weights, classes):
    """Weights at their classes, float64 ``[R, C]``."""
    return (
        torch.zeros(len(ids), classes, dtype=torch.float64)
        .scatter_add_(1, ids, weights.double())
        .numpy()
    )


@settings(max_examples=60, deadline=None)
@given(logits=LOGITS, k=K)
def test_any_sample_is_of_different_classes_and_sums_to_one(logits, k):
    k = min(k, len(logits))
    ids, weights = sampled(logits, k)
    assert ids.shape == weights.shape == (COMB, k)
    assert ((ids >= 0) & (ids < len(logits))).all()
    assert (ids.sort(-1).values.diff(dim=-1) > 0).all(), "a class is drawn twice"
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.double().sum(-1), 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(logits=LOGITS, k=K)
def test_the_expected_sample_is_the_distribution(logits, k):
    """Over a grid of uniform numbers: whether a class is in depends on whether a number is between
    two others.
    """
    k = min(k, len(logits))
    mean = spread(*sampled(logits, k), len(logits)).mean(0)
    exact = softmax(logits.astype(np.float64))
    np.testing.assert_allclose(mean, exact, rtol=MARGIN, atol=2 / COMB / k + 2e-6)
    if k > 1:  # the largest class is certain where it is above the threshold, so exact there
        top = exact.argmax()
        if exact[top] * k > 1.01:
            np.testing.assert_allclose(mean[top], exact[top], rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(logits=arrays(np.float32, 30, elements=st.floats(-8, 8, width=32)), k=st.integers(1, 29))
def test_weights_are_those_of_the_threshold(logits, k):
    """The larger of the class's probability and the threshold at which inclusion probabilities sum
    to K.
    """
    p = softmax(logits.astype(np.float64))
    tau = brentq(
        lambda t: np.minimum(1, p / t).sum() - k, p.min() / 2, 1.01, xtol=1e-16, rtol=1e-13
    )
    ids, weights = sampled(logits, k)
    np.testing.assert_allclose(weights, np.maximum(p, tau)[ids.numpy()], rtol=3 * MARGIN)
    certain = np.flatnonzero(p > tau * (1 + 2 * MARGIN))
    assert all(np.isin(certain, row).all() for row in ids.numpy())


@settings(max_examples=40, deadline=None)
@given(logits=LOGITS, extra=st.integers(0, 5), data=st.data())
def test_a_sample_of_all_that_has_any_mass_is_the_distribution(logits, extra, data):
    p = softmax(logits.astype(np.float64))
    k = min(int((p > 1e-30).sum()) + extra, len(logits))
    weights = spread(*sampled(logits, k), len(logits))
    np.testing.assert_allclose(weights, np.broadcast_to(p, weights.shape), rtol=1e-4, atol=1e-6)


def test_one_class_is_a_plain_draw():
    logits = np.array([1.0, -2.0, 0.5, 3.0, 0.0], dtype=np.float32)
    uniform = torch.rand(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ids, weights = sampled(logits, 1, uniform)
    assert (weights - 1).abs().max() < 1e-6
    line = np.cumsum(softmax(logits.astype(np.float64)))
    expected = np.searchsorted(line, uniform.numpy())
    assert (ids[:, 0].numpy() != expected).sum() <= 1  # a number on an edge


@pytest.mark.parametrize(("classes", "k"), [(256, 1), (256, 2), (256, 12), (5000, 12)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_random_samples_are_unbiased(classes, k, scale):
    """Every class within Bernstein's bound, which chance passes in one of a million runs."""
    draw, records = torch.Generator().manual_seed(7), 4000
    logits = torch.randn(classes, generator=draw) * scale
    uniform = torch.rand(records, dtype=torch.float64, generator=draw).clamp(1e-12, 1 - 1e-12)
    ids, weights = sampled(logits, k, uniform, temperature=2.0)
    mean = torch.zeros(classes, dtype=torch.float64)
    mean.index_add_(0, ids.flatten(), weights.double().flatten() / records)
    p = softmax(logits.double().numpy() / 2)
    tau, odds = float(weights.min()), np.log(2 * classes / 1e-6)
    bound = np.sqrt(2 * p * tau * odds / records) + tau * odds / records
    assert (np.abs(mean.numpy() - p) <= bound + 1e-6).all()
    assert np.abs(mean.numpy() - p).max() > 0


def test_classes_as_probable_as_the_threshold():
    """Ties at the threshold and rounding at both ends of the line."""
    ends = torch.tensor([2.0**-37, 1 - 2.0**-37], dtype=torch.float64)
    for classes in (2, 3, 12, 13, 100, 4096):
        for k in {1, 2, classes // 2, classes - 1, classes} - {0}:
            for step in (0.0, 1e-7, -1e-5):
                ids, weights = sampled(torch.arange(classes) * step, k, ends)
                assert (ids.sort(-1).values.diff(dim=-1) > 0).all()
                np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


def test_thousands_of_tiny_classes_keep_their_places():
    """Together they have 1e-5; running sums in float32 would give the mass of hundreds to one of
    them.
    """
    logits = np.zeros(50_000, dtype=np.float32)
    logits[:24] = np.log(1e5 * (50_000 - 24) / 24)
    uniform = (
        1 - 12e-5 * (torch.arange(1000, 0, -1).double() - 0.5) / 1000
    )  # the last tooth goes over all of them
    ids, weights = sampled(logits, 12, uniform)
    assert (ids[:, 10] < 24).all()
    places = (ids[:, 11] - 24).numpy() / (50_000 - 24)
    np.testing.assert_allclose(places, (np.arange(1000) + 0.5) / 1000, atol=2e-3)
    np.testing.assert_allclose(weights, 1 / 12, rtol=1e-4)


# The most probable --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(logits=LOGITS, k=K)
def test_the_most_probable_and_the_rest(logits, k):
    k = min(k, len(logits))
    exact = np.maximum(log_softmax(logits.astype(np.float64)), MIN_LOG_P)
    ids, log_p, tail = most_probable(torch.from_numpy(logits)[None], k)
    assert len(set(ids[0].tolist())) == k
    rest = np.setdiff1d(np.arange(len(logits)), ids[0].numpy())
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(log_p[0], exact[ids[0].numpy()], **tolerance)
    np.testing.assert_allclose(log_p[0], np.sort(exact)[::-1][:k], **tolerance)
    if len(rest) == 0:
        assert tail.tolist() == [[MIN_LOG_P, MIN_LOG_P]]
    else:
        np.testing.assert_allclose(tail[0, 0], max(logsumexp(exact[rest]), MIN_LOG_P), **tolerance)
        np.testing.assert_allclose(tail[0, 1], exact[rest].mean(), **tolerance)


def test_the_extremes_of_float32():
    huge = torch.tensor([[3e38, -3e38, 0.0, 3e38]])
    for temperature in (0.1, 1.0, 20.0):
        np.testing.assert_allclose(probabilities(huge, temperature), [[0.5, 0, 0, 0.5]])
        assert log_probabilities(huge, temperature)[0, 1] == MIN_LOG_P
