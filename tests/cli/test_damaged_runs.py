"""Verbs refuse damaged or exchanged files of a finished run, and ``resume`` mends them."""

import json
import shutil

import numpy as np
import pytest
from support.commands import call
from support.run_files import copy_run, manifest, students

from limbeck._base.errors import LimbeckWarning

SOFT = "students/soft"


@pytest.fixture
def run(quick_run, tmp_path):
    return copy_run(quick_run, tmp_path / "run")


def exchange(run):
    """Replace both students of an arm by the control's, which are sound by themselves."""
    shutil.rmtree(run / SOFT)
    shutil.copytree(run / "students" / "hard", run / SOFT)
    return f"{SOFT}/seed"


def swap_teacher(run):
    shutil.rmtree(run / "teacher")
    shutil.copytree(run / SOFT / "seed0", run / "teacher")
    return "teacher/model.safetensors"


def change(name):
    def edit(run):
        content = bytearray((run / name).read_bytes())
        content[-1] ^= 3  # the end of a line becomes a tab
        (run / name).write_bytes(content)
        return name

    return edit


@pytest.mark.parametrize(
    ("damage", "verb"),
    [
        (exchange, ["export", "arm=soft"]),
        (exchange, ["cost"]),
        (exchange, ["demo"]),
        (swap_teacher, ["cost"]),
        (swap_teacher, ["demo"]),
        (change("predictions.npz"), ["export"]),
        (change("predictions.npz"), ["report"]),
        (change("metrics.csv"), ["report"]),
        (change("summary.json"), ["report"]),
        (change("summary.json"), ["export"]),
    ],
)
def test_a_damaged_or_exchanged_file_is_refused(run, tmp_path, damage, verb):
    name = damage(run)
    code, _, err = call(verb[0], run, *verb[1:], cwd=tmp_path)
    assert code == 7, err
    assert str(run / name) in err
    assert "is damaged, or not the file that this run wrote" in err
    assert f"'limbeck resume {run}'" in err


def test_a_teacher_of_another_run_is_checked(run, tmp_path):
    swap_teacher(run)
    code, _, err = call("distill", f"teacher.from={run}", "out=other", cwd=tmp_path)
    assert code == 7, err
    assert str(run / "teacher") in err


def test_a_finished_run_with_damaged_files_is_resumed(run, quick_run, tmp_path):
    exchange(run)
    change("predictions.npz")(run)
    with pytest.warns(LimbeckWarning, match="are trained again"):
        code, _, err = call("resume", run, cwd=tmp_path)
    assert code == 0, err
    assert manifest(run)["state"] == "finished"
    new, old = manifest(run)["files"], manifest(quick_run)["files"]
    for name in (name for name in old if name != "summary.json"):
        assert new[name] == old[name], name
    assert students(run).keys() == students(quick_run).keys()
    code, _, err = call("resume", run, cwd=tmp_path)
    assert (code, "already finished" in err) == (2, True)


def test_runs_of_earlier_versions_are_opened(run, tmp_path):
    content = manifest(run)
    del content["files"]
    (run / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with np.load(run / "predictions.npz") as arrays:
        np.savez(run / "predictions.npz", **arrays)  # the same content in other bytes
    code, _, err = call("report", run, cwd=tmp_path)
    assert code == 0, err
