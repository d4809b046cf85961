"""Which folders are runs that can be compared."""

import json
from pathlib import Path

import pytest
from support.compared_runs import make_run

from limbeck._base.errors import ConfigError
from limbeck.report.runs.read import read_runs, short_names


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "a")


def test_names_are_the_paths_without_their_common_folders(tmp_path):
    assert short_names([tmp_path / "x" / "1", tmp_path / "x" / "2"]) == ["1", "2"]
    assert short_names([tmp_path / "x" / "1", tmp_path / "y" / "1"]) == ["x", "y"]
    assert short_names([tmp_path / "x" / "1", tmp_path / "y" / "2"]) == ["x/1", "y/2"]
    assert short_names([Path("/x"), Path("/")]) == ["x", "/"]
    assert short_names([tmp_path / "x", tmp_path / "x" / "1"]) == ["x", "x/1"]


def test_one_run_is_too_few(run):
    for paths in ([], [run]):
        with pytest.raises(ConfigError, match="needs two or more runs"):
            read_runs(paths)


def test_a_run_is_not_compared_with_itself(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    for other in (run, tmp_path / "link", f"{run}/"):
        with pytest.raises(ConfigError, match="named twice"):
            read_runs([run, other])


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_named_with_its_state(run, tmp_path, state):
    other = make_run(tmp_path / "b", state=state)
    with pytest.raises(ConfigError, match=rf"b is not finished \(its state is {state}\)"):
        read_runs([run, other])


def test_folders_that_are_no_runs_are_named(run, tmp_path):
    (tmp_path / "folder").mkdir()
    for other, words in (("folder", "manifest.json is missing"), ("none", "no such folder")):
        with pytest.raises(ConfigError, match=words):
            read_runs([run, tmp_path / other])


def test_a_run_without_students_is_named(run):
    file = run / "summary.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "arms": [], "comparisons": []}))
    (entry,) = read_runs([run, make_run(run.parent / "b")])[:1]
    with pytest.raises(ConfigError, match="no students to compare, only a teacher"):
        entry.arm()


def test_without_a_headline_the_best_arm_in_validation_stands_for_a_run(run):
    file = run / "summary.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "comparisons": []}))
    (entry, _) = read_runs([run, make_run(run.parent / "b")])
    assert entry.arm().name == "soft"


def test_a_name_that_no_folder_can_have_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match="is not a run: there is no such folder"):
        read_runs([tmp_path / "a\0b", tmp_path / "c"])
