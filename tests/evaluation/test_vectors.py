"""Neighbours and rank correlations of embeddings against scikit-learn and SciPy."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from support.tensors import randn

from limbeck.evaluation import vectors as module
from limbeck.evaluation.vectors import missed_neighbours, nearest_texts, rank_correlation

Z, V = randn(60, 6).float(), randn(60, 6, seed=1).float()


def neighbours(vectors, count=10):
    search = NearestNeighbors(n_neighbors=count, metric="cosine").fit(vectors.double().numpy())
    return search.kneighbors(return_distance=False)  # without a text itself


def test_the_nearest_texts_are_scikit_learns_in_any_block_size(monkeypatch):
    expected = neighbours(Z)
    np.testing.assert_array_equal(nearest_texts(Z), expected)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(nearest_texts(Z), expected)


def test_missed_neighbours_are_those_that_a_set_difference_leaves():
    expected = [len({*v} - {*z}) for z, v in zip(neighbours(Z), neighbours(V), strict=True)]
    assert missed_neighbours(nearest_texts(Z), nearest_texts(V)).tolist() == expected
    assert 0 < np.mean(expected) < 10


def test_a_turned_and_scaled_space_misses_nothing():
    turn = torch.linalg.qr(randn(6, 6, seed=2)).Q.float()
    missed = missed_neighbours(nearest_texts(3 * Z @ turn), nearest_texts(Z))
    assert missed.sum() == 0


def test_few_texts_have_fewer_neighbours():
    assert nearest_texts(Z[:4]).shape == (4, 3)


def test_the_rank_correlation_is_spearmans_over_all_pairs():
    rows, columns = np.triu_indices(60, 1)
    pairs = [cosine_similarity(x.double())[rows, columns] for x in (Z, V)]
    expected = spearmanr(*pairs).statistic
    assert rank_correlation(Z, V) == pytest.approx(expected, abs=1e-4)
    assert rank_correlation(torch.ones_like(Z), V) is None
