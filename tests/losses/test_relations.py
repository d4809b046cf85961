"""Losses between relations of tokens against their papers' formulas, written as loops."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from limbeck._base.errors import ConfigError
from limbeck.losses import Feature, attention_scores_loss, relation_loss
from limbeck.losses.features import feature_loss, projection

SCORES = Feature(kind="attention_scores", student="a", teacher="b")
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights_of(scores, mask=None):
    """Attention weights of scores ``[B, A, L, L]``; nothing attends to padding."""
    if mask is not None:
        scores = scores.masked_fill(mask[:, None, None] == 0, -torch.inf)
    return scores.softmax(-1)


def test_relation_equals_the_papers_formula():
    """Wang et al. 2021, equations 2 to 5, written as loops."""
    z, v, heads, length = randn(2, 6, 8), randn(2, 6, 12, seed=1), 4, 6
    result = relation_loss(z, v, heads=heads)
    for b in range(2):
        total = 0.0
        for head in range(heads):
            own = z[b].numpy()[:, head * 2 : head * 2 + 2]
            other = v[b].numpy()[:, head * 3 : head * 3 + 3]
            for token in range(length):
                r_s = softmax(own @ own[token] / np.sqrt(2))
                r_t = softmax(other @ other[token] / np.sqrt(3))
                total += entropy(r_t, r_s)
        assert result[b].item() == pytest.approx(total / (heads * length), rel=1e-9)
    torch.testing.assert_close(relation_loss(z, z, heads=heads), torch.zeros(2).double())


def test_attention_scores_are_compared_as_in_the_paper():
    """Jiao et al. 2020, equation 7, for scores whose mean over the tokens is 0."""
    own, other = randn(2, 3, 5, 5), randn(2, 3, 5, 5, seed=1)
    own, other = own - own.mean(-1, keepdim=True), other - other.mean(-1, keepdim=True)
    result = attention_scores_loss(weights_of(own), weights_of(other))
    for b in range(2):
        heads = [np.square(own[b, a].numpy() - other[b, a].numpy()).mean() for a in range(3)]
        assert result[b].item() == pytest.approx(np.mean(heads), rel=1e-9)


def test_a_constant_on_the_scores_of_a_token_changes_nothing():
    own, other = randn(1, 2, 4, 4), randn(1, 2, 4, 4, seed=1)
    shifted = own + randn(1, 2, 4, 1, seed=2)
    result = attention_scores_loss(weights_of(shifted), weights_of(other))
    torch.testing.assert_close(result, attention_scores_loss(weights_of(own), weights_of(other)))
    assert attention_scores_loss(weights_of(own), weights_of(shifted)).item() < 1e-25


def test_scores_of_padding_are_left_out():
    own, other = randn(2, 3, 5, 5), randn(2, 3, 5, 5, seed=1)
    padded = [weights_of(scores, MASK) for scores in (own, other)]
    result = feature_loss(SCORES, *padded, torch.nn.Identity(), MASK)
    whole = attention_scores_loss(weights_of(own[:1]), weights_of(other[:1]))
    parts = [weights_of(scores[1:, :, :3, :3]) for scores in (own, other)]
    torch.testing.assert_close(result, torch.cat([whole, attention_scores_loss(*parts)]))


def test_weights_that_dropout_removed_are_left_out():
    """The others are those of a softmax without them, whose factor is a constant of the scores."""
    own, other = randn(1, 1, 1, 5), randn(1, 1, 1, 5, seed=1)
    dropped = weights_of(own) / 0.8
    dropped[..., 3] = 0
    others = [0, 1, 2, 4]
    expected = attention_scores_loss(weights_of(own[..., others]), weights_of(other[..., others]))
    torch.testing.assert_close(attention_scores_loss(dropped, weights_of(other)), expected)


def test_gradients_of_tiny_weights_are_finite():
    scores = torch.tensor([0.0, -60.0, -80.0, -110.0]).expand(1, 1, 4, 4).clone()
    scores.requires_grad_()
    attention_scores_loss(scores.softmax(-1), torch.full((1, 1, 4, 4), 0.25)).sum().backward()
    assert scores.grad.isfinite().all()
    assert scores.grad.abs().sum() > 0


def test_the_teacher_gets_no_gradient_and_nothing_is_projected():
    own, other = randn(1, 2, 3, 3).requires_grad_(), randn(1, 2, 3, 3, seed=1).requires_grad_()
    project = projection(SCORES, own.shape, other.shape)
    assert not list(project.parameters())
    feature_loss(SCORES, own.softmax(-1), other.softmax(-1), project).sum().backward()
    assert own.grad.abs().sum() > 0
    assert other.grad is None


def test_attentions_need_as_many_heads():
    with pytest.raises(ConfigError, match=r"a with 2 heads and the teacher's b with 4"):
        projection(SCORES, (2, 2, 5, 5), (2, 4, 5, 5))
