"""Soft losses of sparse targets, against the dense losses and against explicit buckets."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from support.tensors import few, randn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses import (
    Objective,
    SparseTargets,
    StackedObjective,
    cross_entropy,
    kl_divergence,
    sparse_cross_entropy,
    sparse_kl,
)
from limbeck.losses.sparse import soften

draws = st.integers(0, 10_000)


def targets_of(v, k, ids=None):
    """The K most probable classes of a teacher, or given ones, and the rest; float64."""
    log_p, classes = v.log_softmax(-1), v.shape[-1]
    ids = log_p.topk(k).indices if ids is None else ids
    rest = log_p.scatter(-1, ids, -math.inf)
    others = torch.where(rest > -math.inf, rest, 0.0).sum(-1) / max(classes - k, 1)
    return SparseTargets(
        ids, log_p.gather(-1, ids), torch.stack([rest.logsumexp(-1), others], -1), classes
    )


def sampled(v, k, seed=0):
    """K classes and weights that sum to 1."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.rand(v.shape, generator=generator).topk(k).indices
    weights = torch.rand(ids.shape, generator=generator, dtype=v.dtype)
    return SparseTargets(ids, (weights / weights.sum(-1, keepdim=True)).log(), None, v.shape[-1])


def gradient(loss, z, teacher, **settings):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(loss(z, teacher, **settings).sum(), z)[0]


def others_of(ids, classes):
    return torch.ones(*ids.shape[:-1], classes, dtype=torch.bool).scatter(-1, ids, False)


# With a tail --------------------------------------------------------------------------------------


@few
@given(draws, st.integers(1, 6), st.booleans())
def test_at_t_1_the_gradient_is_dense_for_the_classes_and_for_the_sum_of_the_rest(
    seed, k, any_classes
):
    z, v = randn(6, 9, seed=seed), randn(6, 9, seed=seed + 1)
    ids = (
        torch.rand(6, 9, generator=torch.Generator().manual_seed(seed)).topk(k).indices
        if any_classes
        else None
    )
    targets = targets_of(v, k, ids)
    dense = gradient(kl_divergence, z, v)
    rest = others_of(targets.ids, 9)
    for loss in (sparse_kl, sparse_cross_entropy):
        result = gradient(loss, z, targets)
        torch.testing.assert_close(
            result.gather(-1, targets.ids), dense.gather(-1, targets.ids), rtol=1e-9, atol=1e-13
        )
        torch.testing.assert_close(
            (result * rest).sum(-1), (dense * rest).sum(-1), rtol=1e-9, atol=1e-13
        )
        shape = (z.softmax(-1) * rest) / (z.softmax(-1) * rest).sum(
            -1, keepdim=True
        )  # the student's own tail
        torch.testing.assert_close(
            result * rest, (dense * rest).sum(-1, keepdim=True) * shape, rtol=1e-9, atol=1e-13
        )


@few
@given(draws, st.integers(1, 6))
def test_at_t_1_the_value_is_that_over_buckets(seed, k):
    z, v = randn(6, 9, seed=seed), randn(6, 9, seed=seed + 1)
    targets = targets_of(v, k)

    def buckets(logits):
        p = logits.softmax(-1).numpy()
        remaining = np.take_along_axis(p, targets.ids.numpy(), -1)
        return np.concatenate([remaining, 1 - remaining.sum(-1, keepdims=True)], -1)

    p, q = buckets(v), buckets(z)
    np.testing.assert_allclose(sparse_kl(z, targets), rel_entr(p, q).sum(-1), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        sparse_cross_entropy(z, targets), -(p * np.log(q)).sum(-1), rtol=1e-8
    )
    assert (sparse_kl(z, targets) <= kl_divergence(z, v) + 1e-12).all()


@few
@given(draws, st.floats(0.3, 20))
def test_all_but_one_class_or_all_of_them_are_the_dense_loss_at_any_temperature(seed, t):
    z, v = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 1)
    for k in (4, 5):
        targets = targets_of(v, k)
        for loss, dense in ((sparse_kl, kl_divergence), (sparse_cross_entropy, cross_entropy)):
            result, expected = loss(z, targets, temperature=t), dense(z, v, temperature=t)
            torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)
            slope = gradient(loss, z, targets, temperature=t), gradient(dense, z, v, temperature=t)
            torch.testing.assert_close(*slope, rtol=1e-8, atol=1e-12)


@few
@given(draws, st.integers(1, 6), st.floats(0.3, 20))
def test_zero_value_and_gradient_for_a_student_with_the_softened_buckets(seed, k, t):
    v = randn(6, 9, seed=seed)
    targets = targets_of(v, k)
    rest = others_of(targets.ids, 9)
    log_p = soften(targets, t)
    each = torch.where(rest, log_p[..., -1:] - math.log(9 - k), -math.inf)
    z = t * each.scatter(-1, targets.ids, log_p[..., :-1])
    torch.testing.assert_close(
        sparse_kl(z, targets, temperature=t), torch.zeros(6).double(), rtol=0, atol=1e-12
    )
    assert gradient(sparse_kl, z, targets, temperature=t).abs().max() < 1e-12


@pytest.mark.parametrize("t", [0.7, 1.5, 2.0, 4.0, 20.0])
def test_the_rest_of_normal_logits_is_known_at_every_temperature(t):
    """For normally distributed logits f is a parabola; the mass that a finite draw has differs by
    little.
    """
    v = randn(5, 200_000, scale=2.0)
    ids = torch.arange(12).expand(5, 12)  # any twelve, so that the rest stays normal
    result = soften(targets_of(v, 12, ids), t)
    log_p = (v / t).log_softmax(-1)
    expected = log_p.scatter(-1, ids, -math.inf).logsumexp(-1)
    torch.testing.assert_close(result[..., -1], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(result[..., :-1], log_p[..., :12], rtol=0, atol=0.1)


@few
@given(draws, st.floats(0.3, 20), st.floats(0.1, 6))
def test_the_rest_is_within_its_bounds(seed, t, scale):
    """Its sum of p^b is between n times that of their mean and, on either side of b = 1, (the sum
    of p)^b.
    """
    targets = targets_of(randn(6, 40, seed=seed, scale=scale), 4)
    log_p, b = soften(targets, t), 1 / t
    f = log_p[..., -1] - log_p[..., 0] + b * targets.log_p[..., 0]  # less the common normalisation
    mass, mean = targets.tail.unbind(-1)
    assert (log_p.exp().sum(-1) - 1).abs().max() < 1e-12
    sign = 1 if b > 1 else -1
    assert (sign * (f - b * mass) <= 1e-9).all()
    assert (f >= math.log(36) + b * mean - 1e-9).all() or b > 1


def test_a_rest_of_equal_classes_has_no_curvature():
    v = torch.cat([randn(6, 3), torch.full((6, 20), -1.0, dtype=torch.float64)], -1)
    targets = targets_of(v, 3, torch.arange(3).expand(6, 3))
    off = targets._replace(
        tail=targets.tail + torch.tensor([-1e-3, 0.0])
    )  # as rounding may: below the tangent
    for t in (0.5, 3.0):
        expected = (v / t).log_softmax(-1)[..., 3:].logsumexp(-1)
        torch.testing.assert_close(soften(targets, t)[..., -1], expected)
        assert soften(off, t).isfinite().all()


@pytest.mark.parametrize(
    "tail", [(-math.inf, -math.inf), (-math.inf, -90.0), (-3.0, -math.inf), (-65504.0, -65504.0)]
)
@pytest.mark.parametrize("t", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("loss", [sparse_kl, sparse_cross_entropy])
def test_a_rest_without_mass_or_with_excluded_classes_gives_finite_values(tail, t, loss):
    log_p = torch.tensor([[0.7, 0.3]]).log()
    targets = SparseTargets(torch.tensor([[4, 1]]), log_p, torch.tensor([tail]), 9)
    z = randn(1, 9).float().requires_grad_()
    value = loss(z, targets, temperature=t)
    value.sum().backward()
    assert value.isfinite().all()
    assert z.grad.isfinite().all()
    if t == 1:
        expected = [*log_p[0].exp().tolist(), math.exp(tail[0])]
        assert soften(targets, t)[0].exp().tolist() == pytest.approx(
            [p / sum(expected) for p in expected], abs=1e-6
        )


@pytest.mark.parametrize("rest", [1e-3, 1e-7, 1e-12, 1e-30])
def test_a_tiny_rest_is_exact_in_float32(rest):
    """1 less the others' probabilities would be 0 or noise here."""
    z = torch.full((1, 1000), math.log(rest / 998), dtype=torch.float64)
    z[0, 10], z[0, 700] = math.log(0.6), math.log(0.4)
    targets = targets_of(randn(1, 1000), 2, torch.tensor([[10, 700]]))
    expected, slope = sparse_kl(z, targets), gradient(sparse_kl, z, targets)
    single = targets._replace(log_p=targets.log_p.float(), tail=targets.tail.float())
    result = sparse_kl(z.float(), single)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        gradient(sparse_kl, z.float(), single).double(), slope, rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("t", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tail", [True, False])
def test_huge_logits_stay_finite(t, dtype, tail):
    z = torch.tensor(
        [[1e4, -1e4, 0.0, 5.0], [-1e4, 1e4, 1e4, 0.0], [1e4, 1e4, 1e4, 1e4]], dtype=dtype
    )
    for v in (z, -z, z.flip(-1)):
        targets = targets_of(v.double(), 2)
        if not tail:
            targets = targets._replace(log_p=targets.log_p.log_softmax(-1), tail=None)
        for loss in (sparse_kl, sparse_cross_entropy):
            result = gradient(loss, z, targets, temperature=t)
            assert loss(z, targets, temperature=t).isfinite().all()
            assert result.isfinite().all()
            assert result.dtype == dtype


@pytest.mark.parametrize("loss", [sparse_kl, sparse_cross_entropy])
@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("t", [1.0, 3.0])
def test_gradcheck(loss, tail, t):
    z, v = randn(3, 6, scale=1.0).requires_grad_(), randn(3, 6, seed=1, scale=1.0)
    targets = targets_of(v, 2) if tail else sampled(v, 2)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets, temperature=t), (z,))


def test_the_loss_is_infinite_only_if_the_student_alone_excludes_a_class():
    z, v = randn(2, 6), randn(2, 6, seed=1)
    z[:, 0] = -math.inf
    v[1, 0] = -math.inf
    result = sparse_kl(z, targets_of(v, 6))
    torch.testing.assert_close(result, kl_divergence(z, v))
    assert result.isfinite().tolist() == [False, True]
    z[:, 1:] = -math.inf
    z[:, 5] = 1.0
    targets = targets_of(v, 1, torch.full((2, 1), 5))
    assert (sparse_kl(z, targets) == math.inf).all()  # the student excludes all of the rest


# Sampled ------------------------------------------------------------------------------------------


@few
@given(draws, st.integers(1, 9), st.floats(0.3, 20))
def test_a_sample_is_a_cross_entropy_with_its_weights(seed, k, t):
    z = randn(6, 9, seed=seed)
    targets = sampled(z, k, seed)
    log_q, w = (z / t).log_softmax(-1).gather(-1, targets.ids), targets.log_p.exp()
    expected = -(w * log_q).sum(-1)
    torch.testing.assert_close(sparse_cross_entropy(z, targets, temperature=t), expected)
    entropy = -(w * targets.log_p).sum(-1)
    torch.testing.assert_close(
        sparse_kl(z, targets, temperature=t), expected - entropy, rtol=1e-9, atol=1e-12
    )
    dense = torch.zeros(6, 9, dtype=torch.float64).scatter(-1, targets.ids, w)
    expected_grad = ((z / t).softmax(-1) - dense) / t
    for loss in (sparse_kl, sparse_cross_entropy):
        torch.testing.assert_close(
            gradient(loss, z, targets, temperature=t), expected_grad, rtol=1e-9, atol=1e-12
        )


def test_draws_from_the_teacher_give_the_dense_gradient_on_average():
    """Each of V classes drawn once in so many, with all its weight: the mean of the gradients is
    the dense one.
    """
    z, v = randn(1, 5), randn(1, 5, seed=1)
    p = (v / 2).softmax(-1)[0]
    one = torch.zeros(1, 1, dtype=torch.float64)
    each = [
        gradient(sparse_kl, z, SparseTargets(torch.tensor([[c]]), one, None, 5), temperature=2.0)
        for c in range(5)
    ]
    mean = sum(share * slope for share, slope in zip(p, each, strict=True))
    torch.testing.assert_close(mean, gradient(kl_divergence, z, v, temperature=2.0))


def test_the_class_of_a_zero_weight_does_not_matter():
    z = randn(2, 6)
    log_w = torch.tensor([[0.5, 0.5, 0.0]] * 2).double().log()
    first = SparseTargets(torch.tensor([[1, 3, 0]] * 2), log_w, None, 6)
    second = SparseTargets(torch.tensor([[1, 3, 1]] * 2), log_w, None, 6)
    assert torch.equal(sparse_kl(z, first), sparse_kl(z, second))
    torch.testing.assert_close(gradient(sparse_kl, z, first), gradient(sparse_kl, z, second))


# In a cohort --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [True, False])
def test_arms_and_seeds_equal_each_alone(tail):
    arms = [
        Objective(temperature=1.0),
        Objective(hard_weight=1, soft_weight=0),
        Objective(temperature=3.0),
        Objective(soft="cross_entropy", temperature=2.0),
        Objective(soft="cross_entropy", scale_by_t2=False),
    ]
    z, v = randn(5, 2, 6, 9), randn(2, 6, 9, seed=1)
    y = torch.randint(0, 9, (2, 6), generator=torch.Generator().manual_seed(2))
    targets = targets_of(v, 3) if tail else sampled(v, 3)
    for logits in (z, z.mT.contiguous().mT):
        logits = logits.requires_grad_()
        result = StackedObjective(arms)(logits, targets, y)
        slope = torch.autograd.grad(result.loss.sum(), logits)[0]
        for arm, objective in enumerate(arms):
            for s in range(2):
                alone = z[arm, s].detach().clone().requires_grad_()
                expected = objective(alone, targets.map(lambda t, s=s: t[s]), y[s])
                torch.testing.assert_close([term[arm, s] for term in result], list(expected))
                torch.testing.assert_close(
                    slope[arm, s], torch.autograd.grad(expected.loss, alone)[0]
                )


def test_one_teacher_for_all_seeds():
    z, v, y = randn(2, 3, 6, 9), randn(6, 9, seed=1), torch.zeros(3, 6, dtype=torch.long)
    arms = StackedObjective([Objective(), Objective(temperature=2.0)])
    result = arms(z, targets_of(v, 3), y)
    expected = arms(z, targets_of(v.expand(3, 6, 9), 3), y)
    torch.testing.assert_close(list(result), list(expected))


def test_half_precision_under_autocast():
    z, v, y = randn(6, 9).bfloat16(), randn(6, 9, seed=1), torch.zeros(6, dtype=torch.long)
    targets = targets_of(v, 3).map(lambda t: t if t.dtype == torch.int64 else t.float())
    with torch.autocast("cpu", torch.bfloat16):
        result = Objective()(z, targets, y)
    assert {term.dtype for term in result} == {torch.float32}
    expected = Objective()(z.double(), targets_of(v, 3), y)
    torch.testing.assert_close(
        [term.double() for term in result], list(expected), rtol=5e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"soft": kind}, f"objective.soft={kind} needs")
        for kind in ("probabilities", "logits", "dkd", "dist", "reverse_kl", "jensen_shannon")
    ]
    + [({"standardise": True}, "objective.standardise=true needs")],
)
def test_losses_that_need_all_classes_are_refused(settings, setting):
    z, targets, y = (
        randn(2, 6, 9),
        targets_of(randn(6, 9, seed=1), 3),
        torch.zeros(6, dtype=torch.long),
    )
    with pytest.raises(
        TeacherError, match=rf"{setting} the teacher's whole distribution.*store.kind=dense"
    ):
        StackedObjective([Objective(), Objective(**settings)])(z, targets, y)


def test_the_most_probable_classes_are_refused_below_t_1():
    """For normal logits without their largest the rest at T = 0.5 is 10 times as large as it is."""
    v = randn(8, 4096)
    targets = targets_of(v, 12)
    rest = (v / 0.5).log_softmax(-1).scatter(-1, targets.ids, -math.inf).exp().sum(-1).mean()
    assert soften(targets, 0.5)[..., -1].exp().mean() > 5 * rest
    z, y = randn(8, 4096, seed=1), torch.zeros(8, dtype=torch.long)
    cold = Objective(temperature=0.5)
    with pytest.raises(ConfigError, match=r"temperature=0\.5 is below 1.*dense or sampled"):
        StackedObjective([Objective(), cold])(z.expand(2, 8, 4096), targets, y)
    assert cold(z, sampled(v, 12), y).loss.isfinite()
    z, v = z[:, :5], v[:, :5]
    torch.testing.assert_close(cold(z, targets_of(v, 4), y).soft, cold(z, v, y).soft)


def test_other_classes_than_the_teacher_are_a_teacher_error():
    with pytest.raises(TeacherError, match="9 classes and the student 8"):
        Objective()(randn(6, 8), targets_of(randn(6, 9), 3), torch.zeros(6, dtype=torch.long))


def test_map_applies_to_each_tensor():
    with_tail, without = targets_of(randn(6, 9), 3), sampled(randn(6, 9), 3)
    result = with_tail.map(lambda t: t.view(2, 3, -1))
    assert [tuple(t.shape) for t in result[:3]] == [(2, 3, 3), (2, 3, 3), (2, 3, 2)]
    assert result.classes == 9
    result = without.map(lambda t: t[:2])
    assert result.tail is None
    assert torch.equal(result.ids, without.ids[:2])
    assert torch.equal(result.log_p, without.log_p[:2])
