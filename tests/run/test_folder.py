import csv
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import SOURCE

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.files import write_json
from limbeck.run.folder import RunFolder, reserve_folder
from limbeck.run.lock import LOCK
from limbeck.run.summary import read_summary

MANIFEST = json.dumps({"recipe": "digits", "seeds": [0], "state": "finished"})


def ours(path):
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(MANIFEST)
    (path / "students").mkdir()
    (path / "students" / "model").write_text("old")
    return path


def claim(path, **options):
    with RunFolder(path).claim(**options):
        pass


def strangers(path, manifest=None):
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("ten years of work")
    if manifest is not None:
        (path / "manifest.json").write_text(manifest)
    return path


def listing(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_paths(tmp_path):
    run = RunFolder(str(tmp_path))
    assert run.student("kd", 3) == tmp_path / "students" / "kd" / "seed3"
    paths = {path for path in vars(run).values() if isinstance(path, Path)} - {tmp_path}
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    results = "config.yaml manifest.json summary.json report.html metrics.csv predictions.npz"
    others = "teacher checkpoints logs cost.json examples.npz search.json search.log"
    assert names == {*results.split(), *others.split()}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_taken(tmp_path, exists, overwrite):
    path = tmp_path / "a" / "b"
    if exists:
        path.mkdir(parents=True)
    RunFolder(path).check(overwrite=overwrite)
    assert path.exists() == exists, "a check changes nothing"
    with RunFolder(path).claim(overwrite=overwrite):
        assert listing(path) == [LOCK]
    assert listing(path) == []
    assert path.is_dir()


@pytest.mark.parametrize("make", [ours, strangers])
def test_a_filled_folder_is_refused(tmp_path, make):
    path = make(tmp_path / "run")
    before = listing(path)
    for act in (RunFolder(path).check, lambda: claim(path)):
        with pytest.raises(
            ConfigError, match=r"is not empty \(it contains .*limbeck resume.*overwrite=true"
        ) as caught:
            act()
        assert str(path) in str(caught.value)
    assert listing(path) == before


def test_a_run_is_overwritten_when_asked(tmp_path):
    path = ours(tmp_path / "run")
    RunFolder(path).check(overwrite=True)
    assert len(listing(path)) == 3
    claim(path, overwrite=True)
    assert listing(path) == []


@pytest.mark.parametrize(
    "manifest", [None, "{}", "[]", "not json", "", '{"name": "app", "icons": []}', "\xff"]
)
def test_what_is_not_ours_is_never_deleted(tmp_path, manifest):
    """Web pages and browser extensions have a manifest.json as well."""
    path = strangers(tmp_path / "home", manifest)
    before = listing(path)
    with pytest.raises(ConfigError, match=r"is not a run folder .*does not delete it"):
        claim(path, overwrite=True)
    assert listing(path) == before


def test_a_link_to_a_run_is_overwritten_where_it_points(tmp_path):
    path = ours(tmp_path / "disk" / "run")
    (tmp_path / "link").symlink_to(path)
    claim(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert path.is_dir()
    assert listing(path) == []


def test_a_link_to_nowhere_gets_its_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "later")
    claim(tmp_path / "link")
    assert (tmp_path / "later").is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_place_of_a_folder(tmp_path, overwrite):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match=r"is a file\. Choose a folder"):
        claim(tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_resuming_keeps_everything(tmp_path, overwrite):
    path = ours(tmp_path / "run")
    before = listing(path)
    claim(path, resume=True, overwrite=overwrite)
    assert listing(path) == before


@pytest.mark.parametrize("target", ["../../victim", "/etc", "loop"])
def test_a_run_with_links_that_lead_out_of_it_is_not_resumed(tmp_path, target):
    path = ours(tmp_path / "run")
    (tmp_path / "victim").mkdir()
    (path / "logs").mkdir()
    (path / "logs" / "latest").symlink_to("../students")
    claim(path, resume=True)
    (path / "students" / "loop").symlink_to(target)
    if target == "loop":
        claim(path, resume=True)
        return
    with pytest.raises(UntrustedFileError, match=r"students/loop is a link out of the run folder"):
        claim(path, resume=True)
    with RunFolder(path, follow_links=True).claim(resume=True):
        pass
    claim(path, overwrite=True)
    assert (tmp_path / "victim").is_dir()


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path.mkdir(), strangers])
def test_nothing_to_resume(tmp_path, make):
    make(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"contains no run to resume: manifest\.json is missing"):
        claim(tmp_path / "run", resume=True)


def test_one_process_at_a_time_works_in_a_folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.claim():
        run.manifest.write_text(MANIFEST)
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(ConfigError, match=r"is in use by another|is not empty"):
                claim(run.path, **options)
        with pytest.raises(ConfigError, match="is in use"), run.keep_unchanged():
            pass
    claim(run.path, resume=True)
    assert listing(run.path) == ["manifest.json"]


def test_readers_of_a_run_keep_others_from_changing_it(tmp_path):
    with RunFolder(tmp_path).keep_unchanged():
        assert listing(tmp_path) == []  # no lock in a folder that is no run
    path = ours(tmp_path / "run")
    with RunFolder(path).keep_unchanged(), RunFolder(path).keep_unchanged():
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(ConfigError, match="is in use by another process"):
                claim(path, **options)
    claim(path, overwrite=True)
    assert listing(path) == []


def test_a_folder_of_a_process_that_was_killed_at_once_is_used_again(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / ".manifest.json.7-0a1b2c3d.tmp").touch()
    with pytest.raises(ConfigError, match="start it again"):
        claim(tmp_path, resume=True)
    claim(tmp_path)
    (tmp_path / ".thesis.tex.tmp").touch()
    with pytest.raises(ConfigError, match=r"is not empty \(it contains \.thesis\.tex\.tmp"):
        claim(tmp_path)


def test_a_folder_of_a_process_that_was_killed_before_its_settings_is_used_again(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    first_manifest = {"recipe": "digits", "seeds": [0], "state": "running", "files": {}}
    (path / "manifest.json").write_text(json.dumps(first_manifest))
    (path / ".config.yaml.7-0a1b2c3d.tmp").touch()
    with pytest.raises(ConfigError, match=r"config\.yaml is missing\. If it .* start it again"):
        claim(path, resume=True)
    claim(path)
    assert listing(path) == []


def test_a_deletion_that_is_interrupted_can_be_repeated(tmp_path, monkeypatch):
    path = ours(tmp_path / "run")
    (path / "teacher").mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        claim(path, overwrite=True)
    monkeypatch.undo()
    claim(path, overwrite=True)
    assert listing(path) == []


def test_the_working_directory_stays_when_a_run_is_overwritten(tmp_path, monkeypatch):
    path = ours(tmp_path / "run")
    monkeypatch.chdir(path)
    claim(".", overwrite=True)
    assert list(path.iterdir()) == []
    assert Path.cwd() == path


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    path = tmp_path / "runs" / "now"
    with reserve_folder(path) as first, reserve_folder(path) as second:
        assert (first, second) == (path, tmp_path / "runs" / "now-2")
        (second / "file").touch()
        with reserve_folder(path) as third:
            assert third.name == "now-3"
    assert listing(tmp_path) == ["runs", "runs/now-2", "runs/now-2/file"]


FOUR = """
import sys, time
from pathlib import Path
from limbeck._base.errors import ConfigError
from limbeck.run.folder import RunFolder, reserve_folder
while not Path("go").exists():
    Path(f"ready{sys.argv[1]}").touch()
with reserve_folder(Path("runs/now")) as folder:
    (folder / "mine").touch()
try:
    with RunFolder("out").claim():
        (Path("out") / "mine").touch()
        time.sleep(0.3)
    print(folder.name, "claimed")
except ConfigError:
    print(folder.name, "refused")
"""


def test_of_four_processes_each_reserves_a_folder_and_one_claims_a_folder(tmp_path):
    processes = []
    for number in range(4):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", FOUR, str(number)],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": SOURCE},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    while len(list(tmp_path.glob("ready*"))) < 4:
        time.sleep(0.01)
        assert all(process.poll() is None for process in processes)
    (tmp_path / "go").touch()
    lines = [process.communicate(timeout=60)[0].split() for process in processes]
    assert {name for name, _ in lines} == {"now", "now-2", "now-3", "now-4"}
    assert sorted(result for _, result in lines) == ["claimed", "refused", "refused", "refused"]


def test_a_reserved_folder_that_stays_empty_is_removed_with_its_parents(tmp_path):
    with (
        pytest.raises(KeyError),
        reserve_folder(tmp_path / "runs" / "digits" / "now"),
        reserve_folder(tmp_path / "runs" / "mnist" / "now"),
    ):
        raise KeyError
    assert listing(tmp_path) == []


def test_a_folder_below_a_broken_link_cannot_be_reserved(tmp_path):
    (tmp_path / "runs").symlink_to("nowhere")
    with pytest.raises(FileExistsError), reserve_folder(tmp_path / "runs" / "now"):
        pass


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=10, deadline=None)
@given(content=st.dictionaries(st.text(), JSON, max_size=4))
def test_json_round_trip(tmp_path_factory, content):
    run = RunFolder(tmp_path_factory.getbasetemp())
    write_json(run.summary, content)
    assert run.read_json(run.summary) == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1e400}',
        b'{"a": NaN}',
        b"[]",
        b"null",
        b'"text"',
    ],
)
def test_damaged_json(tmp_path, content):
    run = RunFolder(tmp_path)
    run.summary.write_bytes(content)
    for read in (lambda: run.read_json(run.summary), lambda: read_summary(run)):
        with pytest.raises(UntrustedFileError, match="is damaged") as caught:
            read()
        assert str(run.summary) in str(caught.value)


def test_a_run_that_is_not_there(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="is not a folder"):
            read_summary(RunFolder(path))


def test_missing_json(tmp_path):
    with pytest.raises(ConfigError, match=r"summary\.json is missing: .* is not a finished run"):
        read_summary(RunFolder(tmp_path))


def test_scalars_round_trip(tmp_path):
    run = RunFolder(tmp_path)
    rows = [
        {
            "stage": "cohort0",
            "arm": 'a, "b"',
            "seed": 3,
            "epoch": 0,
            "metric": "val_loss",
            "value": 0.1 + 0.2,
        },
        {
            "stage": "teacher0",
            "arm": "teacher",
            "seed": 0,
            "epoch": 19,
            "metric": "val_acc",
            "value": 1e-300,
        },
    ]
    run.write_scalars(rows)
    assert run.read_scalars() == rows
    with run.metrics.open(newline="") as file:
        assert next(csv.reader(file)) == ["stage", "arm", "seed", "epoch", "metric", "value"]
    with pytest.raises(ValueError, match="unknown"):
        run.write_scalars([{**rows[0], "unknown": 1}])
    assert run.read_scalars() == rows
    assert listing(tmp_path) == ["metrics.csv"]


def test_a_folder_that_cannot_be_created_is_named(tmp_path, monkeypatch):
    def fail(*arguments, **settings):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", fail)
        with pytest.raises(ConfigError, match=r"out=.*new cannot be created"):
            claim(tmp_path / "new")
    assert not (tmp_path / "new").exists()
