"""Warnings of made-up summaries."""

from dataclasses import replace

import pytest

from limbeck.data import Affine
from limbeck.evaluation.study_warnings import study_warnings
from limbeck.run.comparison import Comparison, Delta, GapClosed
from limbeck.run.metrics import Metrics, TextMetrics
from limbeck.run.summary import (
    ArmResult,
    DataFacts,
    FailedStudent,
    Seconds,
    SeedResult,
    Summary,
    TeacherResult,
)


def metrics(errors=10.0):
    return Metrics(
        errors=errors, accuracy=0.9, nll=0.5, ece=0.1, agreement=None, kl_to_teacher=None
    )


def arm(name, *, errors=10.0, seeds=5, control=False, **facts):
    result = metrics(errors)
    return ArmResult(
        name=name,
        student="mlp",
        params=10,
        control=control,
        objective={},
        transfer="all",
        seeds=tuple(SeedResult(seed=i, val=result, test=result) for i in range(seeds)),
        mean=result,
        sd=result,
        **facts,
    )


def comparison(name, control="hard"):
    return Comparison(
        arm=name,
        control=control,
        delta_errors=Delta(mean=0.0, ci95=None),
        p_value=1.0,
        gap_closed=GapClosed(errors=None, nll=None),
        verdict="not shown",
    )


def summary(arms, comparisons=(), **facts):
    return Summary(
        recipe="made up",
        data=DataFacts(name="tiny", classes=3, train=5, val=5, test=5),
        teacher=facts.pop("teacher", None),
        arms=tuple(arms),
        comparisons=tuple(comparisons),
        seconds=Seconds(teacher=0, store=0, training=0, evaluation=0, total=0),
        **facts,
    )


HARD, SOFT = arm("hard", control=True), arm("soft")
PAIR = [comparison("soft")]


def test_a_sound_study_has_no_warnings():
    assert study_warnings(summary([HARD, SOFT], PAIR)) == ()


def test_a_quick_run_is_warned_of_first():
    warnings = study_warnings(summary([HARD, SOFT], quick=True))
    assert warnings[0].startswith("A quick run is only a smoke test")


@pytest.mark.parametrize(
    ("errors", "weak"), [(9, False), (10, True), (11, True)], ids=["better", "as good", "worse"]
)
def test_a_teacher_no_better_than_a_control(errors, weak):
    teacher = TeacherResult(name="mlp", params=10, test=metrics(errors))
    warnings = study_warnings(summary([HARD, SOFT], PAIR, teacher=teacher))
    sentence = (
        f"The teacher, with {errors} test errors, is no better than the control 'hard' (10.0)"
    )
    assert [warning.startswith(sentence) for warning in warnings] == [True] * weak


def test_a_teacher_of_text_is_judged_by_bits_per_byte():
    text = TextMetrics(**vars(metrics()), bits_per_byte=2.0, perplexity=4.0)
    teacher = TeacherResult(name="gpt", params=10, test=replace(text, errors=0))
    arms = [replace(entry, mean=text) for entry in (HARD, SOFT)]
    (warning,) = study_warnings(summary(arms, PAIR, teacher=teacher, measure="bits_per_byte"))
    assert "with 2.000 bits per byte of the test text, is no better than the control" in warning
    assert "'hard' (2.000)" in warning


def test_many_controls_are_named_in_part():
    controls = [arm(f"hard{i}", control=True) for i in range(6)]
    arms = [arm(f"soft{i}") for i in range(6)]
    pairs = [comparison(f"soft{i}", f"hard{i}") for i in range(6)]
    teacher = TeacherResult(name="mlp", params=10, test=metrics(10))
    first, second = study_warnings(summary([*controls, *arms], pairs, teacher=teacher))
    assert "'hard3' (10.0) and 2 more: it has little to teach" in first
    assert second.startswith("6 comparisons: their verdicts are corrected")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"student": "convnet"}, "student"),
        ({"optimizer": {"lr": 0.1}}, "optimizer"),
        ({"epochs": 3}, "epochs"),
        ({"transfer": "half", "epochs": 3}, "transfer and epochs"),
        ({"views_settings": Affine(degrees=60).settings()}, "views"),
    ],
)
def test_a_control_that_differs_in_more_than_the_objective(change, difference):
    (warning,) = study_warnings(summary([HARD, replace(SOFT, **change)], PAIR))
    assert warning.startswith(f"Arm 'soft' and its control 'hard' also differ in {difference}")


def test_arms_with_the_same_difference_share_a_warning():
    arms = [HARD, *(arm(f"soft{i}", epochs=3) for i in range(5))]
    pairs = [comparison(f"soft{i}") for i in range(4)]
    (warning, _) = study_warnings(summary(arms, pairs))
    assert warning.startswith("Arms 'soft0', 'soft1', 'soft2' and 'soft3' and their control 'hard'")


def test_failed_arms_and_controls():
    failed = tuple(FailedStudent(arm="hard", seed=i, reason="diverged") for i in range(2))
    warnings = study_warnings(summary([replace(SOFT, failed_control="hard")], failed=failed))
    assert warnings == (
        "Arm 'hard' failed for at least one seed and is left out of all tables and comparisons.",
        "Arm 'soft' has no comparison, because its control 'hard' failed.",
    )


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [(1, "One seed gives no interval"), (4, "4 seeds give a wide interval"), (5, None)],
)
def test_few_seeds(seeds, sentence):
    arms = [arm("hard", seeds=seeds, control=True), arm("soft", seeds=seeds)]
    warnings = study_warnings(summary(arms, PAIR))
    assert len(warnings) == (sentence is not None)
    assert all(warning.startswith(sentence) for warning in warnings)


def test_arms_without_a_control():
    assert study_warnings(summary([SOFT])) == (
        "Arm 'soft' has no control to compare with. Add an arm with soft_weight=0.",
    )
    assert study_warnings(summary([SOFT, arm("softer")]))[0].startswith(
        "Arms 'soft' and 'softer' have no control"
    )


def test_a_weak_teacher_whose_students_are_better_has_one_message():
    teacher = TeacherResult(name="mlp", params=10, test=metrics(11))
    pair = [replace(comparison("soft"), verdict="helps")]
    (warning,) = study_warnings(summary([HARD, SOFT], pair, teacher=teacher))
    assert warning.endswith(
        "'hard' (10.0): distillation helps all the same. A better teacher may help more."
    )
    pair = [replace(comparison("soft"), verdict="not shown")]
    (warning,) = study_warnings(summary([HARD, SOFT], pair, teacher=teacher))
    assert warning.endswith("it has little to teach. Train a better teacher first.")


@pytest.mark.parametrize(("constant", "warns"), [(10.2, True), (10, True), (10.6, False)])
def test_students_that_have_hardly_learned(constant, warns):
    facts = summary([HARD, SOFT], [replace(comparison("soft"), main=True)])
    facts = replace(facts, data=replace(facts.data, constant=constant))
    warnings = study_warnings(facts)
    assert len(warnings) == warns
    if warns:
        assert warnings[0].startswith("The students have hardly learned: 'hard' (10.0) and 'soft'")
        assert f"with {constant:.4g} test errors, or hardly so" in warnings[0]
    assert len(study_warnings(replace(facts, quick=True))) == 1  # that it is a quick run


def test_one_arm_that_has_learned_is_enough():
    arms = [HARD, arm("soft", errors=5.0)]
    facts = summary(arms, [replace(comparison("soft"), main=True)])
    assert study_warnings(replace(facts, data=replace(facts.data, constant=10.0))) == ()
