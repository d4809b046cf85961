"""``limbeck run -m``: a sweep is one study with one report, and can be resumed."""

import json
import re
import signal
import time

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from safetensors.numpy import load_file
from support.commands import call, killed_at_the_end, start

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose
from limbeck.cli.main import main
from limbeck.run.summary import parse_summary

SMALL = (
    "logger=csv",
    "seeds=2",
    "teacher=mlp",
    "teacher.model.hidden=[8]",
    "teacher.epochs=1",
    "store=off",
)
GRID = ("objective.temperature=1,4,20", "student.hidden=[4],[6,6]")


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def students(folder, arm=""):
    """The tensors of the students of an arm, or of all, by their paths."""
    tensors = {}
    for file in sorted(folder.glob("students/*/*/model.safetensors")):
        name = file.parent.relative_to(folder / "students").as_posix()
        if name.startswith(arm):
            tensors |= {f"{name}/{key}": tensor for key, tensor in load_file(file).items()}
    return tensors


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("sweep")
    code, out, err = call("run", "-m", *GRID, "quick=true", *SMALL, "out=run", cwd=cwd)
    return cwd / "run", code, out, err


def test_a_sweep_is_one_study(sweep):
    run, code, out, err = sweep
    assert code == 0, err
    assert "8 arms x 2 seeds: 16 students in 2 cohorts" in err
    summary = read(run, "summary.json")
    parse_summary(summary)
    assert len(summary["arms"]) == 8
    pairs = {c["arm"]: c["control"] for c in summary["comparisons"]}
    assert pairs == {
        f"soft,temperature={t},hidden={h}": f"hard,hidden={h}"
        for t in (1, 4, 20)
        for h in ("4", "6-6")
    }
    for comparison in summary["comparisons"]:
        assert comparison["p_value"] <= comparison["p_bh"] <= comparison["p_holm"]
    assert summary["failed"] == []
    assert "6 comparisons" in " ".join(out.split())
    assert "the fewest errors on the validation split" in " ".join(out.split())
    assert any(
        warning.startswith("6 comparisons: their verdicts are corrected")
        for warning in summary["warnings"]
    )
    page = (run / "report.html").read_text(encoding="utf-8")
    for title in ("Errors against temperature", "Errors against size"):
        assert f"<h3>{title}</h3>" in page


def test_the_run_folder_explains_itself(sweep):
    run, *_ = sweep
    arms = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["arms"]
    assert arms["soft,temperature=20,hidden=6-6"] == {
        "objective": {"temperature": 20},
        "student": {"hidden": [6, 6]},
    }
    manifest = read(run, "manifest.json")
    assert manifest["multirun"] is True
    assert manifest["command"].startswith("limbeck run -m objective.temperature=1,4,20")
    assert {p.name for p in (run / "students").iterdir()} == set(arms)


def test_each_arm_is_what_it_is_alone(sweep, tmp_path, capsys):
    run, *_ = sweep
    alone = [
        "objective.temperature=4",
        "student.hidden=[6,6]",
        "quick=true",
        *SMALL,
        f"out={tmp_path / 'run'}",
    ]
    assert main(["run", *alone]) == 0
    capsys.readouterr()
    for name, tensor in students(tmp_path / "run").items():
        arm, rest = name.split("/", 1)
        same = {"hard": "hard,hidden=6-6", "soft": "soft,temperature=4,hidden=6-6"}[arm]
        np.testing.assert_allclose(
            students(run, same)[f"{same}/{rest}"], tensor, rtol=1e-4, atol=1e-5
        )


def test_settings_of_a_sweep_can_be_printed(capsys):
    assert main(["run", "-m", "optimizer.lr=0.1,0.01", "~arms.hard", "--cfg", "job"]) == 0
    arms = yaml.safe_load(capsys.readouterr().out)["arms"]
    assert arms == {
        "soft,lr=0.1": {"optimizer": {"lr": 0.1}},
        "soft,lr=0.01": {"optimizer": {"lr": 0.01}},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-m seeds=0,1", "list several seeds as seeds=[0,1]"),
        (
            "-m epochs=1,2",
            "the arms of one study differ in objective, student, views, transfer or optimizer "
            "alone",
        ),
        ("-m data=digits,mnist", "Run the study once for each value instead"),
        ("-m teacher.epochs=range(1,3)", "teacher.epochs cannot be swept"),
        ("-m arms.soft.objective.temperature=1,2", "cannot be swept"),
        (
            "objective.temperature=1,2",
            "'limbeck run -m objective.temperature=1,2' makes each of them arms",
        ),
        ("-m objective.temprature=1,2", "Did you mean `objective.temperature`"),
        ("-m objective.temperature=interval(1,2)", "an interval has no steps"),
        ("-m objective.temperature=1,", "objective.temperature=1, cannot be read"),
        ("-m objective.temperature=range(3,3)", "holds no value"),
        ("-m objective.temperature=1,2 objective.temperature=3,4", "is swept twice"),
        ("-m objective.temperature=1,x", "objective.temperature='x' should be a finite number"),
        ("-m objective.temperature=1,2 ~arms.soft", "no arm depends on it"),
        ("-m student=mlp,convnt", "student=convnt is unknown. Did you mean convnet?"),
        ("-m student=mlp,convnet student.hidden=[3],[4]", "student=convnet has no such setting"),
        (
            "-m student=mlp,convnet student.hidden=[3]",
            "With student=convnet: Unknown key `student.hidden`",
        ),
        (
            "-m transfer={labelled:5},{labelled:6}",
            "Sweep a single setting instead, as in transfer.labelled=50,100",
        ),
        ("-m optimizer.lr=0,1", "optimizer.lr=0 learns nothing"),
    ],
)
def test_wrong_sweeps_are_refused(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "quick=true", "out=run", *arguments.split()]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def listed_weights(run):
    """Number of students of the first cohort that the manifest lists, so that they are kept."""
    if not (run / "manifest.json").exists():
        return 0
    files = read(run, "manifest.json").get("files") or {}
    return sum("hidden=4/" in name and name.endswith(".safetensors") for name in files)


@pytest.mark.slow
def test_a_killed_sweep_keeps_its_finished_cohorts(tmp_path, capsys):
    long = (
        "run",
        "-m",
        "objective.temperature=1,4",
        "student.hidden=[4],[6,6]",
        *SMALL,
        "epochs=30",
    )
    assert main([*long, f"out={tmp_path / 'whole'}"]) == 0
    process = start(*long, "out=run", cwd=tmp_path)
    run = tmp_path / "run"
    with killed_at_the_end(process):
        deadline = time.monotonic() + 120
        while listed_weights(run) < 6:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    first = {
        file: file.stat().st_mtime_ns for file in run.glob("students/*hidden=4/*/model.safetensors")
    }
    assert len(first) == 6, "the first cohort is saved"
    capsys.readouterr()
    assert main(["resume", str(run)]) == 0
    assert "6 arms x 2 seeds" in capsys.readouterr().err
    assert {file: file.stat().st_mtime_ns for file in first} == first
    resumed, expected = students(run), students(tmp_path / "whole")
    assert list(resumed) == list(expected)
    assert all(np.array_equal(resumed[name], expected[name]) for name in expected)
    assert read(run, "manifest.json")["multirun"] is True
    one, other = (read(folder, "summary.json") for folder in (run, tmp_path / "whole"))
    assert one["comparisons"] == other["comparisons"]


# Sweeps of a recipe -------------------------------------------------------------------------------


@pytest.fixture
def recipes(tmp_path):
    """A folder with a recipe that holds a sweep."""
    folder = tmp_path / "conf" / "recipe"
    folder.mkdir(parents=True)
    (folder / "grid.yaml").write_text(
        "# @package _global_\nrecipe: grid\nstudent: {hidden: [4]}\n"
        "sweep: {student.hidden: [[4], [6, 6]], objective.temperature: [1, 4, 20, 4.0]}\n",
        encoding="utf-8",
    )
    return tmp_path / "conf"


def arms_of(*overrides, config_dir, multirun=False):
    settings = compose(["recipe=grid", *overrides], config_dir, multirun=multirun)
    return OmegaConf.to_container(settings)["arms"]


def test_a_recipe_sweeps_as_the_command_line_does(recipes):
    typed = ["student.hidden=[4],[6,6]", "objective.temperature=1,4,20"]
    assert arms_of(config_dir=recipes) == arms_of(
        "sweep=null", *typed, config_dir=recipes, multirun=True
    )


@pytest.mark.parametrize(
    ("overrides", "multirun", "arms"),
    [
        (["objective.temperature=2,3"], True, {"hard", "soft,temperature=2", "soft,temperature=3"}),
        (["objective.temperature=9"], False, {"hard", "soft"}),
        (["objective=logits"], False, {"hard", "soft"}),
        (["quick=true"], False, {"hard", "soft,temperature=1", "soft,temperature=20"}),
        (
            ["objective.temperature=2,3,5", "quick=true"],
            True,
            {"hard"} | {f"soft,temperature={t}" for t in (2, 3, 5)},
        ),
    ],
)
def test_the_command_line_changes_the_sweep_of_a_recipe(recipes, overrides, multirun, arms):
    first = {arm.partition(",")[::2] for arm in arms}
    expected = {
        ",".join(filter(None, (arm, f"hidden={h}", rest)))
        for arm, rest in first
        for h in ("4", "6-6")
    }
    assert set(arms_of(*overrides, config_dir=recipes, multirun=multirun)) == expected


def test_the_sweep_of_a_recipe_is_switched_off_or_replaced(recipes):
    assert set(arms_of("sweep=null", config_dir=recipes)) == {"hard", "soft"}
    assert set(arms_of("student=convnet", "objective.temperature=1", config_dir=recipes)) == {
        "hard",
        "soft",
    }
    arms = arms_of("sweep={transfer.samples: [5, 6]}", config_dir=recipes)
    assert set(arms) == {f"{arm},samples={n}" for arm in ("hard", "soft") for n in (5, 6)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep={epochs: [1, 2]}", "epochs cannot be swept"),
        ("sweep={objective.temprature: [1, 2]}", "Did you mean `objective.temperature`"),
        ("sweep={objective.temperature: 2}", "should be a list of values"),
        ("sweep={objective.temperature: []}", "should be a list of values"),
        ("sweep=[1,2]", "should list values by key"),
        ("sweep.objective.temperature=[1,2]", "'limbeck run -m objective.temperature=A,B'"),
    ],
)
def test_wrong_sweeps_of_a_recipe_are_refused(recipes, override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        arms_of(override, config_dir=recipes)


@pytest.mark.slow
def test_a_recipe_with_a_sweep_is_resumed_with_the_same_arms(recipes, tmp_path, capsys):
    run = tmp_path / "run"
    assert (
        main(
            ["run", "recipe=grid", "--config-dir", str(recipes), "quick=true", *SMALL, f"out={run}"]
        )
        == 0
    )
    assert "6 arms x 2 seeds: 12 students in 2 cohorts" in capsys.readouterr().err
    first, summary = students(run), read(run, "summary.json")
    state = {**read(run, "manifest.json"), "state": "interrupted"}
    (run / "manifest.json").write_text(json.dumps(state), encoding="utf-8")
    assert main(["resume", str(run)]) == 0
    assert "6 arms x 2 seeds" in capsys.readouterr().err
    assert list(students(run)) == list(first)
    assert read(run, "summary.json")["comparisons"] == summary["comparisons"]


def test_a_rate_is_chosen_on_validation_for_each_arm(tmp_path):
    command = ["run", "-m", "optimizer.lr=0.00001,0.01", "choose=[optimizer.lr]", "quick=true"]
    code, out, err = call(*command, *SMALL, "out=run", cwd=tmp_path)
    assert code == 0, err
    summary = read(tmp_path / "run", "summary.json")
    assert [arm["candidates"] for arm in summary["arms"]] == [2, 2]
    text = " ".join(out.split())
    assert "The validation split chose hard,lr=0.01 among 2, soft,lr=0.01 among 2" in text
    (tmp_path / "run" / "summary.json").unlink()
    assert call("resume", "run", cwd=tmp_path)[0] == 0
    assert read(tmp_path / "run", "summary.json")["arms"] == summary["arms"]
