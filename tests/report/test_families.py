from dataclasses import replace

import pytest
from support.summaries import make_arm, make_control, make_summary, make_sweep

from limbeck.report.families import (
    control_of,
    families,
    highlighted_arms,
    is_control,
    labels,
    settings,
)

TEMPERATURE = ["objective.temperature"]


def names(groups):
    return [[arm.name for arm in family] for family in groups]


def with_temperature(name, temperature, **fields):
    return make_arm(name, [1], objective={"temperature": temperature}, **fields)


def test_arms_that_a_summary_cannot_tell_apart_are_separate_families():
    arms = [
        with_temperature(f"soft,temperature={t},dropout={d}", t) for t in (1, 2) for d in (0, 0.5)
    ]
    groups = families(arms, TEMPERATURE)
    assert names(groups) == [
        ["soft,temperature=1,dropout=0", "soft,temperature=2,dropout=0"],
        ["soft,temperature=1,dropout=0.5", "soft,temperature=2,dropout=0.5"],
    ]
    assert labels(groups, TEMPERATURE) == ["soft,dropout=0", "soft,dropout=0.5"]


def test_views_with_other_settings_are_separate_families():
    arms = []
    for prefix, degrees in (("a", 5.0), ("b", 60.0)):
        chain = {"kind": "Chain", "views": [{"kind": "Affine", "degrees": degrees}]}
        arms += [with_temperature(f"{prefix}{t}", t, views_settings=chain) for t in (1, 2)]
    groups = families(arms, TEMPERATURE)
    assert names(groups) == [["a1", "a2"], ["b1", "b2"]]
    assert labels(groups, TEMPERATURE) == ["views.0.degrees 5", "views.0.degrees 60"]


def test_arms_that_train_longer_are_a_separate_family():
    arms = [with_temperature(f"t{t}e{e}", t, epochs=e) for t in (1, 2) for e in (10, 20)]
    groups = families(arms, TEMPERATURE)
    assert names(groups) == [["t1e10", "t2e10"], ["t1e20", "t2e20"]]
    assert labels(groups, TEMPERATURE) == ["epochs 10", "epochs 20"]


def test_a_label_leaves_out_the_parts_of_the_control():
    arms = make_sweep(sizes=(100, 200)).arms
    groups = families([arm for arm in arms if not arm.control and arm.params == 100], TEMPERATURE)
    assert labels(groups, TEMPERATURE, "hard,hidden=100") == [
        "soft,soft_weight=0.1",
        "soft,soft_weight=0.9",
    ]


def test_a_control_has_no_settings_of_the_soft_loss():
    control = make_control("hard", [1])
    assert is_control(control)
    assert not any(key.startswith("objective.soft") for key in settings(control))
    hint = {"kind": "hint", "student": "a", "teacher": "b", "weight": 1.0}
    guided = replace(control, control=False, objective={**control.objective, "features": [hint]})
    assert not is_control(guided)
    assert settings(guided)["objective.features"] == "hint a from b (weight 1)"


def test_the_control_of_an_arm_is_that_of_its_comparison():
    summary = make_sweep(sizes=(100, 200))
    assert control_of(summary.arms[-1], summary).name == "hard,hidden=200"
    assert control_of(summary.arms[0], summary) is None


def test_few_arms_are_all_highlighted():
    assert highlighted_arms(make_sweep(weights=(0.1, 0.5, 0.9))) is None


def test_headline_control_and_best_on_validation_are_highlighted():
    summary = make_sweep(temperatures=range(1, 14))
    main = replace(summary.comparisons[0], main=True)
    summary = replace(summary, comparisons=(main, *summary.comparisons[1:]))
    highlighted = highlighted_arms(summary)
    assert len(highlighted) == 6
    assert {main.arm, main.control} <= set(highlighted)
    assert "soft,temperature=13,soft_weight=0.9" in highlighted, "best on validation, worst on test"


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_an_arm_without_a_result_on_validation_is_never_highlighted(missing):
    arms = [make_arm(f"arm{i}", [9, 9]) for i in range(14)]
    seed = replace(arms[3].seeds[0], val=replace(arms[3].seeds[0].val, errors=missing))
    arms[3] = replace(arms[3], seeds=(seed, *arms[3].seeds[1:]))
    assert "arm3" not in highlighted_arms(make_summary(arms), limit=13)
