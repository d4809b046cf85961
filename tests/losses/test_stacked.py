"""A stack of objectives gives each arm the same as its objective alone."""

import pickle
from itertools import permutations

import pytest
import torch
from support.tensors import randn, some_labels

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses import Objective, StackedObjective

ARMS = [
    Objective(soft="logits", temperature=2.0),
    Objective(hard_weight=1, soft_weight=0),
    Objective(temperature=8.0, hard_weight=0.5, soft_weight=0.5),
    Objective(soft="probabilities", temperature=3.0, scale_by_t2=False),
    Objective(soft="logits", temperature=5.0, scale_by_t2=False, soft_weight=2.0),
    Objective(hard_weight=0.7, soft_weight=0),
    Objective(temperature=1.5, hard_weight=0, soft_weight=1),
    Objective(soft="cross_entropy", temperature=4.0),
    Objective(temperature=3.0, scale_by_t2=False),
]
CONTROLS = [Objective(hard_weight=1, soft_weight=0), Objective(hard_weight=2, soft_weight=0)]
SEVERAL = {
    "mixed": ARMS,
    "reversed": ARMS[::-1],
    "one": ARMS[:1],
    "one kind": [Objective(temperature=t) for t in (1, 2, 20)],
    "control last": [Objective(), Objective(temperature=2), *CONTROLS],
    "control first": [*CONTROLS, Objective(), Objective(temperature=2)],
    "two kinds in turn": [
        Objective(soft=s, temperature=t) for t in (1, 4) for s in ("kl", "logits")
    ],
    "controls only": CONTROLS,
}


def batch(arms, seeds=(2,), size=6, classes=5):
    z, v = randn(arms, *seeds, size, classes), randn(*seeds, size, classes, seed=1)
    y = torch.randint(0, classes, (*seeds, size), generator=torch.Generator().manual_seed(2))
    y[..., 1] = -100
    return z, v, y


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("seeds", [(), (1,), (2,), (2, 3)])
def test_equals_each_objective_alone(name, seeds):
    objectives = SEVERAL[name]
    z, v, y = batch(len(objectives), seeds)
    stacked = z.clone().requires_grad_()
    result = StackedObjective(objectives)(stacked, v, y)
    assert [term.shape for term in result] == [(len(objectives), *seeds)] * 3
    result.loss.sum().backward()
    for arm, objective in enumerate(objectives):
        alone = z[arm].clone().requires_grad_()
        expected = objective(alone, v, y)
        expected.loss.sum().backward()
        reference = (
            expected._replace(hard=result.hard[arm].detach())
            if objective.hard_weight == 0
            else expected
        )
        torch.testing.assert_close(
            [term[arm] for term in result], list(reference), rtol=1e-12, atol=1e-14
        )
        torch.testing.assert_close(stacked.grad[arm], alone.grad, rtol=1e-12, atol=1e-16)


def test_equals_the_oracle(oracle):
    z, v, y = batch(len(ARMS))
    result = StackedObjective(ARMS)(z, v, y)
    for arm, objective in enumerate(ARMS):
        for s in range(2):
            expected = oracle.objective(
                z[arm, s].numpy(), v[s].numpy(), y[s].numpy(), **objective.as_dict()
            )
            assert [term[arm, s].item() for term in result] == pytest.approx(expected, rel=1e-10)


def test_any_order_of_arms():
    arms = [ARMS[0], ARMS[1], ARMS[2], ARMS[4]]
    z, v, y = batch(4)
    expected = StackedObjective(arms)(z, v, y)
    for order in map(list, permutations(range(4))):
        result = StackedObjective([arms[i] for i in order])(z[order], v, y)
        torch.testing.assert_close(
            list(result), [term[order] for term in expected], rtol=1e-12, atol=1e-14
        )


def test_an_arms_gradient_stays_its_own():
    z, v, y = batch(len(ARMS))
    z.requires_grad_()
    StackedObjective(ARMS)(z, v, y).loss[3].sum().backward()
    touched = z.grad.abs().flatten(1).sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [3]


def test_one_teacher_for_all_seeds():
    z, v, y = batch(len(ARMS), seeds=(3,))
    stacked = StackedObjective(ARMS)
    shared = stacked(z, v[0], y)
    torch.testing.assert_close(shared, stacked(z, v[:1].expand_as(v), y))


def test_terms_are_float32_for_half_precision_under_autocast():
    z, v, y = batch(len(ARMS))
    half = z.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = StackedObjective(ARMS)(half, v.bfloat16(), y)
    assert {term.dtype for term in result} == {torch.float32}
    result.loss.sum().backward()
    assert half.grad.isfinite().all()
    expected = StackedObjective(ARMS)(half.detach().double(), v.bfloat16().double(), y)
    torch.testing.assert_close(result.loss.double(), expected.loss, rtol=2e-5, atol=1e-6)


def test_serves_other_dtypes_and_shapes_one_after_the_other():
    z, v, y = batch(len(ARMS))
    stacked = StackedObjective(ARMS)
    expected = stacked(z, v, y).loss
    assert expected.dtype == torch.float64
    single = stacked(z.float(), v.float(), y).loss
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(stacked(z[:, 0], v[0], y[0]).loss, expected[:, 0])
    assert torch.equal(stacked(z, v, y).loss, expected)


def test_a_validation_step_in_inference_mode_does_not_spoil_training():
    z, v, y = batch(len(ARMS))
    stacked = StackedObjective(ARMS)
    with torch.inference_mode():
        expected = stacked(z, v, y).loss.sum().item()
    z.requires_grad_()
    loss = stacked(z, v, y).loss.sum()
    loss.backward()
    assert loss.item() == expected
    assert z.grad.isfinite().all()


def test_no_gradient_reaches_the_teacher():
    z, v, y = batch(len(ARMS))
    v.requires_grad_()
    StackedObjective(ARMS)(z.requires_grad_(), v, y).loss.sum().backward()
    assert v.grad is None


def test_controls_alone_need_no_teacher():
    z, v, y = batch(2)
    stacked = StackedObjective(CONTROLS)
    assert not stacked.needs_teacher
    result = stacked(z, None, y)
    assert torch.equal(result.loss, stacked(z, v, y).loss)
    assert (result.soft == 0).all()


def test_one_distilled_arm_needs_a_teacher():
    z, _, y = batch(3)
    stacked = StackedObjective([*CONTROLS, Objective()])
    assert stacked.needs_teacher
    with pytest.raises(TeacherError):
        stacked(z, None, y)


def test_other_classes_than_the_teacher_are_a_teacher_error():
    z, v, y = batch(3)
    with pytest.raises(TeacherError, match="4 classes and the student 5"):
        StackedObjective([*CONTROLS, Objective()])(z, v[..., :4], y)


def test_an_empty_cohort_is_refused():
    with pytest.raises(ConfigError):
        StackedObjective([])


@pytest.mark.parametrize("arms", [1, 2, 4])
def test_logits_of_more_or_fewer_arms_are_refused(arms):
    """Logits of two arms must not be taken for those of the two distilled arms."""
    z, v, y = batch(arms)
    stacked = StackedObjective([CONTROLS[0], Objective(temperature=2), Objective(temperature=3)])
    with pytest.raises(ValueError, match=f"3 arms, got {arms}"):
        stacked(z, v, y)


def test_can_be_pickled_after_use():
    z, v, y = batch(len(ARMS))
    stacked = StackedObjective(ARMS)
    expected = stacked(z, v, y)
    torch.testing.assert_close(pickle.loads(pickle.dumps(stacked))(z, v, y), expected)


# DKD, DIST and standardised logits ----------------------------------------------------------------

OTHER_ARMS = [
    Objective(soft="dkd", temperature=3.0, nontarget_weight=2.0),
    Objective(),
    Objective(soft="dist", temperature=2.0),
    Objective(standardise=True, temperature=1.5),
    Objective(soft="dkd", target_weight=0.0),
    Objective(hard_weight=1, soft_weight=0),
    Objective(soft="dkd", standardise=True),
    Objective(soft="dist", scale_by_t2=False, soft_weight=3.0),
    Objective(soft="cross_entropy", standardise=True),
]


def test_arms_with_other_losses_equal_each_alone(oracle):
    z, v = randn(len(OTHER_ARMS), 2, 6, 5), randn(2, 6, 5, seed=1)
    y = torch.stack([some_labels(6), some_labels(6, seed=1)])
    z.requires_grad_()
    result = StackedObjective(OTHER_ARMS)(z, v, y)
    result.loss.sum().backward()
    for arm, objective in enumerate(OTHER_ARMS):
        alone = z[arm].detach().clone().requires_grad_()
        expected = objective(alone, v, y)
        expected.loss.sum().backward()
        torch.testing.assert_close(
            [term[arm] for term in result], list(expected), rtol=1e-11, atol=1e-13
        )
        torch.testing.assert_close(z.grad[arm], alone.grad, rtol=1e-10, atol=1e-14)
        for s in range(2):
            numbers = z[arm, s].detach().numpy(), v[s].numpy(), y[s].numpy()
            reference = oracle.objective(*numbers, **objective.as_dict())
            assert [term[arm, s].item() for term in result] == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize("objective", OTHER_ARMS)
def test_order_in_memory_does_not_change_the_loss(objective):
    """The logits of stacked layers have the samples next to each other in memory."""
    z, v, y = randn(1, 6, 5), randn(6, 5, seed=1), some_labels(6)
    turned = z.mT.contiguous().mT
    assert turned.stride() != z.stride()
    result, expected = (StackedObjective([objective])(x, v, y).loss for x in (turned, z))
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("objective", OTHER_ARMS)
def test_autocast_and_half_precision_stay_in_float32(objective):
    z, v, y = (
        randn(6, 5).bfloat16().requires_grad_(),
        randn(6, 5, seed=1).bfloat16(),
        some_labels(6),
    )
    with torch.autocast("cpu", torch.bfloat16):
        result = objective(z, v, y)
    assert {term.dtype for term in result} == {torch.float32}
    expected = objective(z.detach().double(), v.double(), y)
    torch.testing.assert_close(result.loss.double(), expected.loss, rtol=5e-5, atol=1e-6)
    result.loss.backward()
    assert z.grad.isfinite().all()
