"""Losses between layers against their papers' formulas, written as loops, and what they refuse."""

import numpy as np
import pytest
import torch

from limbeck._base.errors import ConfigError
from limbeck.losses import (
    Feature,
    Objective,
    attention_loss,
    cosine_loss,
    hint_loss,
)
from limbeck.losses.features import feature_loss, pool_to_common_size, projection


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def feature(kind="hint", **settings):
    return Feature(kind=kind, student="a", teacher="b", **settings)


def attention_map(activations):
    """Zagoruyko and Komodakis 2017: squares summed over channels, as a vector of norm 1."""
    q = np.zeros(activations.shape[1:])
    for channel in activations:
        q += np.abs(channel) ** 2
    return q.flatten() / np.linalg.norm(q)


def test_attention_equals_the_papers_distance_squared_and_halved():
    z, v = randn(3, 4, 5, 6), randn(3, 7, 5, 6, seed=1)
    result = attention_loss(z, v)
    for b in range(3):
        distance = np.linalg.norm(attention_map(z[b].numpy()) - attention_map(v[b].numpy()))
        assert result[b].item() == pytest.approx(distance**2 / 2, rel=1e-12)


def test_attention_is_one_less_the_cosine_and_sees_neither_scale_nor_order_of_channels():
    z, v = randn(3, 4, 5, 6), randn(3, 7, 5, 6, seed=1)
    maps = [x.square().sum(1).flatten(1) for x in (z, v)]
    torch.testing.assert_close(attention_loss(z, v), 1 - torch.cosine_similarity(*maps))
    torch.testing.assert_close(
        attention_loss(3 * z, v[:, [3, 1, 0, 2, 6, 5, 4]]), attention_loss(z, v)
    )
    torch.testing.assert_close(attention_loss(z, -2 * z), torch.zeros(3, dtype=torch.float64))


def test_attention_of_other_sizes_is_that_of_averaged_maps():
    z, v = randn(2, 3, 8, 8), randn(2, 5, 4, 2, seed=1)
    q = z.square().sum(1).reshape(2, 4, 2, 2, 4).mean((2, 4))
    expected = 1 - torch.cosine_similarity(q.flatten(1), v.square().sum(1).flatten(1))
    torch.testing.assert_close(attention_loss(z, v), expected)


def test_attention_of_tokens_sums_over_their_features():
    z, v = randn(2, 6, 8), randn(2, 6, 3, seed=1)
    expected = 1 - torch.cosine_similarity(z.square().sum(-1), v.square().sum(-1))
    torch.testing.assert_close(attention_loss(z, v), expected)


def test_dead_layers_leave_gradients_finite():
    z = torch.zeros(2, 3, 4, 4, requires_grad=True)
    attention_loss(z, torch.rand(2, 3, 4, 4)).sum().backward()
    assert z.grad.isfinite().all()


def test_hint_equals_the_papers_formula_over_the_size():
    """Romero et al. 2015, equation 3: half the squared norm of the difference."""
    z, v = randn(3, 4, 2, 2), randn(3, 4, 2, 2, seed=1)
    result = hint_loss(z, v)
    for b in range(3):
        expected = 0.5 * np.linalg.norm((z[b] - v[b]).numpy()) ** 2 / 16
        assert result[b].item() == pytest.approx(expected, rel=1e-12)


def test_a_projected_hint_equals_a_direct_computation():
    z, v = randn(3, 4, 8, 8), randn(3, 6, 4, 4, seed=1)
    project = projection(feature(), z.shape, v.shape).double()
    assert [tuple(p.shape) for p in project.parameters()] == [(6, 4, 1, 1), (6,)]
    weight, bias = (p.detach().numpy() for p in project.parameters())
    result = feature_loss(feature(), z, v, project)
    small = z.numpy().reshape(3, 4, 4, 2, 4, 2).mean((3, 5))
    for b in range(3):
        own = np.einsum("oi,ihw->ohw", weight[:, :, 0, 0], small[b]) + bias[:, None, None]
        assert result[b].item() == pytest.approx(
            0.5 * ((own - v[b].numpy()) ** 2).mean(), rel=1e-12
        )


@pytest.mark.parametrize(
    ("own", "other"), [((2, 3), (2, 8)), ((2, 5, 3), (2, 5, 8)), ((2, 3, 4, 4), (2, 8, 6, 2))]
)
def test_projections_fit_every_form(own, other):
    project = projection(feature(), own, other)
    value = feature_loss(feature(), torch.randn(own), torch.randn(other), project)
    assert value.shape == (2,)
    value.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in project.parameters())


def test_attention_needs_no_projection_and_the_teacher_gets_no_gradient():
    z, v = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 8, 4, 4, requires_grad=True)
    for kind in ("hint", "attention"):
        project = projection(feature(kind), z.shape, v.shape)
        assert bool(list(project.parameters())) == (kind == "hint")
        feature_loss(feature(kind), z, v, project).sum().backward()
    assert z.grad is not None
    assert v.grad is None


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [
        ("hint", (2, 3), (2, 8, 4, 4)),
        ("hint", (2, 5, 3), (2, 6, 3)),
        ("hint", (2,), (2,)),
        ("hint", (2, 3, 4, 4, 4), (2, 3, 4, 4, 4)),
        ("attention", (2, 3), (2, 3)),
        ("attention", (2, 5, 3), (2, 6, 3)),
        ("attention", (2, 3, 4, 4), (2, 16, 3)),
    ],
)
def test_shapes_that_cannot_be_matched_are_named(kind, own, other):
    with pytest.raises(
        ConfigError, match=rf"{kind} cannot match the student's a, of shape .*teacher's b"
    ) as caught:
        projection(feature(kind), own, other)
    for shape in (own, other):
        assert str(["B", *shape[1:]]).replace("'", "") in str(caught.value)


def test_pooling_takes_the_smaller_of_each_side():
    z, v = pool_to_common_size(torch.randn(1, 2, 8, 3), torch.randn(1, 2, 4, 6))
    assert z.shape[-2:] == v.shape[-2:] == (4, 3)
    same = torch.randn(1, 2, 4, 4)
    assert pool_to_common_size(same, same)[0] is same


def test_half_precision_is_compared_in_float32():
    z, v = torch.randn(2, 3, 4, 4).bfloat16(), torch.randn(2, 3, 4, 4).bfloat16()
    assert attention_loss(z, v).dtype == hint_loss(z, v).dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"kind": "hints", "student": "a", "teacher": "b"},
            "kind='hints' is unknown. Choose one of hint, cosine, attention, relation, att",
        ),
        ({"kind": "hint", "student": "a"}, "expected settings as in"),
        (
            {"kind": "hint", "student": "a", "teacher": "b", "wieght": 2},
            "Unknown key `objective.features.wieght`. Did you mean `objective.features.weight`",
        ),
        (
            {"kind": "hint", "student": "", "teacher": "b"},
            "student='' is not valid: expected the path of a layer",
        ),
        (
            {"kind": "hint", "student": "a", "teacher": 3},
            "teacher=3 is not valid: expected the path of a layer",
        ),
        (
            {"kind": "hint", "student": "a", "teacher": "b", "weight": 0},
            "weight=0 is not valid: expected a number above 0",
        ),
        ({"kind": "hint", "student": "a", "teacher": "b", "weight": float("nan")}, "weight=nan"),
        ("features.3", "expected settings"),
    ],
)
def test_bad_features_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Objective(features=[settings])


@pytest.mark.parametrize("features", ["hint", {"kind": "hint"}, None, 3])
def test_features_are_a_list(features):
    with pytest.raises(ConfigError, match="expected a list"):
        Objective(features=features)


def test_features_are_plain_values_in_a_summary_and_need_a_teacher():
    settings = {"kind": "hint", "student": "a", "teacher": "b", "weight": 2.0, "heads": 1}
    objective = Objective(hard_weight=1, soft_weight=0, features=[settings])
    assert objective.as_dict()["features"] == [settings]
    assert objective == Objective(hard_weight=1, soft_weight=0, features=[Feature(**settings)])
    assert objective.needs_teacher
    assert hash(objective)
    assert Objective(hard_weight=0, soft_weight=0, features=[settings]).needs_teacher


MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def test_cosine_is_the_loss_of_distilbert():
    """Sanh et al. 2019 train with PyTorch's cosine embedding loss over all tokens."""
    z, v = randn(2, 6, 8), randn(2, 6, 8, seed=1)
    tokens = torch.nn.CosineEmbeddingLoss(reduction="none")(
        z.flatten(0, 1), v.flatten(0, 1), torch.ones(12, dtype=torch.float64)
    )
    torch.testing.assert_close(cosine_loss(z, v), tokens.view(2, 6).mean(1))
    torch.testing.assert_close(cosine_loss(z[:, 0], v[:, 0]), tokens.view(2, 6)[:, 0])


@pytest.mark.parametrize("kind", ["hint", "cosine", "attention", "relation"])
def test_padding_changes_no_loss(kind):
    """The loss of a text alone is that of the text at the start of a longer row."""
    z, v = randn(2, 6, 8), randn(2, 6, 8, seed=1)
    project = torch.nn.Identity()
    result = feature_loss(feature(kind), z, v, project, MASK)
    whole = feature_loss(feature(kind), z[:1], v[:1], project)
    alone = feature_loss(feature(kind), z[1:, :3], v[1:, :3], project)
    torch.testing.assert_close(result, torch.cat([whole, alone]))
    z[1, 3:], v[1, 3:] = 1e3, -1e3
    torch.testing.assert_close(feature_loss(feature(kind), z, v, project, MASK), result)


def test_cosine_projects_only_layers_of_other_widths():
    assert not list(projection(feature("cosine"), (2, 6, 8), (2, 6, 8)).parameters())
    project = projection(feature("cosine"), (2, 6, 8), (2, 6, 3))
    assert [tuple(p.shape) for p in project.parameters()] == [(3, 8), (3,)]


def test_heads_have_to_divide_both_widths():
    with pytest.raises(ConfigError, match="heads=3 should divide the widths of a and b, 6 and 8"):
        projection(feature("relation", heads=3), (2, 6, 6), (2, 6, 8))
    with pytest.raises(ConfigError, match="heads=2 is for kind: relation, not hint"):
        feature("hint", heads=2)
    with pytest.raises(ConfigError, match="heads=0"):
        feature("relation", heads=0)
