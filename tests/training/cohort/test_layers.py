"""The layer-by-layer forward of stacked students against ``vmap`` and against each student by
itself.
"""

import pytest
import torch
from torch import nn

from limbeck.models import MLP, ConvNet, Normalized, TableEncoder, TableModel
from limbeck.training.cohort.layers import Chain, layers_of
from limbeck.training.cohort.stack import Cohort

SHAPE = (1, 4, 4)


def plain(seed, **options):
    torch.manual_seed(seed)
    return MLP(SHAPE, 3, **{"hidden": [7, 5], **options})


def normalized(seed, **options):
    return Normalized(plain(seed, **options), [0.3], [0.7])


def own(seed):
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(16, 6, bias=False), nn.GELU(), nn.Dropout(0.0))
    return nn.Sequential(nn.Flatten(), nn.Tanh(), inner, nn.Identity(), nn.Linear(6, 3))


def of_table(seed):
    torch.manual_seed(seed)
    encoder = TableEncoder([3, 0], [0.0, 0.4], [1.0, 2.0], [False, True])
    return TableModel(MLP((5,), 3, hidden=[7, 5]), encoder)


def test_rows_of_a_table_are_encoded_in_a_stack():
    cohort = Cohort(grid_of(of_table, 2, 3)).double()
    assert isinstance(cohort._stacked_forward, Chain)
    x = torch.tensor([[0.0, 1.5], [2.0, float("nan")], [float("nan"), -1.0]]).double()
    x = torch.stack([x, x + 1, x * 2])
    logits = cohort(x)
    assert bool(logits.isfinite().all())
    for arm, seed, member in cohort.members():
        expected = member.double()(x[seed])
        torch.testing.assert_close(logits[arm, seed], expected, rtol=1e-12, atol=1e-14)


def grid_of(make, arms, seeds):
    return [[make(10 * arm + seed) for seed in range(seeds)] for arm in range(arms)]


@pytest.mark.parametrize("make", [plain, normalized, own])
@pytest.mark.parametrize(("arms", "seeds"), [(1, 2), (3, 1), (3, 2), (2, 5)])
def test_forward_and_gradients_are_those_of_vmap_and_of_each_alone(make, arms, seeds):
    members = grid_of(make, arms, seeds)
    cohort = Cohort(members).double()
    x = torch.randn(seeds, 6, *SHAPE, dtype=torch.float64)
    weight = torch.randn(arms, seeds, 6, 3, dtype=torch.float64)

    def answers():
        cohort.zero_grad()
        logits = cohort(x)
        (logits * weight).sum().backward()
        return logits.detach(), [p.grad.clone() for p in cohort.stacked]

    assert isinstance(cohort._stacked_forward, Chain)
    logits, gradients = answers()
    cohort._stacked_forward = None
    mapped, mapped_gradients = answers()
    torch.testing.assert_close(logits, mapped, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradients, mapped_gradients, rtol=1e-11, atol=1e-13)
    for arm, seed, member in cohort.members():
        torch.testing.assert_close(
            logits[arm, seed], member.double()(x[seed]), rtol=1e-12, atol=1e-14
        )


def test_each_seed_has_dropout_of_its_own_on_inputs_and_hidden_units():
    cohort = Cohort(grid_of(lambda seed: plain(0, dropout=0.5, input_dropout=0.2), 2, 2)).train()
    x = torch.rand(1, 64, *SHAPE).expand(2, -1, -1, -1, -1)
    first, second = cohort(x)[0]
    assert (first - second).abs().mean() > 1e-3
    cohort.eval()
    logits = cohort(x).flatten(0, 1)
    assert all(torch.equal(logits[0], other) for other in logits)


def test_dropout_keeps_the_share_and_the_mean():
    cohort = Cohort(
        [[nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(400, 400, bias=False))] * 2]
    ).train()
    with torch.no_grad():
        cohort.stacked[0].copy_(torch.eye(400).expand_as(cohort.stacked[0]))
    left = cohort(torch.ones(2, 50, 400))
    share = (left == 0).float().mean(dim=(0, 2, 3))
    assert bool(((share - 0.25).abs() < 0.02).all())  # 20,000 draws: 6.5 standard errors
    assert left.max().item() == pytest.approx(1 / 0.75)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        nn.Sequential(nn.Flatten(0), nn.Linear(16, 3)),
        nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(16, 3)),
        nn.Sequential(nn.Flatten(), nn.ReLU()),
        Normalized(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), [0.1, 0.2], [1.0, 1.0]),
        ConvNet((1, 8, 8), 3, channels=[4], strides=[1]),
    ],
    ids=[
        "layer norm",
        "flattens the batch",
        "flattens late",
        "nothing linear",
        "several channels",
        "convolution",
    ],
)
def test_models_of_another_form_are_left_to_vmap(model):
    assert layers_of(model) is None


def test_a_class_of_ones_own_hooks_and_tied_weights_are_left_to_vmap():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    assert layers_of(nn.Sequential(nn.Flatten(), Doubled(16, 3))) is None
    hooked = own(0)
    assert layers_of(hooked) is not None
    hooked[1].register_forward_hook(lambda *_: None)
    assert layers_of(hooked) is None
    tied = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    tied[3].weight = tied[1].weight
    assert layers_of(tied) is None


def test_rows_of_features_and_what_is_no_row():
    def plainest(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

    cohort = Cohort(grid_of(plainest, 2, 2))
    rows = torch.randn(2, 5, 4)
    several = torch.randn(
        2, 5, 7, 4
    )  # a linear layer reads the last dimension of whatever it is given
    for x in (rows, several):
        logits = cohort(x)
        for arm, seed, member in cohort.members():
            torch.testing.assert_close(logits[arm, seed], member(x[seed]))


def test_an_empty_batch_has_empty_answers():
    assert Cohort(grid_of(normalized, 2, 2))(torch.randn(2, 0, *SHAPE)).shape == (2, 2, 0, 3)


def test_in_autocast_it_computes_in_bfloat16():
    cohort = Cohort(grid_of(plain, 2, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cohort(torch.randn(2, 6, *SHAPE)).dtype == torch.bfloat16
