import shlex
from dataclasses import replace

import pytest
from support.summaries import make_arm, make_comparison, make_control, make_summary

from limbeck.report.next_steps import next_steps
from limbeck.run.comparison import Needed
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest

OVERRIDES = ("recipe=digits", "seeds=2", "out=there", "epochs=3")


def manifest(**facts):
    defaults = {"command": "limbeck run", "verb": "run", "overrides": OVERRIDES}
    return Manifest(facts={**defaults, **facts})


def study(verdict="helps", seeds=2, **fields):
    arms = [make_control("hard", [30] * seeds), make_arm("soft", [20] * seeds)]
    comparison = make_comparison("soft", "hard", verdict=verdict, main=True, **fields)
    return make_summary(arms, [comparison])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run folder with the students of two arms, in the working directory."""
    monkeypatch.chdir(tmp_path)
    run = RunFolder("a run")
    for arm in ("hard", "soft"):
        run.student(arm, 0).mkdir(parents=True)
    return run


def commands(folder, summary, manifest):
    return [step.command for step in next_steps(folder, summary, manifest)]


def test_a_student_that_is_better_is_used(folder):
    load, export, cost, seeds = commands(folder, study(), manifest())
    assert load.splitlines() == [
        "from limbeck.models import load_model",
        "model = load_model('a run/students/soft/seed0').model",
    ]
    compile(load, "load", "exec")
    assert shlex.split(export) == ["limbeck", "export", "a run", "arm=soft"]
    assert shlex.split(cost) == ["limbeck", "cost", "a run"]
    assert shlex.split(seeds) == ["limbeck", "run", "recipe=digits", "epochs=3", "seeds=5"]


def test_images_can_be_tried_and_a_measured_cost_is_not_measured_again(folder):
    folder.examples.touch()
    folder.cost.touch()
    lines = commands(folder, study(seeds=5), manifest())
    assert [shlex.split(line)[1] for line in lines[1:]] == ["export", "demo"]


def test_the_control_is_used_if_distillation_hurts(folder):
    lines = commands(folder, study("hurts", seeds=5), manifest())
    assert "arm=hard" in lines[1]
    assert lines[-1].endswith("seeds=2 epochs=3 objective.temperature=1,2,4,8")


def test_more_seeds_come_first_if_the_evidence_is_not_enough(folder):
    summary = study("not shown", needed=Needed(power=0.3, seeds=11, samples_factor=4.0))
    first, second, *_ = commands(folder, summary, manifest(config_dir="my conf"))
    assert first == "limbeck run --config-dir 'my conf' recipe=digits epochs=3 seeds=11"
    assert second.startswith("limbeck run -m --config-dir 'my conf' recipe=digits")


def test_seeds_that_would_not_help_are_not_suggested(folder):
    summary = study("not shown", needed=Needed(power=0.3, seeds=None, samples_factor=4.0))
    assert not any("seeds=1" in line for line in commands(folder, summary, manifest()))


def test_a_sweep_stays_a_sweep(folder):
    lines = commands(folder, study("not shown"), manifest(multirun=True))
    assert lines[0] == "limbeck run -m recipe=digits epochs=3 seeds=5"
    assert not any("temperature" in line for line in lines)


def test_a_study_in_python_has_its_seeds_in_python(folder):
    lines = commands(folder, study("not shown"), Manifest())
    assert "study = Study(..., seeds=5)" in lines
    assert all(lines)


def test_a_smoke_test_is_repeated_in_earnest(folder):
    summary = make_summary(study().arms, study().comparisons, quick=True)
    lines = commands(folder, summary, manifest(overrides=("recipe=text", "quick=true")))
    assert lines[-1] == "limbeck run recipe=text"


def test_a_damaged_summary_without_arms_or_seeds_has_no_students_to_use(folder):
    comparisons = study().comparisons
    for arms in ([], [replace(arm, seeds=()) for arm in study().arms]):
        lines = commands(folder, make_summary(arms, comparisons), manifest())
        assert [shlex.split(line)[1] for line in lines] == ["run"]


def test_a_student_that_is_gone_or_has_no_folder_is_not_suggested(tmp_path):
    assert commands(RunFolder(tmp_path), study(seeds=5), manifest()) == []
    arms = [make_control("hard", [3] * 5), make_arm("a\\u202eb/..", [2] * 5)]
    summary = make_summary(arms, [make_comparison("a\\u202eb/..", "hard", main=True)])
    assert commands(RunFolder(tmp_path), summary, manifest()) == []
