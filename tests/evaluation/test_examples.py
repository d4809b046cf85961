"""Which test samples are shown: those on which arm and control differ, of both kinds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from limbeck.evaluation.examples import differing


def one_hot(answers, classes=4):
    return np.eye(classes)[np.asarray(answers)]


@given(
    nps.arrays(np.int64, (3, 25), elements=st.integers(0, 3)),
    nps.arrays(np.int64, (3, 25), elements=st.integers(0, 3)),
    nps.arrays(np.int64, 25, elements=st.integers(0, 3)),
    st.integers(0, 12),
)
def test_what_is_shown_differs_in_the_seed_that_is_shown(arm, control, labels, most):
    found = differing(one_hot(arm), one_hot(control), labels, most)
    assert len(found.rows) == len(found.seeds) == len(set(found.rows)) or most >= len(found.rows)
    assert len(found.rows) <= most
    right, before = arm == labels, control == labels
    for row, seed in zip(found.rows, found.seeds, strict=True):
        assert right[seed, row] != before[seed, row]
    assert found.arm_alone == (right & ~before).sum(1).mean()
    assert found.control_alone == (before & ~right).sum(1).mean()
    if most >= 2 and found.arm_alone and found.control_alone:
        kinds = {bool(right[seed, row]) for row, seed in zip(found.rows, found.seeds, strict=True)}
        assert kinds == {True, False}


def test_the_samples_on_which_most_seeds_differ_come_first():
    labels = np.zeros(4, int)
    control = np.array([[1, 1, 1, 0]] * 3)
    arm = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 0]])
    found = differing(one_hot(arm), one_hot(control), labels, 2)
    assert found.rows == [2, 3]
    assert found.seeds == [0, 0]


def test_models_that_agree_leave_nothing_to_show():
    labels = np.arange(4)
    same = one_hot([[0, 1, 2, 3]])
    assert differing(same, same, labels, 8).rows == []
