"""Stacked GPTs against each student by itself and against ``vmap``."""

import copy

import pytest
import torch
import torch.nn.functional as F
from support.plain_loop import Loader, far, trainer
from torch import nn

from limbeck import DistillationModule, Objective
from limbeck._base.errors import ConfigError
from limbeck.data.batches import Batch
from limbeck.models import GPT
from limbeck.models import gpt as gpt_module
from limbeck.training.cohort.gpt import StackedGPT
from limbeck.training.cohort.layers import stacked_forward
from limbeck.training.cohort.randomness import SeedStreams
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack

LENGTH, CLASSES = 6, 9


def small_gpt(seed, *, dropout=0.0, **options):
    torch.manual_seed(seed)
    model = GPT(
        (LENGTH,), CLASSES, **{"width": 8, "layers": 2, "heads": 2, **options}, dropout=dropout
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


def grid_of(arms, seeds, **options):
    return [[small_gpt(10 * arm + seed, **options) for seed in range(seeds)] for arm in range(arms)]


def answers(cohort, ids, inputs):
    cohort.zero_grad()
    logits = cohort(ids)
    (logits * inputs).sum().backward()
    return logits.detach(), [p.grad.clone() for p in cohort.stacked]


@pytest.mark.parametrize(("arms", "seeds"), [(1, 2), (3, 1), (2, 3)])
@pytest.mark.parametrize("length", [LENGTH, 1, 4])
def test_forward_and_gradients_are_those_of_each_alone(arms, seeds, length):
    members = [[member.double() for member in row] for row in grid_of(arms, seeds)]
    cohort = Cohort(members)
    assert isinstance(cohort._stacked_forward, StackedGPT)
    ids = torch.randint(CLASSES, (seeds, 5, length))
    inputs = torch.randn(arms, seeds, 5, length, CLASSES, dtype=torch.float64)
    logits, gradients = answers(cohort, ids, inputs)
    assert logits.shape == inputs.shape
    names = cohort._parameter_names
    for arm, row in enumerate(members):
        for seed, member in enumerate(row):
            alone = member(ids[seed])
            (alone * inputs[arm, seed]).sum().backward()
            torch.testing.assert_close(logits[arm, seed], alone.detach(), rtol=1e-10, atol=1e-12)
            for name, gradient in zip(names, gradients, strict=True):
                expected = member.get_parameter(name).grad
                torch.testing.assert_close(gradient[seed, arm], expected, rtol=1e-10, atol=1e-11)


def test_it_is_what_vmap_gives():
    cohort = Cohort(grid_of(2, 2)).double()
    ids, inputs = (
        torch.randint(CLASSES, (2, 3, LENGTH)),
        torch.randn(2, 2, 3, LENGTH, CLASSES, dtype=torch.float64),
    )
    result = answers(cohort, ids, inputs)
    cohort._stacked_forward = None
    torch.testing.assert_close(result, answers(cohort, ids, inputs), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_in_float32_it_is_each_alone_to_rounding(kind):
    cohort = Cohort(grid_of(2, 3))
    ids = torch.randint(CLASSES, (3, 5, LENGTH)).to(kind)
    logits = cohort(ids)
    for arm, seed, member in cohort.members():
        torch.testing.assert_close(logits[arm, seed], member(ids[seed]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("longest", [0, 512])
def test_in_autocast_it_computes_in_bfloat16(longest, monkeypatch):
    """Both forms of attention; the weights keep float32 gradients that are near the exact ones."""
    monkeypatch.setattr(gpt_module, "MAX_PLAIN_LENGTH", longest)
    cohort, ids = Cohort(grid_of(2, 2)), torch.randint(CLASSES, (2, 16, LENGTH))
    inputs = torch.randn(2, 2, 16, LENGTH, CLASSES)
    exact, expected = answers(cohort, ids, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result, gradients = answers(cohort, ids, inputs)
    assert result.dtype == torch.bfloat16
    assert (result - exact).norm() / exact.norm() < 0.02
    for gradient, theirs in zip(gradients, expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - theirs).norm() / theirs.norm() < 0.05


def test_tied_weights_are_one_parameter_and_members_keep_them_so():
    cohort = Cohort(grid_of(2, 2))
    assert len(cohort.stacked) == len(list(small_gpt(0).parameters()))
    member = cohort.member(1, 1)
    assert member.last_layer().weight is member.tokens.weight
    assert torch.equal(member.tokens.weight, small_gpt(11).tokens.weight)


def test_trained_together_is_trained_alone():
    """All arms and seeds, each with its own batches, through the whole training loop."""
    objectives = [
        Objective(hard_weight=1.0, soft_weight=0.0),
        Objective(hard_weight=0.3, soft_weight=0.7),
    ]
    torch.manual_seed(1)
    ids = torch.randint(CLASSES, (12, 2, 4, LENGTH + 1))  # steps, seeds, batch, tokens
    batches = [Batch(step[..., :-1], step[..., 1:].clone()) for step in ids]
    teacher = small_gpt(99, width=16).double().requires_grad_(False)

    def optimizer(parameters):
        return torch.optim.Adam(parameters, lr=0.01)

    alone = [[member.double() for member in row] for row in grid_of(2, 2)]
    cohort = Cohort(copy.deepcopy(alone))
    module = DistillationModule(cohort, teacher, objectives, optimizer=optimizer, seeds=[0, 1])
    trainer(max_epochs=1, precision="64-true").fit(module, Loader(batches))
    for arm, objective in enumerate(objectives):
        for seed in range(2):
            student = alone[arm][seed]
            own = optimizer(student.parameters())
            for batch in batches:
                own.zero_grad()
                z, v = student(batch.x[seed]).flatten(0, 1), teacher(batch.x[seed]).flatten(0, 1)
                loss = objective.hard_weight * F.cross_entropy(z, batch.y[seed].flatten())
                if objective.soft_weight:
                    t = objective.temperature
                    soft = F.kl_div(
                        F.log_softmax(z / t, -1), F.softmax(v / t, -1), reduction="batchmean"
                    )
                    loss = loss + objective.soft_weight * t * t * soft
                loss.backward()
                own.step()
            trained = cohort.member(arm, seed).double()
            assert far(trained, grid_of(2, 2)[arm][seed].double()) > 1e-3, "it did not learn"
            assert far(trained, student) < 1e-8


def test_each_seed_has_dropout_of_its_own():
    torch.manual_seed(0)
    cohort = Cohort([[small_gpt(0, dropout=0.5) for _ in range(2)] for _ in range(2)]).train()
    ids = torch.randint(CLASSES, (1, 8, LENGTH)).expand(2, -1, -1)
    first, second = cohort(ids)[0]
    assert (first - second).abs().mean() > 1e-3
    cohort.eval()
    logits = cohort(ids).flatten(0, 1)
    assert all(torch.equal(logits[0], other) for other in logits)
    cohort.train()
    assert not torch.equal(cohort(ids), cohort(ids))


def test_dropout_has_the_share_and_the_mean_of_one_alone():
    """The embedding's dropout alone reaches features that nothing else changes: a model of silent
    blocks.
    """
    model = small_gpt(0, dropout=0.25, width=64)
    with torch.no_grad():
        for block in model.blocks:
            block.out.weight.zero_()
            block.down.weight.zero_()
        model.tokens.weight.fill_(1.0)
        model.positions.weight.zero_()
    cohort = Cohort([[model, copy.deepcopy(model)]]).train()
    ids = torch.zeros(2, 200, LENGTH, dtype=torch.int64)
    left = cohort._stacked_forward._features(cohort._parameters_by_name(), ids, SeedStreams(2))
    share = (left == 0).double().mean(dim=(1, 2))
    assert bool(
        ((share - 0.25).abs() < 5 * (0.25 * 0.75 / left[0].numel()) ** 0.5).all()
    )  # five standard errors
    assert left.max().item() == pytest.approx(1 / 0.75)


def test_a_part_in_eval_mode_stays_in_it():
    def make():
        model = small_gpt(0, dropout=0.5)
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.eval()
        return model

    cohort = Cohort([[make()], [make()]]).eval().train()
    ids = torch.randint(CLASSES, (1, 4, LENGTH))
    assert torch.equal(cohort(ids), cohort(ids))


def test_frozen_weights_stay_and_the_others_learn():
    members = grid_of(2, 1)
    for (member,) in members:
        member.tokens.weight.requires_grad_(False)
    cohort = Cohort(members)
    cohort(torch.randint(CLASSES, (1, 4, LENGTH))).square().sum().backward()
    gradients = dict(zip(cohort._parameter_names, (p.grad for p in cohort.stacked), strict=True))
    assert gradients.pop("tokens.weight") is None
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients.values())


def test_gradients_are_clipped_per_student():
    cohort, ids = Cohort(grid_of(2, 2)), torch.randint(CLASSES, (2, 4, LENGTH))
    scale = torch.tensor([1.0, 1e-6]).view(2, 1, 1, 1, 1)
    (cohort(ids) * scale).square().sum().backward()
    before = [p.grad.clone() for p in cohort.stacked]
    cohort.clip_gradients(0.1)
    norm = torch.stack([p.grad.flatten(2).norm(dim=2) for p in cohort.stacked]).norm(dim=0)
    torch.testing.assert_close(norm[:, 0], torch.full((2,), 0.1))
    assert all(
        torch.equal(p.grad[:, 1], own[:, 1]) for p, own in zip(cohort.stacked, before, strict=True)
    )


def test_what_is_no_plain_gpt_is_left_to_vmap():
    assert stacked_forward(small_gpt(0)) is not None
    exchanged = small_gpt(0)
    exchanged.blocks[0].up = nn.Linear(8, 32)
    hooked = small_gpt(0)
    hooked.blocks[1].register_forward_hook(lambda *_: None)

    class Mine(GPT):
        pass

    subclass = Mine((LENGTH,), CLASSES, width=8)
    assert [stacked_forward(model) for model in (exchanged, hooked, subclass)] == [None] * 3
    cohort = Cohort([[copy.deepcopy(exchanged), copy.deepcopy(exchanged)]])
    ids = torch.randint(CLASSES, (2, 3, LENGTH))
    torch.testing.assert_close(cohort(ids)[0, 1], exchanged(ids[1]), rtol=1e-5, atol=1e-5)


def test_different_students_are_refused():
    for other in (
        small_gpt(0, width=12),
        small_gpt(0, layers=1),
        small_gpt(0, heads=4),
        small_gpt(0, dropout=0.1),
    ):
        with pytest.raises(ConfigError, match="same layers"):
            Cohort([[small_gpt(0)], [other]])
    assert reason_not_to_stack(small_gpt(0), 1000) is None


def test_blocks_that_are_too_long():
    with pytest.raises(ConfigError, match="longer than the model's 6 positions"):
        Cohort(grid_of(1, 2))(torch.zeros(2, 1, LENGTH + 1, dtype=torch.int64))
