"""Selection of test samples on which arm and control differ."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from limbeck.evaluation.examples import select_examples


def one_hot(answers, classes=4):
    return np.eye(classes)[np.asarray(answers)]


@settings(max_examples=40, deadline=None)
@given(
    nps.arrays(np.int64, (3, 25), elements=st.integers(0, 3)),
    nps.arrays(np.int64, (3, 25), elements=st.integers(0, 3)),
    nps.arrays(np.int64, 25, elements=st.integers(0, 3)),
    st.integers(0, 12),
)
def test_arm_and_control_differ_on_every_example_in_its_seed(arm, control, labels, limit):
    examples = select_examples(one_hot(arm), one_hot(control), labels, limit)
    assert len(examples.rows) == len(examples.seeds) == len(set(examples.rows)) or limit >= len(
        examples.rows
    )
    assert len(examples.rows) <= limit
    right, before = arm == labels, control == labels
    for row, seed in zip(examples.rows, examples.seeds, strict=True):
        assert right[seed, row] != before[seed, row]
    assert examples.arm_alone == (right & ~before).sum(1).mean()
    assert examples.control_alone == (before & ~right).sum(1).mean()
    if limit >= 2 and examples.arm_alone and examples.control_alone:
        kinds = {
            bool(right[seed, row]) for row, seed in zip(examples.rows, examples.seeds, strict=True)
        }
        assert kinds == {True, False}


def test_the_samples_on_which_most_seeds_differ_come_first():
    labels = np.zeros(4, int)
    control = np.array([[1, 1, 1, 0]] * 3)
    arm = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 0]])
    examples = select_examples(one_hot(arm), one_hot(control), labels, 2)
    assert examples.rows == [2, 3]
    assert examples.seeds == [0, 0]


def test_models_that_agree_leave_nothing_to_show():
    labels = np.arange(4)
    same = one_hot([[0, 1, 2, 3]])
    assert select_examples(same, same, labels, 8).rows == []


def test_a_model_without_a_prediction_is_wrong():
    labels = np.zeros(2, int)
    nothing = np.full((1, 2, 4), np.nan)
    examples = select_examples(one_hot([[0, 1]]), nothing, labels, 8)
    assert (examples.rows, examples.arm_alone, examples.control_alone) == ([0], 1.0, 0.0)
