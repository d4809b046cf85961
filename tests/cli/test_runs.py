"""``limbeck runs``."""

import json
import os

import pytest
from support.commands import call
from support.compared_runs import make_run

from limbeck.run.lock import hold_lock


def rows(*words, cwd):
    """The lines of the table without its heading, and without the spaces between columns."""
    code, out, err = call("runs", *words, cwd=cwd)
    assert (code, err) == (0, "")
    return [" ".join(line.split()) for line in out.splitlines()[1:]]


def test_runs_are_listed_newest_first(tmp_path):
    make_run(tmp_path / "runs" / "digits" / "old", started="2029-01-01T10:00:00+00:00")
    make_run(tmp_path / "runs" / "digits" / "new")
    assert rows(cwd=tmp_path) == [
        "runs/digits/new made digits helps 2030-01-01 10:00 finished",
        "runs/digits/old made digits helps 2029-01-01 10:00 finished",
    ]
    assert rows("runs/digits/old", cwd=tmp_path) == [
        "runs/digits/old made digits helps 2029-01-01 10:00 finished"
    ]


@pytest.mark.parametrize("is_at_work", [True, False])
def test_a_run_without_a_process_is_stopped(tmp_path, is_at_work):
    run = make_run(tmp_path / "runs" / "a", state="running")
    (run / "summary.json").unlink()
    if is_at_work:
        with hold_lock(run):
            lines = rows(cwd=tmp_path)
    else:
        lines = rows(cwd=tmp_path)
    state = "running" if is_at_work else "stopped"
    assert lines == [f"runs/a made – – 2030-01-01 10:00 {state}"]


def test_broken_folders_do_not_stop_the_list(tmp_path):
    good = make_run(tmp_path / "good")
    contents = {
        "no-json": "{",
        "deep": "[" * 5000,
        "other-types": json.dumps({"recipe": 1, "seeds": "x", "state": []}),
        "not-finite": '{"recipe": NaN}',
    }
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
        (tmp_path / name / "config.yaml").write_text("x: 1")
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"manifest_version": 3}')
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "manifest.json")
    (tmp_path / "pipe" / "summary.json").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    incomplete = make_run(tmp_path / "no-summary")
    (incomplete / "summary.json").unlink()
    lines = rows(".", cwd=tmp_path)
    assert lines[0] == "no-summary made – – 2030-01-01 10:00 damaged"
    assert lines[1] == f"{good.name} made digits helps 2030-01-01 10:00 finished"
    assert sorted(line.split()[0] for line in lines[2:]) == [*sorted(contents), "pipe"]
    assert {line.split(maxsplit=1)[1] for line in lines[2:]} == {"? ? ? damaged"}


def test_names_cannot_colour_the_terminal(tmp_path):
    make_run(tmp_path / "runs" / "a\x1b[31m", recipe="x\x1b[31m" + "y" * 500)
    (line,) = rows(cwd=tmp_path)
    assert "\x1b" not in line
    assert len(line) < 200


def test_an_empty_or_missing_folder_is_said(tmp_path):
    assert call("runs", cwd=tmp_path)[:2] == (0, "no runs in runs\n")
    code, _, err = call("runs", "nowhere", cwd=tmp_path)
    assert code == 2
    assert "nowhere is not a folder" in err
