"""A regression from the command line: every verb answers, or says that it is for classes."""

import csv
import json

import numpy as np
import pytest
import yaml

from limbeck.cli.main import main

pytestmark = pytest.mark.slow
SETTINGS = [
    "teacher=mlp",
    "teacher.model.hidden=[8]",
    "teacher.members=1",
    "teacher.epochs=2",
    "student.hidden=[4]",
    "seeds=2",
    "splits=1",
    "epochs=2",
    "logger=csv",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of two targets, and two runs on it."""
    folder = tmp_path_factory.mktemp("regression")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3))
    rows = np.column_stack([x, 100 + 10 * x[:, 0], x[:, 1] - x[:, 2]]).round(4)
    lines = ["a,b,c,price,rent", *(",".join(map(str, row)) for row in rows)]
    (folder / "rows.csv").write_text("\n".join(lines))
    data = ["data=table", f"data.path={folder / 'rows.csv'}", "data.label=[price,rent]"]
    store = f"store.folder={folder / 'store'}"
    for number in (0, 1):
        run = [*data, "data.task=regression", *SETTINGS, store, f"teacher.seed={number}"]
        assert main(["run", *run, f"out={folder / f'run{number}'}"]) == 0
    return folder


def test_export_and_predict(folder, capsys):
    run, bundle = folder / "run0", folder / "bundle"
    assert main(["export", str(run), f"to={bundle}", "int8=false"]) == 0
    assert "squared error on" in capsys.readouterr().out
    assert main(["predict", str(bundle), str(folder / "rows.csv")]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 150
    assert list(rows[0]) == ["file", "line", "price", "rent", "error"]
    assert 50 < float(rows[0]["price"]) < 150


def test_plan_compare_and_report(folder, capsys):
    assert main(["plan", str(folder / "run0"), "effect=0.01"]) == 0
    assert "samples" in capsys.readouterr().out
    assert main(["compare", str(folder / "run0"), str(folder / "run1")]) == 0
    assert "squared error" in capsys.readouterr().out
    assert main(["report", str(folder / "run0")]) == 0
    assert "R²" in capsys.readouterr().out
    page = (folder / "run0" / "report.html").read_text(encoding="utf-8")
    assert "limbeck export" in page
    assert "objective.temperature" not in page


def test_the_teacher_of_a_run_is_used_again(folder, capsys):
    data = ["data=table", f"data.path={folder / 'rows.csv'}", "data.label=[price,rent]"]
    teacher = f"teacher.from={folder / 'run0'}"
    assert main(["check", *data, "data.task=regression", teacher, "student.hidden=[4]"]) == 0
    assert "The teacher has R²" in capsys.readouterr().out


def test_what_is_for_language_models_says_so(folder, capsys):
    assert main(["sample", str(folder / "run0"), "once"]) == 2
    assert "needs the run of a language model" in capsys.readouterr().err


def test_a_target_with_words_is_refused(folder, capsys):
    (folder / "words.csv").write_text("a,price\n1,2\n2,three\n3,4\n4,5\n5,6\n6,7\n")
    data = ["data=table", f"data.path={folder / 'words.csv'}", "data.label=price"]
    assert main(["run", *data, "data.task=regression", f"out={folder / 'none'}"]) == 3
    assert "three" in capsys.readouterr().err


def test_the_summary_names_the_targets(folder):
    summary = json.loads((folder / "run0" / "summary.json").read_text(encoding="utf-8"))
    assert summary["classes"] == ["price", "rent"]
    assert summary["data"]["task"] == "regression"


def test_losses_are_recorded_as_they_are_used(folder, capsys):
    objective = yaml.safe_load((folder / "run0" / "config.yaml").read_text())["objective"]
    assert (objective["hard"], objective["soft"]) == ("mse", "mse")
    words = ["data=diabetes", "objective.hard=cross_entropy", f"out={folder / 'none'}"]
    assert main(["run", *words]) == 2
    assert "objective.hard=cross_entropy is not for regression. Choose one of mse" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["objective=kl"], "objective"),
        (["objective.soft=kl"], "objective"),
        (["arms.soft.objective.soft=kl"], "arms.soft.objective"),
        (["-m", "objective.soft=kl,mse"], "arms.soft,soft=kl.objective"),
        (["-m", "objective=mse,kl"], "arms.soft,objective=kl.objective"),
    ],
)
def test_a_loss_of_classes_that_was_chosen_is_refused(tmp_path, capsys, words, where):
    assert (
        main(["run", "recipe=regression", "arms.bounded=null", f"out={tmp_path}/run", *words]) == 2
    )
    assert (
        f"{where}.soft=kl is not for regression. Choose one of mse, huber"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("key", ["objective.soft", "objective"])
def test_losses_of_regression_are_swept(tmp_path, key):
    small = ["quick=true", f"out={tmp_path}/run"]
    assert main(["run", "-m", "recipe=regression", f"{key}=mse,huber", *small]) == 0
    arms = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))["arms"]
    name = key.rpartition(".")[2]
    losses = {arm["name"]: (arm["objective"]["hard"], arm["objective"]["soft"]) for arm in arms}
    assert losses[f"soft,{name}=mse"] == ("mse", "mse")
    assert losses[f"soft,{name}=huber"] == ("mse", "huber")
