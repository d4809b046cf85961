"""``limbeck fit``."""

import json
import shutil
import signal
import time

import pytest
from support.commands import killed_at_the_end, run, start
from support.run_files import manifest

from limbeck._base.runtime.bundle import Bundle
from limbeck.cli.main import main
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search
from limbeck.run.summary import read_summary

TINY = (
    "logger=csv",
    "teacher=mlp",
    "teacher.model.hidden=[32]",
    "teacher.epochs=6",
    "epochs=4",
    "seeds=2",
    "budget.size=10kB",
    "search.students=[mlp]",
    "search.variants=3",
    "wider_controls=[2]",
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "The budget is empty"),
        (["budget.size=1"], "budget.size=1 should be a number with one of the units"),
        (["budget.size=[1"], "cannot be read"),
        (["budget=1MB"], "budget is a group of settings, as in budget.size=1MB"),
        (["budget.sise=1MB"], "Did you mean `budget.size`?"),
        (["budget.size=1MB", "trials=0"], "trials=0 should be a number of students"),
        (["budget.size=1MB", "trials=many"], "trials=many"),
        (["budget.size=1MB", "wider_controls=[1]"], "should be a list of numbers above 1"),
        (["budget.size=1MB", "wider_control=[2]"], "Did you mean `wider_controls`?"),
        (["budget.size=1MB", "hours=-1"], "hours=-1 should be a number above 0"),
        (["budget.size=1MB", "search.students=[cnn]"], "'cnn' is unknown"),
        (["budget.size=1MB", "student=mlp"], "set search.students, search.width or search.depth"),
        (["budget.size=1MB", "trial=3"], "Unknown key `trial`. Did you mean `trials`?"),
        (["budget.size=1MB", "hour=3"], "Did you mean `hours`?"),
        (["budget.size=1MB", 'search.pruning="no way"'], "search.pruning='no way' should be true"),
        (["budget.size=1MB", "student.hidden=[8]"], "takes no student.hidden="),
        (["budget.size=1MB", "arms.soft.epochs=3"], "takes no arms.soft.epochs="),
        (["budget.size=1MB", "sweep=null"], "takes no sweep="),
        (["budget.size=1MB", "profile=x.json"], "Did you mean `budget.profile`?"),
        (["budget.size=1MB", "epoch=3"], "epoch"),
        (["budget.size=1MB", "data=text"], "searches for classifiers"),
        (["budget.size=100B"], "No student is within the budget. The nearest one, "),
        (["budget.size=1MB", "+trials=4"], "+trials=4: write trials=VALUE, without +."),
        (["budget.size=1MB", "~search.width"], "without ~"),
        (["budget.errors=.inf"], "budget.errors=inf should be a number"),
        (["budget.errors=500"], "errors on all 200 samples of the validation split"),
    ],
)
def test_a_mistake_is_one_message(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_search_needs_a_teacher(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "budget.size=1MB", "teacher=none"]) == 4
    assert "needs a teacher" in capsys.readouterr().err


def test_all_settings_are_printed(capsys):
    assert main(["fit", "budget.size=1MB", "search.width=[4,8]", "--cfg", "job"]) == 0
    out = capsys.readouterr().out
    assert "  budget:\n    size: 1MB" in out
    assert "distilled" in out


def test_a_recipe_with_a_sweep_is_searched(capsys):
    assert main(["fit", "recipe=mnist_temperature", "budget.size=1MB", "--cfg", "job"]) == 0
    out = capsys.readouterr().out
    assert "sweep: null" in out
    assert "\n  control:" in out


@pytest.fixture(scope="module")
def fit_run(tmp_path_factory):
    """Folder of a finished search, and what it printed."""
    folder = tmp_path_factory.mktemp("fit")
    code, out, err = run("fit", *TINY, "trials=6", "out=run", cwd=folder)
    assert code == 0, err
    return folder / "run", out


@pytest.mark.slow
def test_a_search_ends_with_a_verdict_and_a_bundle(fit_run):
    folder, out = fit_run
    search, summary = read_search(RunFolder(folder)), read_summary(RunFolder(folder))
    assert out.index("test samples") < out.index(
        "Pareto front of the search, on validation (* chosen):"
    )
    assert f"Chosen student: {search.winner.architecture}" in out
    assert "Price of choosing: " in out
    (wider,) = search.wider_controls
    assert [arm.name for arm in summary.arms] == ["control", "distilled", wider.name]
    assert wider.width == 2 * search.winner.settings["width"]
    assert "Worth of the teacher in bytes: " in " ".join(out.split())
    assert f"{summary.data.test:,} (" in out
    bundle = Bundle(folder / "bundle")
    assert len(bundle.read("model.onnx")) <= 10_000
    assert "bundle: run/bundle" in out
    assert manifest(folder)["verb"] == "fit"
    assert manifest(folder)["state"] == "finished"


@pytest.mark.slow
def test_the_page_has_the_search_and_the_next_steps_use_the_bundle(fit_run):
    folder, _ = fit_run
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="search"' in page
    assert 'data-figure="search"' in page
    assert "Price of choosing" in page
    assert "Worth of the teacher in bytes" in page
    assert "limbeck verify" in page
    assert "arm=distilled" not in page


@pytest.mark.slow
def test_the_report_of_a_search_prints_it_again(fit_run, capsys):
    folder, _ = fit_run
    assert main(["report", str(folder)]) == 0
    again = capsys.readouterr().out
    assert "Pareto front of the search, on validation (* chosen):" in again
    assert "Price of choosing" in again


@pytest.mark.slow
def test_a_finished_search_can_be_exported_again(fit_run, capsys, tmp_path):
    folder, _ = fit_run
    assert main(["export", str(folder), f"to={tmp_path / 'other'}", "--trust"]) == 0
    assert (tmp_path / "other" / "model.onnx").is_file()
    assert main(["resume", str(folder)]) == 2
    assert "already finished" in capsys.readouterr().err


@pytest.mark.slow
def test_the_bundle_of_a_search_that_goes_on_replaces_an_earlier_one(fit_run, tmp_path):
    """As after a kill in the export, or when damaged students were trained again."""
    folder = tmp_path / "run"
    shutil.copytree(fit_run[0], folder)
    shutil.rmtree(folder / "students")
    (folder / "summary.json").unlink()
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content |= {"state": "interrupted", "finished": None}
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "bundle" / "notes.txt").write_text("of the earlier one", encoding="utf-8")
    code, out, err = run("resume", "run", cwd=tmp_path)
    assert code == 0, err
    assert "bundle: " in out
    assert not (folder / "bundle" / "notes.txt").exists()
    assert (folder / "bundle" / "model.onnx").is_file()


@pytest.mark.parametrize("verb", ["run", "check", "cost", "train"])
def test_settings_of_a_search_are_refused_by_other_verbs(verb, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([verb, "data=digits", "+fit.budget.size=20kB"]) == 2
    assert "Unknown key `fit`. Search for a student with 'limbeck fit" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_to_the_same_results(fit_run, tmp_path):
    """Killed several times, each a little later than before."""
    whole, _ = fit_run
    expected = read_search(RunFolder(whole)).trials
    words = ("fit", *TINY, "trials=6", "out=run")
    for state in ("waiting", "trained"):
        process = start(*words, cwd=tmp_path)
        with killed_at_the_end(process):
            wait_for_state(tmp_path / "run" / "search.json", state, process)
            process.send_signal(signal.SIGKILL)
            process.wait()
        words = ("resume", "run")
    code, out, err = run(*words, cwd=tmp_path)
    assert code == 0, err
    assert read_search(RunFolder(tmp_path / "run")).trials == expected
    assert "Price of choosing" in out
    assert (tmp_path / "run" / "bundle" / "model.onnx").is_file()


def wait_for_state(file, state, process):
    """Wait until a trial has a state."""
    for _ in range(6000):
        assert process.poll() is None, process.communicate()
        if file.is_file():
            trials = json.loads(file.read_text(encoding="utf-8"))["trials"]
            if any(trial["state"] == state for trial in trials):
                return
        time.sleep(0.02)
    raise AssertionError(f"no trial became {state}")
