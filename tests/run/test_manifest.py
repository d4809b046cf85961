import json

import pytest

from limbeck._base.errors import UntrustedFileError
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import (
    ManifestWriter,
    StoreUse,
    hardware,
    installed_versions,
    read_manifest,
)

FACTS = {"command": "limbeck run digits", "quick": False}


def begin(path, **facts):
    return ManifestWriter(RunFolder(path), recipe="digits", seeds=[0, 1], facts={**FACTS, **facts})


def content_of(path):
    return json.loads((path / "manifest.json").read_text(encoding="utf-8"))


def test_a_new_manifest_says_what_runs_and_where(tmp_path):
    begin(tmp_path)
    content = content_of(tmp_path)
    assert list(content) == [
        "recipe",
        "seeds",
        "command",
        "quick",
        "state",
        "started",
        "finished",
        "resumed",
        "versions",
        "hardware",
        "git_commit",
        "seconds",
        "cohort_seconds",
        "digests",
        "failed",
        "files",
    ]
    assert content["seeds"] == [0, 1]
    assert content["state"] == "running"
    assert content["finished"] is None
    assert content["resumed"] == 0
    assert content["versions"] == installed_versions()
    assert content["hardware"]["cores"] == hardware().cores >= 1
    assert content["seconds"] == {"teacher": 0.0, "store": 0.0, "training": 0.0, "evaluation": 0.0}


def test_every_change_is_written_at_once(tmp_path):
    manifest = begin(tmp_path)
    manifest.add_failures({"kd/seed1": "diverged"})
    manifest.add_stores({"abc": StoreUse(kind="dense", rows=5)})
    assert manifest.add_digest("data", "1") == "1"
    assert manifest.add_digest("data", "2") == "1", "the first digest counts"
    (tmp_path / "metrics.csv").write_text("")
    manifest.add_files([tmp_path / "metrics.csv", tmp_path / "summary.json"])
    assert list(manifest.content.files) == ["metrics.csv"]
    assert read_manifest(RunFolder(tmp_path)) == manifest.content
    manifest.remove_failures(["kd/seed1"])
    manifest.finish("failed", "ValueError: no")
    content = content_of(tmp_path)
    assert content["failed"] == {}
    assert content["digests"] == {"data": "1"}
    assert content["stores"]["abc"]["kind"] == "dense"
    assert content["state"] == "failed"
    assert content["error"] == "ValueError: no"
    assert content["finished"] >= content["started"]


def test_time_is_added_to_a_stage_even_after_an_error(tmp_path):
    manifest = begin(tmp_path)

    def fill():
        with manifest.time_stage("store"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    with manifest.time_stage("teacher"):
        pass
    content = content_of(tmp_path)
    assert content["seconds"]["store"] > 0
    seconds = manifest.seconds
    assert seconds.total == pytest.approx(seconds.store + seconds.teacher, abs=0.002)


def test_trainings_at_the_same_time_are_counted_once_in_the_total(tmp_path):
    manifest = begin(tmp_path)
    manifest.add_training("cohort0", seconds=3.0, waited=3.0)
    manifest.add_training("cohort1", seconds=4.0, waited=1.0)
    manifest.add_training("cohort1", seconds=0.5, waited=0.5)  # resumed
    content = content_of(tmp_path)
    assert content["cohort_seconds"] == {"cohort0": 3.0, "cohort1": 4.5}
    assert content["seconds"]["training"] == 4.5


def test_a_resumed_run_keeps_what_it_knew(tmp_path):
    manifest = begin(tmp_path, note="mine")
    manifest.add_training("cohort0", seconds=1.0, waited=1.0)
    manifest.add_digest("data", "1")
    manifest.add_failures({"kd/seed1": "diverged"})
    manifest.finish("failed", "ValueError: no")
    before = content_of(tmp_path)
    again = begin(tmp_path, command="limbeck resume").content
    assert again.resumed == 1
    assert again.state == "running"
    assert again.error is None
    assert again.facts == {**FACTS, "note": "mine", "command": "limbeck resume"}
    for key in ("started", "seconds", "cohort_seconds", "digests", "failed"):
        assert content_of(tmp_path)[key] == before[key]


def test_keys_of_another_version_are_kept_among_the_facts(tmp_path):
    (tmp_path / "manifest.json").write_text('{"limbeck": "0.1.0", "state": "finished"}')
    manifest = read_manifest(RunFolder(tmp_path))
    assert manifest.facts == {"limbeck": "0.1.0"}
    assert manifest.state == "finished"
    assert manifest.seeds == ()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "a/../../x", "..", "C:\\x", "\\\\host\\x", "", "a\0"]
)
def test_files_outside_the_run_are_refused(tmp_path, name):
    content = {"files": {"students/soft/seed0/model.json": "0", name: "0"}}
    (tmp_path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UntrustedFileError, match=r"expected paths inside the run folder"):
        read_manifest(RunFolder(tmp_path))


def test_a_damaged_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"digests": [1]}')
    with pytest.raises(UntrustedFileError, match=r"manifest\.json: digests should be an object"):
        read_manifest(RunFolder(tmp_path))
