import math

import pytest

from limbeck._base.errors import DivergedError
from limbeck.training.divergence import Divergence

NAMES = [["a/seed0", "a/seed1"], ["b/seed0", "b/seed1"]]


def test_students_with_a_loss_that_is_not_finite_are_added_once():
    divergence = Divergence(NAMES)
    divergence.add([[1.0, math.nan], [math.inf, 2.0]], 0)
    divergence.add([[1.0, math.nan], [-math.inf, 2.0]], 1)
    first, second = divergence.students
    assert first[:2] == (0, 1)
    assert first[2].startswith("Training diverged: the loss of a/seed1 was nan in epoch 1. Lower")
    assert second[:2] == (1, 0)
    assert "the loss of b/seed0 was inf in epoch 1" in second[2]
    divergence.check()


def test_it_is_an_error_that_all_students_diverged():
    divergence = Divergence([[""]])
    divergence.check()
    divergence.add([[math.nan]], 4)
    with pytest.raises(DivergedError, match="the loss of the student was nan in epoch 5"):
        divergence.check()


def test_the_students_of_a_checkpoint_are_loaded():
    divergence, other = Divergence(NAMES), Divergence(NAMES)
    divergence.add([[math.nan, 1.0], [math.nan, 1.0]], 0)
    other.load(divergence.students)
    assert other.students == divergence.students
    other.add([[1.0, math.nan], [1.0, math.nan]], 1)
    with pytest.raises(DivergedError, match="a/seed0 was nan in epoch 1"):
        other.check()
