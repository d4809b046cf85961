"""Stacked students for texts against each student by itself."""

import pytest
import torch
from support.text_models import LENGTH, TEXT_MODELS, build_text_model, random_texts

from limbeck.training.cohort.stack import Cohort, reason_not_to_stack


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_logits_and_gradients_of_a_cohort_are_those_of_each_student_alone(name):
    members = [[build_text_model(name, 10 * a + s).double() for s in range(2)] for a in range(2)]
    assert reason_not_to_stack(members[0][0], 4) is None
    cohort = Cohort(members)
    assert (cohort._stacked_forward is not None) == (name == "bag")
    ids = torch.stack([random_texts([3, 7, LENGTH], seed) for seed in range(2)])
    logits = cohort(ids)
    logits.square().sum().backward()
    for arm, row in enumerate(members):
        for seed, member in enumerate(row):
            alone = member(ids[seed])
            torch.testing.assert_close(logits[arm, seed], alone)
            alone.square().sum().backward()
            for name, gradient in zip(cohort._parameter_names, cohort.stacked, strict=True):
                assert gradient.grad is not None
                own = member.get_parameter(name).grad
                torch.testing.assert_close(gradient.grad[seed, arm], own)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_dropout_of_a_student_is_the_same_alone_and_in_a_cohort(name):
    members = [[build_text_model(name, seed, dropout=0.5) for seed in range(2)]]
    cohort, single = Cohort(members), Cohort([[members[0][1]], [members[0][0]]])
    ids = torch.stack([random_texts([3, 7, LENGTH], seed) for seed in range(2)])
    for students in (cohort, single):
        students.train()
    cohort.set_streams([5, 6])
    single.set_streams([6])
    cohort(ids), single(ids[1:])  # the first pass only detects that random numbers are drawn
    cohort.set_streams([5, 6])
    single.set_streams([6])
    torch.testing.assert_close(cohort(ids)[0, 1], single(ids[1:])[0, 0])
