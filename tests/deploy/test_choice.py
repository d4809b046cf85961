"""Students are chosen on the validation split."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.deploy.choice import choose_student, describe_choice
from limbeck.run.metrics import Metrics
from limbeck.run.summary import (
    ArmResult,
    DataFacts,
    Seconds,
    SeedResult,
    Summary,
)

SECONDS = Seconds(teacher=0, store=0, training=0, evaluation=0, total=0)


def metrics(errors, nll):
    return Metrics(errors=errors, accuracy=0, nll=nll, ece=0, agreement=None, kl_to_teacher=None)


def arm(name, errors, *, nll=1.0, **facts):
    results = [metrics(count, nll) for count in errors]
    seeds = [SeedResult(seed=seed, val=val, test=val) for seed, val in enumerate(results)]
    return ArmResult(
        name=name,
        student="mlp",
        params=1,
        transfer="all",
        seeds=tuple(seeds),
        mean=metrics(0, 0),
        sd=metrics(0, 0),
        **({"objective": {}} | facts),
    )


def summary(*arms, **facts):
    data = DataFacts(name="digits", classes=10, train=1, val=1, test=1)
    return Summary(
        recipe="digits",
        data=data,
        teacher=None,
        arms=arms,
        comparisons=(),
        seconds=SECONDS,
        **facts,
    )


def test_the_distilled_arm_with_the_fewest_validation_errors_is_chosen():
    run = summary(
        arm("hard", [1, 1], control=True), arm("a", [5, 9]), arm("b", [8, 4]), arm("c", [9, 9])
    )
    assert choose_student(run) == ("b", 1)
    assert choose_student(run, "a") == ("a", 0)
    assert choose_student(run, "hard", 1) == ("hard", 1)


def test_an_export_may_prefer_a_control_and_says_so():
    control = arm("hard", [3, 4], control=True)
    run = summary(control, arm("soft", [5, 9]), arm("kl", [5, 6]))
    assert choose_student(run, with_controls=True) == ("hard", 0)
    assert describe_choice(run, "hard") == (
        "Arm hard learned from labels alone. It was chosen because it is better on the validation "
        "split than every distilled arm: it makes 3.5 validation errors, kl makes 5.5 (means over "
        "seeds). For the distilled student, set arm=kl."
    )
    assert describe_choice(run, "kl") == ""


def test_an_export_prefers_a_distilled_arm_in_a_tie_and_to_shuffled_answers():
    control = arm("hard", [5, 5], control=True)
    shuffled = arm("shuffled", [1, 1], objective={"shuffled": True})
    run = summary(control, shuffled, arm("soft", [5, 5]))
    assert choose_student(run, with_controls=True)[0] == "soft"
    worse = summary(control, arm("soft", [5, 5], nll=2.0))
    assert choose_student(worse, with_controls=True)[0] == "hard"
    assert "soft makes 5 with a higher NLL" in describe_choice(worse, "hard")


def test_ties_go_to_the_lower_nll():
    assert choose_student(summary(arm("a", [6, 6]), arm("b", [6, 6], nll=0.5))) == ("b", 0)


def test_text_is_compared_by_nll():
    arms = [arm("a", [0], nll=2.0), arm("b", [9], nll=1.0), arm("c", [9], nll=None)]
    assert choose_student(summary(*arms, measure="bits_per_byte")) == ("b", 0)


def test_a_control_is_chosen_if_nothing_else_was_trained():
    assert choose_student(summary(arm("hard", [3, 2], control=True))) == ("hard", 1)


def test_a_negative_control_is_not_chosen():
    shuffled = arm("shuffled", [1], objective={"shuffled": True})
    assert choose_student(summary(shuffled, arm("soft", [5]))) == ("soft", 0)


@pytest.mark.parametrize(
    ("name", "seed", "message"),
    [
        ("sof", None, "Did you mean soft"),
        (None, 7, "seed=7 is not a seed of arm soft. Seeds: 0, 1"),
    ],
)
def test_an_unknown_student_is_refused(name, seed, message):
    with pytest.raises(ConfigError, match=message):
        choose_student(summary(arm("soft", [1, 2])), name, seed)
    with pytest.raises(ConfigError, match="no students"):
        choose_student(summary(), name, seed)
