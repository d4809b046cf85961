"""Findings about a teacher of embeddings."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from support.tensors import randn

from limbeck.run.finding import NOTE, STOP
from limbeck.teacher.vector_examination import judge_vectors, mean_similarity

VECTORS = randn(40, 6).float()


def test_the_mean_similarity_is_that_of_all_pairs():
    rows, columns = np.triu_indices(40, 1)
    expected = cosine_similarity(VECTORS.double())[rows, columns].mean()
    assert mean_similarity(VECTORS) == pytest.approx(expected, abs=1e-6)


def test_different_vectors_are_a_note_and_equal_or_broken_ones_a_reason_to_stop():
    assert judge_vectors(VECTORS.numpy(), "the teacher").level == NOTE
    equal = 5 + 0.001 * VECTORS.numpy()
    finding = judge_vectors(equal, "the teacher")
    assert finding.level == STOP
    assert "nearly the same vector" in finding.text
    broken = VECTORS.numpy().copy()
    broken[3, 2] = np.nan
    assert "not finite" in judge_vectors(broken, "the teacher").text
