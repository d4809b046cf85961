"""Losses of vectors against NumPy and scikit-learn in float64."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics.pairwise import cosine_similarity, paired_cosine_distances
from support.tensors import randn

from limbeck._base.errors import ConfigError
from limbeck.losses import SOFT_LOSSES, TASKS, Objective, StackedObjective, hard_loss

EMBEDDING = TASKS["embedding"]
LOSSES = [name for name, loss in SOFT_LOSSES.items() if loss.outputs == "vectors"]
Z, V, OTHER = randn(8, 5), randn(8, 5, seed=1), randn(8, 5, seed=2)
SOFT = Objective(hard_weight=0.0, soft_weight=1.0, temperature=1.0)


def test_the_contrastive_loss_is_the_cross_entropy_of_each_texts_own_view():
    log_p = log_softmax(cosine_similarity(Z, OTHER) / 0.05, axis=1)
    values = hard_loss(Z, OTHER, kind="contrastive")
    np.testing.assert_allclose(values, -np.diag(log_p), rtol=1e-10)


def test_the_cosine_distance_is_scikit_learns():
    values = SOFT_LOSSES["cosine_distance"](Z, V)
    np.testing.assert_allclose(values, paired_cosine_distances(Z, V), rtol=1e-10)


def test_the_squared_distance_of_vectors_of_length_1_is_twice_their_cosine_distance():
    z, v = (x / x.norm(dim=-1, keepdim=True) for x in (Z, V))
    values = SOFT_LOSSES["squared_distance"](z, v)
    np.testing.assert_allclose(values, 2 * paired_cosine_distances(Z, V), rtol=1e-10)
    np.testing.assert_allclose(
        SOFT_LOSSES["squared_distance"](Z, V), ((Z - V) ** 2).sum(-1), rtol=1e-12
    )


def test_the_similarity_loss_compares_the_cosines_of_all_pairs():
    squares = (cosine_similarity(Z) - cosine_similarity(V)) ** 2
    np.fill_diagonal(squares, 0)
    values = SOFT_LOSSES["similarity"](Z, V)
    np.testing.assert_allclose(values, squares.sum(1) / 7, rtol=1e-10)


def test_the_similarity_loss_does_not_change_if_the_students_space_is_turned():
    turn = torch.linalg.qr(randn(5, 5, seed=3)).Q
    loss = SOFT_LOSSES["similarity"]
    torch.testing.assert_close(loss(Z @ turn, V), loss(Z, V))
    torch.testing.assert_close(loss(V @ turn, V), torch.zeros(8, dtype=torch.float64))
    assert float(loss(Z[:1], V[:1])) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_arms_of_a_cohort_have_the_losses_they_have_alone(name):
    z = randn(3, 2, 8, 5)
    others = randn(3, 2, 8, 5, seed=4)
    teacher = randn(2, 8, 5, seed=5)
    objectives = [
        Objective(hard_weight=1.0, soft_weight=0.0).for_task(EMBEDDING),
        Objective(hard_weight=0.3, soft_weight=0.7, soft=name).for_task(EMBEDDING),
        Objective(hard_weight=0.0, soft_weight=1.0).for_task(EMBEDDING),
    ]
    terms = StackedObjective(objectives)(z, teacher, others)
    for arm, objective in enumerate(objectives):
        alone = StackedObjective([objective])(z[arm : arm + 1], teacher, others[arm : arm + 1])
        torch.testing.assert_close(terms.loss[arm : arm + 1], alone.loss)
        torch.testing.assert_close(terms.hard[arm : arm + 1], hard_mean(z[arm], others[arm])[None])


def hard_mean(z, others):
    return hard_loss(z, others, kind="contrastive").mean(-1)


def test_the_default_losses_become_those_of_embeddings_without_a_temperature():
    objective = Objective().for_task(EMBEDDING)
    assert (objective.hard, objective.soft) == ("contrastive", "cosine_distance")
    assert objective.temperature == 1


@pytest.mark.parametrize(
    "setting", [{"temperature": 3.0}, {"class_weights": [1.0, 2.0]}, {"label_smoothing": 0.1}]
)
def test_settings_of_classes_are_refused(setting):
    with pytest.raises(ConfigError, match="has no meaning for embeddings"):
        Objective(**setting).for_task(EMBEDDING)


def test_half_precision_is_computed_in_float32():
    for name in LOSSES:
        values = SOFT_LOSSES[name](Z.half(), V.half())
        assert values.dtype == torch.float32
        torch.testing.assert_close(values, SOFT_LOSSES[name](Z.half().float(), V.half().float()))
