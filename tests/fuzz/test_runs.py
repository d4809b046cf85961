"""Run folders with changed files, opened by every verb."""

import shutil

import pytest
import torch
from hypothesis import strategies as st
from support.commands import TINY, call
from support.fuzz import attempt, examples, fuzz, snapshot, stop
from support.fuzz_values import changed_file

from limbeck.deploy.demo import Demo
from limbeck.study.study import Study

VERBS = ("report", "report", "plan", "resume", "export", "cost", "demo", "sample", "run", "distill")
READERS = ("compare", "compare", "runs", "open")
FILES = (
    "manifest.json",
    "manifest.json",
    "config.yaml",
    "summary.json",
    "summary.json",
    "metrics.csv",
    "predictions.npz",
    "examples.npz",
    "teacher/model.json",
    "teacher/model.safetensors",
    "students/soft/seed0/model.json",
    "students/soft/seed0/model.safetensors",
    "logs/cohort0/metrics.csv",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the command line."""
    folder = tmp_path_factory.mktemp("run")
    settings = ("epochs=1", "seeds=1", "data.val=20", "data.test=40", "store=off")
    code, _, err = call("run", *TINY, *settings, "out=run", cwd=folder)
    assert code == 0, err
    return folder / "run"


@pytest.fixture(autouse=True)
def without_work(monkeypatch):
    """Verbs that pass all checks end before training, export or serving."""
    for name in ("run", "fit_teacher"):
        monkeypatch.setattr(Study, name, stop)
    monkeypatch.setattr(torch.onnx, "export", stop)
    monkeypatch.setattr(Demo, "serve", stop)
    monkeypatch.setattr("webbrowser.open", lambda page: True)


def words_of(verb):
    match verb:
        case "compare":
            return [verb, "run", "other"]
        case "sample":
            return [verb, "run", "The "]
        case "run" | "distill":
            return [verb, "teacher.from=run", "out=o", "epochs=1", "data.val=20", "data.test=40"]
    return [verb, "run"]


@examples(0.05, is_quick=False)
def test_changed_run_folders_end_with_an_exit_code(count, run):
    @st.composite
    def changes(draw):
        names = draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=2, unique=True))
        names = [name for name in names if (run / name).is_file()]
        kinds = st.sampled_from(["change"] * 6 + ["missing", "folder", "link", "loop"])
        return {name: (draw(kinds), draw(changed_file(run / name))) for name in names}

    def check(folder, verb, changes):
        copy = folder / "run"
        shutil.copytree(run, copy)
        if verb == "compare":
            shutil.copytree(run, folder / "other")
        for name, (kind, content) in changes.items():
            damage(copy / name, kind, content)
        before = snapshot(copy)
        attempt(folder, *words_of(verb))
        if verb in ("run", "distill", *READERS):
            assert snapshot(copy) == before

    fuzz(count, check, st.sampled_from((*VERBS, *READERS)), changes())


def damage(file, kind, content):
    match kind:
        case "change":
            file.write_bytes(content)
            return
        case "missing":
            file.unlink()
            return
    file.unlink()
    match kind:
        case "folder":
            file.mkdir()
        case "link":
            file.symlink_to("/dev/zero")
        case "loop":
            file.symlink_to(file.name)
