"""Arms chosen on the validation split: the test split sees the best alone."""

import json
import math

import numpy as np
import pytest
from support.image_studies import HARD, small, study_of

from limbeck import Arm, Objective, Optimizer, evaluate
from limbeck._base.errors import ConfigError
from limbeck.losses import TASKS
from limbeck.models import load_model
from limbeck.report.wording import headlines
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.planning import plan_arms

RATES = (1e-5, 0.01, 1e30)


def arms_of(rates=RATES, **options):
    arms = {}
    for rate in rates:
        optimizer = Optimizer(lr=rate)
        arms[f"hard-{rate:g}"] = Arm(objective=HARD, optimizer=optimizer, choice="hard")
        arms[f"soft-{rate:g}"] = Arm(
            objective=Objective(temperature=2.0), optimizer=optimizer, choice="soft", **options
        )
    return arms


def validation_errors(data, out, name, seeds=2):
    errors = []
    for seed in range(seeds):
        folder = out / "students" / name / f"seed{seed}"
        if not folder.is_dir():
            return math.inf
        model = load_model(folder).model
        loader = [(data.val.inputs.float() / 255, data.val.labels)]
        errors.append(evaluate(model, loader)["errors"])
    return sum(errors) / seeds


def test_the_rate_with_the_fewest_validation_errors_is_compared(data, tmp_path, real_report):
    out, arms = tmp_path / "run", arms_of(control="hard-1e-05")
    summary = study_of(data, out, arms, epochs=4).run()
    expected = []
    for name in ("hard", "soft"):
        group = [arm for arm in arms if arm.startswith(name)]
        expected.append(min(group, key=lambda arm: validation_errors(data, out, arm)))
    assert [arm.name for arm in summary.arms] == expected == ["hard-0.01", "soft-0.01"]
    assert [arm.candidates for arm in summary.arms] == [3, 3]
    assert all(arm.seconds > 0 for arm in summary.arms)
    # A control that was not chosen is replaced by the arm that was.
    assert [(c.arm, c.control) for c in summary.comparisons] == [("soft-0.01", "hard-0.01")]
    assert summary.failed == ()  # a rate that diverges is no failure of the choice
    assert not any("differ in" in warning for warning in summary.warnings)
    assert not any("at the edge" in warning for warning in summary.warnings)
    names = {file.split("/")[1] for file in np.load(out / "predictions.npz").files if "/" in file}
    assert names == set(expected)
    sentence = "The validation split chose hard-0.01 among 3, soft-0.01 among 3"
    assert any(sentence in entry.text for entry in headlines(summary))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert sentence in page


def test_a_chosen_value_at_the_edge_of_those_that_were_tried_is_named(data, tmp_path):
    summary = study_of(data, tmp_path / "run", arms_of((1e-6, 1e-5, 0.01)), epochs=4).run()
    assert [arm.name for arm in summary.arms] == ["hard-0.01", "soft-0.01"]
    warning = next(warning for warning in summary.warnings if "at the edge" in warning)
    assert "'hard-0.01' (optimizer.lr=0.01, the largest), 'soft-0.01' (optimizer.lr" in warning


def test_one_of_two_values_is_always_at_the_edge(data, tmp_path):
    summary = study_of(data, tmp_path / "run", arms_of((1e-5, 0.01)), epochs=4).run()
    assert not any("at the edge" in warning for warning in summary.warnings)


def test_a_resumed_run_chooses_the_same_arms(data, tmp_path):
    out = tmp_path / "run"
    first = study_of(data, out, arms_of(), epochs=2).run()
    (out / "summary.json").unlink()
    again = study_of(data, out, arms_of(), epochs=2, resume=True).run()
    assert again.arms == first.arms
    assert read_summary(RunFolder(out)).arms == first.arms


def test_each_chosen_arm_has_its_own_rate(data, tmp_path):
    """The control learns at one rate only, the student at another."""
    slow, fast = Optimizer(name="sgd", lr=1e-6), Optimizer(name="sgd", lr=0.05)
    arms = {
        "hard-slow": Arm(objective=HARD, optimizer=slow, choice="hard"),
        "hard-fast": Arm(objective=HARD, optimizer=fast, choice="hard"),
        "soft-slow": Arm(objective=Objective(soft_weight=1e5), optimizer=slow, choice="soft"),
        "soft-fast": Arm(objective=Objective(soft_weight=1e6), optimizer=fast, choice="soft"),
    }
    summary = study_of(data, tmp_path / "run", arms, epochs=4).run()
    assert [arm.name for arm in summary.arms] == ["hard-fast", "soft-slow"]
    assert summary.comparisons[0].control == "hard-fast"
    assert not any("differ in" in warning for warning in summary.warnings)


def test_all_arms_of_a_choice_may_fail(data, tmp_path):
    arms = {"plain": Arm(objective=HARD), **arms_of((1e29, 1e30))}
    summary = study_of(data, tmp_path / "run", arms, epochs=2).run()
    assert [arm.name for arm in summary.arms] == ["plain"]
    assert {student.arm for student in summary.failed} == {"hard-1e+29", "soft-1e+29"}


def test_a_choice_is_a_name(data, tmp_path):
    with pytest.raises(ConfigError, match=r"arms\.hard\.choice=3 should be the name of a group"):
        study_of(data, tmp_path / "run", {"hard": Arm(objective=HARD, choice=3)})


def test_no_arm_of_embeddings_is_chosen():
    arms = {"hard": Arm(objective=HARD, choice="hard", student=small)}
    defaults = Arm(objective=HARD, optimizer=Optimizer(), epochs=1)
    with pytest.raises(ConfigError, match="cannot choose among students for embeddings"):
        plan_arms(arms, defaults, TASKS["embedding"])


def test_arms_without_a_choice_are_all_scored(data, tmp_path):
    arms = {"hard": Arm(objective=HARD), "other": Arm(objective=HARD, optimizer=Optimizer(lr=0.1))}
    summary = study_of(data, tmp_path / "run", arms, epochs=1).run()
    assert [arm.candidates for arm in summary.arms] == [None, None]
    content = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert all("candidates" not in arm for arm in content["arms"])
