"""``limbeck report`` and ``resume`` on a run whose students are trained, but without a summary."""

import errno
import json
import os
import shutil

import pytest
import yaml
from support.commands import TINY, call
from support.run_files import copy_run, manifest

from limbeck.run.lock import hold_lock

DISK_FULL = OSError(28, "No space left on device")


def results(run):
    """The summary without durations."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    del summary["seconds"]
    return summary


def change_manifest(run, **changes):
    (run / "manifest.json").write_text(json.dumps(manifest(run) | changes), encoding="utf-8")


@pytest.fixture
def unfinished(quick_run, tmp_path):
    """A run that was killed after its predictions were written."""
    run = tmp_path / "copy"
    copy_run(quick_run, run)
    (run / "summary.json").unlink()
    (run / "report.html").unlink()
    change_manifest(run, state="running", finished=None)
    return run


def test_a_run_is_resumed_with_another_number_of_machines(unfinished):
    code, _, err = call("resume", unfinished, "trainer.num_nodes=2")
    assert code == 2
    assert "trainer.num_nodes=2, but this process was not started by torchrun" in err


@pytest.mark.parametrize("verb", ["report", "resume"])
def test_a_run_killed_before_its_summary_is_finished(unfinished, quick_run, verb):
    code, out, err = call(verb, unfinished.name, cwd=unfinished.parent)
    assert code == 0, err
    assert results(unfinished) == results(quick_run)
    assert (unfinished / "report.html").is_file()
    assert manifest(unfinished)["state"] == "finished"
    assert out.endswith(f"report: {unfinished / 'report.html'}\n")


@pytest.mark.parametrize("missing", ["report.html", "summary.json", "predictions.npz"])
def test_what_a_finished_run_lacks_is_written_by_resume(quick_run, tmp_path, missing):
    """The manifest used to say "finished" before the report was written."""
    run = tmp_path / "copy"
    copy_run(quick_run, run)
    (run / missing).unlink()
    code, _, err = call("resume", run)
    assert code == 0, err
    assert f"copy lacks {missing}" in err
    assert results(run) == results(quick_run)
    assert (run / missing).is_file()
    assert manifest(run)["state"] == "finished"
    code, _, err = call("resume", run)
    assert code == 2
    assert "is already finished" in err


def test_a_run_is_finished_only_when_its_report_is_written(tmp_path, monkeypatch):
    states = []

    def record(run, final):
        states.append((manifest(run)["state"], final.state))

    monkeypatch.setattr("limbeck.study.study.write_report", record)
    assert call("train", "quick=true", *TINY, "out=run", cwd=tmp_path)[0] == 0
    assert states == [("running", "finished")]
    assert manifest(tmp_path / "run")["state"] == "finished"


@pytest.mark.parametrize("function", ["write_predictions", "write_summary", "write_report"])
def test_a_run_that_met_a_full_disk_is_finished(tmp_path, monkeypatch, function):
    def fail(*arguments):
        raise DISK_FULL

    with monkeypatch.context() as patch:
        patch.setattr(f"limbeck.study.study.{function}", fail)
        code, _, err = call("run", "quick=true", *TINY, "out=run", cwd=tmp_path)
    assert code == 6
    assert "The disk is full" in err
    assert err.endswith("Free some space, then continue with: limbeck resume run\n")
    assert manifest(tmp_path / "run")["state"] == "failed"
    code, out, err = call("report", "run", cwd=tmp_path)
    assert code == 0, err
    assert "soft" in out
    assert (tmp_path / "run" / "report.html").is_file()
    assert manifest(tmp_path / "run")["state"] == "finished"
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_manifest_that_cannot_be_written_does_not_hide_the_first_error(tmp_path, monkeypatch):
    def fail(*arguments):
        raise DISK_FULL

    monkeypatch.setattr("limbeck.study.study.write_summary", fail)
    monkeypatch.setattr("limbeck.run.manifest.ManifestWriter.finish", fail)
    code, _, err = call("run", "quick=true", *TINY, "out=run", cwd=tmp_path)
    assert code == 6
    assert err.endswith("Free some space, then continue with: limbeck resume run\n")


def test_a_run_with_untrained_students_is_not_finished_by_a_report(unfinished):
    shutil.rmtree(unfinished / "students" / "soft" / "seed1")
    code, _, err = call("report", unfinished)
    assert code == 2
    assert "is not finished: 1 model to train, first soft/seed1." in err
    assert f"Continue with 'limbeck resume {unfinished}'." in err


@pytest.mark.parametrize("content", ["a: [", "5", ""])
def test_damaged_settings_are_refused(unfinished, content):
    (unfinished / "config.yaml").write_text(content, encoding="utf-8")
    change_manifest(unfinished, files=None)  # as in runs of earlier versions
    code, _, err = call("report", unfinished)
    assert code == 7
    assert "config.yaml is damaged" in err


def test_a_missing_teacher_is_not_trained_by_a_report(unfinished):
    assert yaml.safe_load((unfinished / "config.yaml").read_text())["teacher"]["from"] is None
    shutil.rmtree(unfinished / "teacher")
    code, _, err = call("report", unfinished)
    assert code == 2
    assert "1 model to train, first teacher 0" in err


@pytest.mark.parametrize(
    "verb", ["run", "resume", "report", "export", "cost", "demo", "sample", "no summary"]
)
def test_a_live_run_is_left_alone_by_every_verb(quick_run, tmp_path, verb):
    run = tmp_path / "copy"
    copy_run(quick_run, run)
    change_manifest(run, state="running")
    arguments = [run]
    if verb == "run":
        arguments = [f"out={run}", "overwrite=true", *TINY]
    elif verb == "sample":
        arguments = [run, "The "]
    elif verb == "no summary":
        verb = "report"
        (run / "summary.json").unlink()
        shutil.rmtree(run / "students" / "soft")
    with hold_lock(run):
        code, _, err = call(verb, *arguments)
    assert code == 2
    assert f"{run} is in use by another process (process {os.getpid()} on " in err
    assert manifest(run)["state"] == "running"


def forbid(*arguments, **options):
    raise AssertionError("work begins before the folder is checked")


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("cost", "cost.json and report.html cannot be written: {run} is not writable (Read-only "),
        ("export", "to={run}/bundle cannot be created: {run} is not writable (Read-only file "),
        ("report", "report.html cannot be written: {run} is not writable (Read-only file "),
        ("resume", "The run cannot be continued: {run} is not writable (Read-only file system"),
    ],
)
def test_a_read_only_run_is_refused_before_any_work(quick_run, monkeypatch, verb, message):
    def refuse(folder):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("limbeck._base.ownership.check_writable", refuse)
    monkeypatch.setattr("limbeck.cli.config.reopen.build_models", forbid)
    monkeypatch.setattr("limbeck.report.page.write_report", forbid)
    code, out, err = call(verb, quick_run)
    assert code == 2
    assert message.format(run=quick_run) in err
    assert "out=" not in err
    assert ("test samples of digits" in out) == (verb == "report")


def test_a_report_names_the_files_that_it_lacks(quick_run, tmp_path, monkeypatch):
    run = tmp_path / "copy"
    copy_run(quick_run, run)
    monkeypatch.setattr("limbeck.report.page.write_report", lambda path: run / "report.html")
    assert call("report", run)[::2] == (0, "")
    (run / "metrics.csv").unlink()
    (run / "predictions.npz").unlink()
    code, _, err = call("report", run)
    assert code == 0
    assert f"metrics.csv and predictions.npz missing in {run}, so the report lacks figures" in err
    assert f"'limbeck resume {run}' restores them" in err
