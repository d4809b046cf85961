import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from limbeck.evaluation.bias import bias_chosen_on_test, class_prior, prior_bias, recall


def problem(seed, samples=50, classes=5, spread=3.0):
    draw = np.random.default_rng(seed)
    return spread * draw.normal(size=(samples, classes)), draw.dirichlet(
        np.full(classes, 2.0)
    ).clip(1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_constants_equal_those_of_scipy(seed):
    z, prior = problem(seed)
    prior = prior / prior.sum()
    optimum = minimize(
        lambda b: logsumexp(z + b, axis=1).mean() - prior @ b,
        np.zeros(5),
        method="BFGS",
        options={"gtol": 1e-9},
        jac=lambda b: softmax(z + b, axis=1).mean(0) - prior,
    )
    ours = prior_bias(torch.from_numpy(z), torch.from_numpy(prior)).numpy()
    assert ours == pytest.approx(optimum.x - optimum.x.mean(), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 12), spread=st.floats(0.01, 12))
def test_the_mean_softmax_is_the_prior(seed, classes, spread):
    z, prior = problem(seed, 40, classes, spread)
    prior = torch.from_numpy(prior / prior.sum())
    z = torch.from_numpy(z)
    bias = prior_bias(z, prior)
    assert torch.softmax(z + bias, -1).mean(0).numpy() == pytest.approx(prior.numpy(), abs=1e-7)
    assert float(bias.mean()) == pytest.approx(0, abs=1e-9)
    shifted = prior_bias(z - 3 * torch.arange(float(classes)), prior) - 3 * torch.arange(
        float(classes)
    )
    assert (shifted - shifted.mean()).numpy() == pytest.approx(bias.numpy(), abs=1e-4), (
        "constants undo constants"
    )


def test_equal_inputs_need_the_logarithms_of_the_prior():
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    bias = prior_bias(torch.tensor([[4.0, -2.0, 0.5]]).expand(7, 3), prior)
    want = prior.log() - torch.tensor([4.0, -2.0, 0.5])
    assert bias.numpy() == pytest.approx((want - want.mean()).numpy(), abs=1e-9)


def test_a_class_that_was_never_seen_is_raised_from_far_below():
    """The logits of the last class are 30 too low, for which its constant has to make up."""
    labels = torch.arange(300) % 3
    z = 8.0 * torch.nn.functional.one_hot(labels, 3).double()
    z[:, 2] -= 30
    bias = prior_bias(z, class_prior(labels, 3))
    assert recall(z, labels) == [1.0, 1.0, 0.0]
    assert recall(z + bias, labels) == [1.0, 1.0, 1.0]
    assert float(bias[2] - bias[0]) == pytest.approx(30, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(3, 8),
    spread=st.floats(0.1, 12),
    data=st.data(),
)
def test_present_classes_keep_their_logits(seed, classes, spread, data):
    z, prior = (torch.from_numpy(part) for part in problem(seed, 40, classes, spread))
    prior = prior / prior.sum()
    absent = sorted(
        data.draw(st.sets(st.integers(0, classes - 1), min_size=1, max_size=classes - 1))
    )
    bias = prior_bias(z, prior, absent)
    present = [c for c in range(classes) if c not in absent]
    assert bias[present].eq(0).all()
    assert torch.softmax(z + bias, -1).mean(0)[absent].numpy() == pytest.approx(
        prior[absent].numpy(), abs=1e-7
    )
    if len(present) == 1:
        whole = prior_bias(z, prior)
        assert bias.numpy() == pytest.approx((whole - whole[present[0]]).numpy(), abs=1e-4)


def test_prior_of_classes():
    assert class_prior(torch.tensor([0, 0, 0, 1]), 2).tolist() == [0.75, 0.25]
    assert class_prior(torch.tensor([0, 0, 0, 1]), 3).tolist() == [3 / 4.5, 1 / 4.5, 0.5 / 4.5]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), whole=st.booleans(), data=st.data())
def test_no_other_constant_makes_fewer_errors(seed, classes, whole, data):
    draw = torch.Generator().manual_seed(seed)
    z = 4 * torch.randn(20, classes, generator=draw)
    z = z.round() if whole else z
    labels = torch.randint(classes, (20,), generator=draw)
    absent = sorted(
        data.draw(st.sets(st.integers(0, classes - 1), min_size=1, max_size=classes - 1))
    )
    bias = bias_chosen_on_test(z, labels, absent)
    present = [c for c in range(classes) if c not in absent]
    assert bias[present].eq(0).all()
    assert len(set(bias[absent].tolist())) == 1

    def wrong(constant):
        moved = z.double()
        moved[:, absent] += constant
        return int((moved.argmax(-1) != labels).sum())

    turns = (z[:, :, None] - z[:, None]).double().flatten().unique()
    between = torch.cat([turns[:1] - 1, (turns[1:] + turns[:-1]) / 2, turns[-1:] + 1])
    assert wrong(float(bias[absent[0]])) == min(wrong(float(c)) for c in between)


def test_recall_of_a_class_without_samples():
    assert recall(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 0, 1])) == [0.5, 1.0, None]


def test_rows_that_are_not_finite_do_not_spoil_the_constants():
    z, prior = problem(0)
    logits, prior = torch.from_numpy(z), torch.from_numpy(prior / prior.sum())
    expected = prior_bias(logits[1:], prior)
    logits[0, 2] = torch.nan
    torch.testing.assert_close(prior_bias(logits, prior), expected)
    assert not prior_bias(torch.full((4, 5), torch.nan), prior).any()
