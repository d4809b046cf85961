"""Students that fail are reported and do not change the others."""

import json
import re
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from support.pages import Page
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective, Optimizer, Study
from limbeck._base.errors import DivergedError, ResourceError
from limbeck.cli.main import main
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.cohorts import plan_cohorts
from limbeck.study.engine import Engine
from limbeck.study.planning import plan_arms
from limbeck.training.cohort import stack as cohort_module

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
WILD = Optimizer(name="sgd", lr=1e30)
small = partial(MLP, hidden=[6])


def teacher():
    torch.manual_seed(7)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def study(data, out, arms, **options):
    defaults = {
        "student": small,
        "teacher": teacher(),
        "seeds": 2,
        "epochs": 3,
        "batch_size": 32,
        "store": "off",
        "optimizer": Optimizer(lr=0.01),
    }
    return make_study(data, arms, out, **{**defaults, **options})


def weights(out):
    return {
        f"{file.parent.parent.name}/{file.parent.name}/{name}": tensor
        for file in sorted(out.glob("students/*/*/model.safetensors"))
        for name, tensor in load_file(file).items()
    }


GOOD = {"hard": Arm(objective=HARD), "soft": Arm(objective=Objective())}


def test_a_cohort_that_diverges_does_not_stop_the_others(data, tmp_path, real_report):
    arms = {"wild": Arm(objective=Objective(), optimizer=WILD), **GOOD}
    summary = study(data, tmp_path / "run", arms).run()
    assert [arm.name for arm in summary.arms] == ["hard", "soft"]
    assert [(f.arm, f.seed) for f in summary.failed] == [("wild", 0), ("wild", 1)]
    assert "the loss of wild/seed1 was" in summary.failed[1].reason
    assert [c.arm for c in summary.comparisons] == ["soft"]
    assert not (tmp_path / "run" / "students" / "wild").exists()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["state"] == "finished"
    assert set(manifest["failed"]) == {"wild/seed0", "wild/seed1"}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<b>wild</b> (seeds 0 and 1): Training diverged" in page
    alone = study(data, tmp_path / "alone", GOOD).run()
    assert alone.comparisons == summary.comparisons
    assert all(
        torch.equal(tensor, weights(tmp_path / "run")[name])
        for name, tensor in weights(tmp_path / "alone").items()
    )


def test_a_student_that_diverges_does_not_change_its_cohort(data, tmp_path):
    arms = {**GOOD, "wild": Arm(objective=Objective(hard_weight=1e6, soft_weight=0))}
    plain = {"student": small, "optimizer": Optimizer(name="sgd", lr=0.05)}
    summary = study(data, tmp_path / "run", arms, **plain).run()
    assert {f.arm for f in summary.failed} == {"wild"}
    study(data, tmp_path / "alone", GOOD, **plain).run()
    result, expected = weights(tmp_path / "run"), weights(tmp_path / "alone")
    assert list(result) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(result[name], tensor, rtol=1e-4, atol=1e-6)


def test_an_arm_with_a_failed_control_is_not_compared(data, tmp_path, real_report):
    arms = {
        "hard": Arm(objective=HARD, optimizer=WILD),
        "soft": Arm(objective=Objective(), control="hard"),
    }
    summary = study(data, tmp_path / "run", arms).run()
    assert summary.comparisons == ()
    assert summary.arms[0].failed_control == "hard"
    assert "Arm 'soft' has no comparison, because its control 'hard' failed." in summary.warnings
    assert not any("has no control to compare with" in warning for warning in summary.warnings)
    page = Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert "No comparison: the control hard failed." in page.text


def test_a_cohort_that_runs_out_of_memory_does_not_stop_the_others(data, tmp_path, monkeypatch):
    fit = Engine.fit

    def short(self, job):
        if job.stage == "cohort0":
            raise ResourceError("Memory of the device ran out: lower batch_size, or seeds.")
        return fit(self, job)

    monkeypatch.setattr(Engine, "fit", short)
    summary = study(
        data,
        tmp_path / "run",
        {"large": Arm(objective=HARD, student=partial(MLP, hidden=[7])), **GOOD},
    ).run()
    assert {f.arm: f.reason for f in summary.failed} == {
        "large": "Memory of the device ran out: lower batch_size, or seeds."
    }
    assert [arm.name for arm in summary.arms] == ["hard", "soft"]


def test_a_run_that_ran_out_of_memory_is_resumed(data, tmp_path, monkeypatch):
    arms = {"large": Arm(objective=HARD, student=partial(MLP, hidden=[7])), **GOOD}
    run = tmp_path / "run"

    def full(self, job):
        raise ResourceError("Memory ran out: lower batch_size, or seeds.")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "fit", full)
        with pytest.raises(ResourceError, match="Memory ran out"):
            study(data, run, arms).run()
        with pytest.raises(ResourceError, match="Memory ran out"):
            study(data, run, arms, resume=True).run()
    summary = study(data, run, arms, resume=True).run()
    assert summary.failed == ()
    assert json.loads((run / "manifest.json").read_text(encoding="utf-8"))["state"] == "finished"


def test_a_run_without_some_students_is_incomplete_until_it_is_resumed(data, tmp_path, monkeypatch):
    fit, run = Engine.fit, tmp_path / "run"
    arms = {"large": Arm(objective=HARD, student=partial(MLP, hidden=[7])), **GOOD}

    def short(self, job):
        if job.stage == "cohort0":
            raise ResourceError("Memory ran out: lower batch_size, or seeds.")
        return fit(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "fit", short)
        assert study(data, run, arms).run().failed
    assert json.loads((run / "manifest.json").read_text(encoding="utf-8"))["state"] == "incomplete"
    assert study(data, run, arms, resume=True).run().failed == ()


def test_several_processes_stop_together(data, tmp_path, monkeypatch):
    def full(self, job):
        raise ResourceError("Memory ran out: lower batch_size, or seeds.")

    monkeypatch.setattr(Engine, "fit", full)
    several = study(data, tmp_path / "run", GOOD)
    several.processes = 2
    with pytest.raises(ResourceError, match="Memory ran out"):
        several.run()
    assert (
        json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["failed"] == {}
    )


def test_diverged_students_are_not_trained_again(data, tmp_path, monkeypatch):
    arms = {"wild": Arm(objective=HARD, optimizer=WILD), **GOOD}
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Study, "_summarize", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study(data, run, arms).run()
    fitted = []
    monkeypatch.setattr(Engine, "fit", lambda self, job: fitted.append(job.stage))
    summary = study(data, run, arms, resume=True).run()
    assert fitted == []
    assert [arm.name for arm in summary.arms] == ["hard", "soft"]
    assert len(summary.failed) == 2


def test_a_study_without_any_student_left_fails(data, tmp_path):
    with pytest.raises(DivergedError, match="the loss of hard/seed0"):
        study(data, tmp_path / "run", GOOD, optimizer=WILD).run()
    assert not (tmp_path / "run" / "summary.json").exists()
    with pytest.raises(DivergedError, match="the loss of hard/seed0"):
        study(data, tmp_path / "run", GOOD, optimizer=WILD, resume=True).run()


QUICK = (
    "quick=true",
    "logger=csv",
    "seeds=2",
    "student.hidden=[4]",
    "teacher=mlp",
    "teacher.model.hidden=[8]",
    "teacher.epochs=1",
    "store=off",
    "optimizer.name=sgd",
)


def test_the_command_line_finishes_the_rest_and_names_the_failures(tmp_path, capsys, real_report):
    run = tmp_path / "run"
    assert main(["run", "-m", "optimizer.lr=0.1,1e30", *QUICK, f"out={run}"]) == 5
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert re.match(
        r"error: \d students failed; the report covers all others\. hard,lr=1e\+30 \(seed", last
    )
    assert "Training diverged: the loss of hard,lr=1e+30/seed0 was" in last
    assert "failed: soft,lr=1e+30 (seed" in " ".join(out.split())
    assert (run / "report.html").is_file()
    summary = read_summary(RunFolder(run))
    assert [arm.name for arm in summary.arms] == ["hard,lr=0.1", "soft,lr=0.1"]
    assert summary.arms[0].optimizer["lr"] == 0.1
    assert main(["run", "-m", "optimizer.lr=1e29,1e30", *QUICK, f"out={tmp_path / 'none'}"]) == 5
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("error: Training diverged: the loss of hard,lr=1e+29")
    )


# Cohorts ------------------------------------------------------------------------------------------


def test_arms_with_another_optimizer_form_another_cohort(data, tmp_path):
    fast = Optimizer(lr=0.1)
    arms = {
        **GOOD,
        "sgd": Arm(objective=HARD, optimizer=Optimizer(name="sgd", lr=0.1)),
        "hard-fast": Arm(objective=HARD, optimizer=fast),
        "soft-fast": Arm(objective=Objective(), optimizer=fast),
    }
    planned = study(data, tmp_path / "run", arms)
    assert [[plan.name for plan in cohort.arms] for cohort in planned.cohorts()] == [
        ["hard", "soft", "hard-fast", "soft-fast"],  # another learning rate alone
        ["sgd"],
    ]
    assert planned.size() == "5 arms x 2 seeds: 10 students in 2 cohorts"
    summary = planned.run()
    assert {c.arm: c.control for c in summary.comparisons} == {
        "soft": "hard",
        "soft-fast": "hard-fast",
    }
    assert not any("differ in" in warning for warning in summary.warnings)


def test_a_warning_names_a_control_with_another_optimizer(data, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=Objective(), optimizer=Optimizer(lr=0.1)),
    }
    summary = study(data, tmp_path / "run", arms).run()
    assert any(
        "'soft' and its control 'hard' also differ in optimizer" in warning
        for warning in summary.warnings
    )


@pytest.mark.parametrize(
    ("room", "sizes"),
    [
        (99, [(5, 3)]),
        (9, [(2, 3), (3, 3)]),
        (3, [(1, 3)] * 5),
        (2, [(1, 1), (1, 2)] * 5),
        (1, [(1, 1)] * 15),
    ],
)
def test_a_cohort_that_is_too_large_is_split(data, monkeypatch, room, sizes):
    params = sum(p.numel() for p in small(shape=data.shape, classes=3).parameters())
    monkeypatch.setattr(cohort_module, "MAX_STACKED", room * params + params // 2)
    arms = {f"a{i}": Arm(objective=Objective(temperature=1 + i)) for i in range(5)}
    plans = plan_arms(arms, Arm(objective=HARD, student=small, optimizer=Optimizer(), epochs=3))
    cohorts = plan_cohorts(plans, [0, 1, 2], data)
    assert [(len(cohort.arms), len(cohort.seeds)) for cohort in cohorts] == sizes
    pairs = [(plan.name, seed) for cohort in cohorts for plan, seed in cohort.students()]
    assert sorted(pairs) == [(f"a{i}", seed) for i in range(5) for seed in range(3)]


@pytest.mark.parametrize(
    ("limit", "sizes"), [(99, [15]), (7, [3, 6, 6]), (3, [3] * 5), (2, [1, 2] * 5), (1, [1] * 15)]
)
def test_the_launcher_limits_the_students_of_a_cohort(data, tmp_path, limit, sizes):
    arms = {f"a{i}": Arm(objective=Objective(temperature=1 + i)) for i in range(5)}
    launcher = {"name": "ray", "students": limit}
    cohorts = study(data, tmp_path / "run", arms, seeds=3, launcher=launcher).cohorts()
    assert [len(cohort.arms) * len(cohort.seeds) for cohort in cohorts] == sizes


@pytest.mark.parametrize("at_once", [True, False])
def test_the_longest_training_comes_first_where_several_run(data, tmp_path, monkeypatch, at_once):
    arms = {
        "short": Arm(objective=HARD, student=partial(MLP, hidden=[6]), epochs=1),
        "wide": Arm(objective=HARD, student=partial(MLP, hidden=[30]), epochs=2),
        "long": Arm(objective=HARD, student=partial(MLP, hidden=[6]), epochs=20),
    }
    labels = []
    fit_all = Engine.fit_all

    def note(self, jobs, record):
        jobs = list(jobs)
        labels.extend(job.label for job in jobs)
        return fit_all(self, jobs, record)

    monkeypatch.setattr(Engine, "fit_all", note)
    monkeypatch.setattr(Engine, "trains_at_once", at_once)
    summary = study(data, tmp_path / "run", arms, seeds=1).run()
    assert [arm.name for arm in summary.arms] == list(arms)
    order = ["long", "wide", "short"] if at_once else list(arms)
    assert [next(name for name in arms if name in label) for label in labels] == order


def test_splitting_a_cohort_changes_no_student(data, tmp_path, monkeypatch):
    arms = {f"t{t}": Arm(objective=Objective(temperature=t)) for t in (1, 2, 4, 8)} | {
        "hard": Arm(objective=HARD)
    }
    study(data, tmp_path / "whole", arms).run()
    params = sum(p.numel() for p in small(shape=data.shape, classes=3).parameters())
    monkeypatch.setattr(cohort_module, "MAX_STACKED", 4 * params)
    split = study(data, tmp_path / "split", arms)
    assert len(split.cohorts()) == 3
    split.run()
    result, expected = weights(tmp_path / "split"), weights(tmp_path / "whole")
    assert list(result) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(result[name], tensor, rtol=1e-4, atol=1e-6)
