"""Metrics of language models and their comparison, against NumPy and SciPy by hand and by
simulation.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter
from scipy.special import log_softmax, rel_entr
from torch import nn

from limbeck.evaluation.comparison import ArmTokens, compare_language_models
from limbeck.evaluation.statistics import MAX_SEGMENTS, crossed_test
from limbeck.evaluation.text import MAX_NATS, TokenScores, score_tokens, token_metrics

few = settings(max_examples=10, deadline=None, derandomize=True, database=None)
draws = st.integers(0, 10_000)


def split(seed=0, n=7, t=5, v=6):
    """Inputs, labels and a teacher's logits of n blocks of t tokens."""
    rng = np.random.default_rng(seed)
    x, y = torch.from_numpy(rng.integers(0, v, (2, n, t)))
    return x, y, torch.from_numpy(rng.normal(0, 3, (n, t, v)))


def batches(x, y, teacher, size=3):
    return list(zip(x.split(size), y.split(size), teacher.split(size), strict=True))


class Table(nn.Module):
    """Logits by the token before, and a dropout that is off where it should be."""

    def __init__(self, v=6, seed=9):
        super().__init__()
        table = np.random.default_rng(seed).normal(0, 2, (v, v))
        self.table = nn.Parameter(torch.from_numpy(table).float())
        self.dropout = nn.Dropout(0.9)

    def forward(self, x):
        return self.dropout(self.table[x])


def scores_of(nll, right=None):
    """Scores with given nats ``[N, T]``."""
    nll = torch.as_tensor(np.asarray(nll), dtype=torch.float32)
    right = nll < 0.7 if right is None else torch.as_tensor(right)
    return TokenScores(nll, right, (-nll).exp().clamp(max=1))


# Scores and metrics -------------------------------------------------------------------------------


def test_scores_of_every_token_are_those_by_hand():
    x, y, teacher = split()
    model = Table().train()
    result = score_tokens(batches(x, y, teacher), model)
    log_q = log_softmax(model.table.detach().double().numpy()[x.numpy()], -1)
    log_p = log_softmax(teacher.numpy(), -1)
    own = np.take_along_axis(log_q, y.numpy()[..., None], -1)[..., 0]
    np.testing.assert_allclose(result.nll, -own, rtol=1e-5)
    np.testing.assert_array_equal(result.right, log_q.argmax(-1) == y.numpy())
    np.testing.assert_allclose(result.confidence, np.exp(log_q.max(-1)), rtol=1e-5)
    np.testing.assert_array_equal(result.agrees, log_q.argmax(-1) == log_p.argmax(-1))
    np.testing.assert_allclose(result.kl, rel_entr(np.exp(log_p), np.exp(log_q)).sum(-1), rtol=1e-4)


def test_without_a_model_the_teacher_is_scored():
    x, y, teacher = split()
    result = score_tokens(batches(x, y, teacher))
    own = np.take_along_axis(log_softmax(teacher.numpy(), -1), y.numpy()[..., None], -1)[..., 0]
    np.testing.assert_allclose(result.nll, -own, rtol=1e-5, atol=1e-6)
    assert result.agrees.all()
    assert float(result.kl.abs().max()) == 0


def test_without_a_teacher_there_is_nothing_to_agree_with():
    x, y, _ = split()
    result = score_tokens([(x, y, None)], Table())
    assert (result.agrees, result.kl) == (None, None)
    metrics = token_metrics(result, 10)
    assert (metrics.agreement, metrics.kl_to_teacher) == (None, None)


def test_a_token_that_the_teacher_excludes_costs_nothing():
    x, y, teacher = split()
    teacher[..., 2] = -math.inf
    model = Table()
    result = score_tokens([(x, y, teacher)], model)
    log_q = log_softmax(model.table.detach().double().numpy()[x.numpy()], -1)
    p = np.exp(log_softmax(teacher.numpy(), -1))
    np.testing.assert_allclose(result.kl, rel_entr(p, np.exp(log_q)).sum(-1), rtol=1e-4)


def test_a_token_without_a_prediction_is_wrong_and_costs_the_most():
    x, y, teacher = split()
    teacher[0, 1] = math.nan
    result = score_tokens(batches(x, y, teacher))
    assert not result.right[0, 1]
    assert not result.agrees[0, 1]
    assert result.agrees.sum() == result.agrees.numel() - 1
    assert result.nll[0, 1] == MAX_NATS
    metrics = token_metrics(result, 10)
    assert math.isfinite(metrics.bits_per_byte)
    assert (metrics.ece, metrics.kl_to_teacher) == (None, None)


def test_metrics_are_those_by_hand():
    nll = np.array([[0.25, 2.0, 0.5], [1.0, 0.125, 4.0]])
    right = np.array([[True, False, True], [True, True, False]])
    confidence = np.array([[0.78, 0.41, 0.61], [0.42, 0.89, 0.3]])
    kl, agrees = (
        np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]),
        np.array([[1, 0, 1], [1, 1, 1]], bool),
    )
    result = token_metrics(
        TokenScores(*map(torch.from_numpy, (nll, right, confidence, agrees, kl))), 11
    )
    assert (result.errors, result.accuracy) == (2, pytest.approx(4 / 6))
    assert result.nll == pytest.approx(7.875 / 6)
    assert result.perplexity == pytest.approx(math.exp(7.875 / 6))
    assert result.bits_per_byte == pytest.approx(7.875 / math.log(2) / 11)
    assert result.agreement == pytest.approx(5 / 6)
    assert result.kl_to_teacher == pytest.approx(0.35)
    # 0.41 and 0.42 share a bin of width 1/15, in which one of two is right; every other token has
    # its own.
    assert result.ece == pytest.approx((0.22 + 0.39 + abs(0.83 - 1) + 0.11 + 0.3) / 6)


def test_a_hopeless_model_has_a_finite_perplexity():
    result = token_metrics(scores_of(np.full((2, 3), 5000.0)), 6)
    assert math.isfinite(result.perplexity)
    assert result.nll == 5000


@few
@given(seed=draws, cuts=st.lists(st.integers(1, 4), min_size=8, max_size=8))
def test_bits_per_byte_do_not_depend_on_the_tokens(seed, cuts):
    """A token that costs what its bytes cost is no better and no worse, however the bytes are
    gathered.
    """
    rng = np.random.default_rng(seed)
    of_bytes = rng.exponential(1.5, sum(cuts))
    of_tokens = [part.sum() for part in np.split(of_bytes, np.cumsum(cuts)[:-1])]
    one, other = (
        token_metrics(scores_of(np.array(nll)[None]), sum(cuts)) for nll in (of_bytes, of_tokens)
    )
    assert one.bits_per_byte == pytest.approx(other.bits_per_byte, rel=1e-5)
    assert one.bits_per_byte == pytest.approx(one.nll / math.log(2))  # here a byte is a token
    if len(cuts) < sum(cuts):
        assert other.nll > one.nll * 1.001


# Comparisons --------------------------------------------------------------------------------------


def arms(seed=0, seeds=3, n=150, t=4, effect=-0.1):
    """Nats of an arm and its control, ``[S, N, T]`` each."""
    rng = np.random.default_rng(seed)
    control = rng.gamma(2.0, 0.5, (seeds, n, t)) + 1
    return control + effect + rng.normal(0, 0.2, control.shape), control


def compared(arm, control, size=1000, teacher=None):
    arm, control = (
        ArmTokens(name, [scores_of(nll) for nll in side])
        for name, side in (("arm", arm), ("control", control))
    )
    metrics = None if teacher is None else token_metrics(scores_of(teacher), size)
    return compare_language_models(arm, control, size, metrics)


@few
@given(seed=draws, seeds=st.integers(2, 4), n=st.integers(2, 230), effect=st.floats(-0.2, 0.2))
def test_a_comparison_equals_scipy_over_segments(seed, seeds, n, effect):
    arm, control = arms(seed, seeds, n, 3, effect)
    result = compared(arm, control, 777)
    difference = (
        (arm.astype(np.float32) - control.astype(np.float32)).astype(float) / math.log(2) / 777
    )
    bits = np.array(
        [[part.sum() for part in np.array_split(row, min(MAX_SEGMENTS, n))] for row in difference]
    )
    per_seed = bits.sum(1)
    delta = result.delta_bits_per_byte
    assert delta.per_seed == pytest.approx(per_seed, rel=1e-4, abs=1e-7)
    low, high = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    assert delta.ci95 == pytest.approx([low, high], rel=1e-3, abs=1e-6)
    test = crossed_test(bits)
    assert delta.ci95_total == pytest.approx(test.ci95, rel=1e-3, abs=1e-6)
    assert result.p_value == pytest.approx(test.p_value, rel=1e-2, abs=1e-9)
    assert result.mcnemar_by_seed is None


@few
@given(seed=draws, seeds=st.integers(1, 4), effect=st.floats(-0.3, 0.3))
def test_exchanged_arms_exchange_the_verdict(seed, seeds, effect):
    arm, control = arms(seed, seeds, 40, 3, effect)
    there, back = compared(arm, control), compared(control, arm)
    for key in ("delta_bits_per_byte", "delta_errors"):
        assert getattr(back, key).mean == pytest.approx(
            -getattr(there, key).mean, rel=1e-6, abs=1e-9
        )
        if seeds > 1:
            assert getattr(back, key).ci95 == pytest.approx(
                [-bound for bound in getattr(there, key).ci95[::-1]], rel=1e-6
            )
    if seeds > 1:
        assert back.p_value == pytest.approx(there.p_value, rel=1e-6)
    opposite = {"helps": "hurts", "hurts": "helps", "not shown": "not shown"}
    assert back.verdict == opposite[there.verdict]


def test_the_change_is_that_of_the_metrics():
    arm, control = arms(5)
    result = compared(arm, control, 321)
    bits = [[token_metrics(scores_of(nll), 321) for nll in side] for side in (arm, control)]
    changes = {
        key: [getattr(a, key) - getattr(c, key) for a, c in zip(*bits, strict=True)]
        for key in ("bits_per_byte", "errors")
    }
    assert result.delta_bits_per_byte.per_seed == pytest.approx(changes["bits_per_byte"], rel=1e-5)
    assert result.delta_errors.per_seed == tuple(changes["errors"])
    assert result.delta_errors.ci95_total is None


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_identical_arms_show_nothing(seeds):
    _, control = arms(1, seeds)
    result = compared(control, control)
    assert result.verdict == "not shown"
    assert result.p_value == (None if seeds == 1 else 1)
    assert result.delta_bits_per_byte.mean == 0


def test_a_clear_win_helps_and_a_clear_loss_hurts():
    for seeds in (2, 3, 5):
        arm, control = arms(2, seeds, effect=-0.3)
        assert compared(arm, control).verdict == "helps"
        assert compared(control, arm).verdict == "hurts"


def test_the_same_change_of_every_token_helps():
    control = np.full((3, 10, 4), 2.0)
    result = compared(control - 0.5, control)
    assert result.verdict == "helps"
    assert result.p_value < 1e-9


@pytest.mark.parametrize(("seeds", "n"), [(1, 150), (3, 1)])
def test_one_seed_or_one_segment_shows_nothing(seeds, n):
    arm, control = arms(3, seeds, n, effect=-1.0)
    result = compared(arm, control)
    assert result.verdict == "not shown"
    assert result.delta_bits_per_byte.ci95_total is None
    assert result.delta_bits_per_byte.mean < 0


def test_seeds_that_disagree_show_nothing():
    arm, control = arms(4, 2)
    arm[0], arm[1] = control[0] - 0.3, control[1] + 0.28
    assert compared(arm, control).verdict == "not shown"


def test_a_gain_in_a_single_segment_shows_nothing():
    """It does so however often it is repeated: another text may have no such segment."""
    arm, control = arms(6, 5, 100, effect=0.0)
    arm, control = arm[[0] * 5] + 0.001 * (arm - control), control[[0] * 5]
    arm[:, 17] = control[:, 17] - 3.0
    result = compared(arm, control)
    assert result.delta_bits_per_byte.ci95[1] < 0
    assert result.verdict == "not shown"


def test_the_gap_and_its_interval():
    control, arm, teacher = (np.full((3, 2, 2), value) for value in (3.0, 2.0, 1.0))
    arm += np.array([0.0, 0.25, -0.5])[:, None, None]
    control[2] += 0.5
    result = compared(arm, control, teacher=teacher[0]).gap_closed
    shares = [(3.0 - 2.0) / 2.0, (3.0 - 2.25) / 2.0, (3.5 - 1.5) / 2.5]
    assert result.nll == pytest.approx((9.5 / 3 - 5.75 / 3) / (9.5 / 3 - 1))
    assert result.nll_ci95 == pytest.approx(
        [*stats.ttest_1samp(shares, 0).confidence_interval(0.95)], rel=1e-6
    )
    assert result.errors is None  # nobody is right at more than 0.7 nats
    for better in (
        None,
        np.full((2, 2), 3.2),
    ):  # no teacher; one that some controls are better than
        assert compared(arm, control, teacher=better).gap_closed.nll_ci95 is None
    assert compared(arm[:1], control[:1], teacher=teacher[0]).gap_closed.nll_ci95 is None


# False alarms -------------------------------------------------------------------------------------


def correlated(rng, *shape):
    """Noise of unit variance, of which a token shares 0.9 with the one before it: about 20 tokens
    hang together.
    """
    return lfilter([math.sqrt(1 - 0.81)], [1, -0.9], rng.normal(size=shape))


def null_study(kind, rng, seeds=3, n=100, t=32):
    """Differences of an arm and a control, equally good over all seeds and texts, nats ``[S, N,
    T]``.
    """
    of_text = correlated(rng, 1, n * t).reshape(1, n, t) if kind != "seeds" else 0.0
    of_seed = rng.normal(0, 0.05, (seeds, 1, 1)) if kind != "text" else 0.0
    return of_text + of_seed + 0.3 * rng.normal(size=(seeds, n, t))


def verdict_of(nll):
    """Of differences ``[S, N, T]`` from a control of 2 nats."""
    return compared(2.0 + nll, np.full(nll.shape, 2.0)).verdict


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("text", marks=pytest.mark.slow),
        pytest.param("seeds", marks=pytest.mark.slow),
        "both",
    ],
)
def test_false_alarms_among_tokens_that_depend_on_each_other(kind):
    """At most 5 % of studies without an effect get a verdict; tolerance: 3 binomial standard
    errors.
    """
    studies, rng = 150, np.random.default_rng(0)
    result = [null_study(kind, rng) for _ in range(studies)]
    rate = np.mean([verdict_of(nll) != "not shown" for nll in result])
    assert rate <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    if kind != "seeds":  # a test of single tokens would often be wrong here
        assert np.mean([stats.ttest_1samp(nll[0].ravel(), 0).pvalue < 0.05 for nll in result]) > 0.4


def test_a_small_effect_on_a_long_text_is_found():
    rng = np.random.default_rng(1)
    assert [verdict_of(null_study("both", rng, 5, 120, 64) - 0.2) for _ in range(20)].count(
        "helps"
    ) >= 18
