"""Stores and several processes: killed ones, two at once, and the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.store_cases import SAMPLES, SHARD, VIEWS, answers, counting, opened, place

import limbeck
from limbeck.cli.main import main
from limbeck.store import key as store_header
from limbeck.store.files import ANSWERS, JOURNAL
from limbeck.store.verify import COMPARED

CASES = Path(__file__).parents[1] / "support" / "store_cases.py"
SETTINGS = {
    **os.environ,
    "PYTHONPATH": str(Path(limbeck.__file__).parents[1]),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store_header, "SHARD_ANSWERS", SHARD)


def builder(root, log, delay):
    """A process that builds the store, waiting before each question."""
    command = [sys.executable, str(CASES), str(root), str(log), str(delay)]
    return subprocess.Popen(
        command, env=SETTINGS, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def digest(logits):
    return store_header.hashlib.sha256(logits.numpy().tobytes()).hexdigest()


def test_a_killed_build_goes_on_where_it_was(tmp_path):
    root, journal = tmp_path / "stores", place(tmp_path / "stores") / JOURNAL
    process = builder(root, tmp_path / "log", 0.5)
    deadline = time.monotonic() + 60
    while (
        not journal.is_file() or len(json.loads(journal.read_text(encoding="utf-8"))["shards"]) < 2
    ):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = len(json.loads(journal.read_text(encoding="utf-8"))["shards"])
    assert 2 <= finished < 4
    log = []
    found = opened(counting(answers(), log), root)
    assert sum(log) - COMPARED == (4 - finished) * SHARD
    assert torch.equal(found.records, opened(answers(), tmp_path / "unbroken").records)


def test_two_processes_at_once_compute_each_answer_once(tmp_path):
    processes = [builder(tmp_path / "stores", tmp_path / f"log{i}", 0.7) for i in range(2)]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    count = sum(int(line) for i in range(2) for line in (tmp_path / f"log{i}").read_text().split())
    assert count == SAMPLES * VIEWS + 2 * COMPARED
    wanted = digest(opened(answers(), tmp_path / "alone").records)
    assert [out.strip() for out, _ in ended] == [wanted, wanted]
    assert sum("waiting for another process" in err for _, err in ended) == 1


# The command line ---------------------------------------------------------------------------------


def command(*arguments, cwd):
    """What a run in a process of its own says."""
    done = subprocess.run(
        [sys.executable, "-m", "limbeck", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**SETTINGS, "LIMBECK_STORE": str(cwd / "stores")},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def students(out):
    files = sorted(out.glob("students/*/*/model.safetensors"))
    return {
        f"{f.parent.relative_to(out)} {name}": t for f in files for name, t in load_file(f).items()
    }


RUN = (
    "run",
    "quick=true",
    "logger=csv",
    "teacher=mlp",
    "teacher.model.hidden=[16]",
    "student.hidden=[8]",
    "epochs=2",
)


def test_runs_share_a_store(tmp_path, monkeypatch, capsys):
    first = command(*RUN, "out=one", cwd=tmp_path)
    (store,) = (path for path in (tmp_path / "stores").iterdir() if path.is_dir())
    written = (store / ANSWERS).stat().st_mtime_ns
    second = command(*RUN, "out=two", "teacher.from=one", cwd=tmp_path)
    assert "teacher answers" in first
    assert "teacher answers" not in second
    assert (store / ANSWERS).stat().st_mtime_ns == written
    one, two = students(tmp_path / "one"), students(tmp_path / "two")
    assert len(one) > 4
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["stores"] == {
        store.name: {
            "rows": 1097,
            "views": "none",
            "dtype": "float16",
            "kind": "dense",
            "k": 0,
            "positions": 1,
            "classes": 10,
            "record_bytes": 20,
        }
    }

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMBECK_STORE", "stores")
    assert main(["store", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:2] == [store.name[:12], "digits"]
    assert line.endswith("complete")
    content = bytearray((store / ANSWERS).read_bytes())
    content[1000] ^= 1
    (store / ANSWERS).write_bytes(content)
    assert main(["store", "verify"]) == 7
    assert f"{store.name}: shard 0 is damaged" in capsys.readouterr().err
    assert main([*RUN, "out=three", "teacher.from=one"]) == 0
    assert "shard 0 is damaged and computed anew" in capsys.readouterr().err
    three = students(tmp_path / "three")
    assert all(torch.equal(one[name], three[name]) for name in one)
    assert main(["store", "verify", store.name[:8]]) == 0
    assert "sound, 1 of 1 shards" in capsys.readouterr().out


def test_store_off_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_STORE", str(tmp_path / "stores"))
    assert main([*RUN, f"out={tmp_path / 'live'}", "store=off"]) == 0
    assert not (tmp_path / "stores").exists()
    manifest = json.loads((tmp_path / "live" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest.get("stores", {}) == {}


def test_a_place_that_cannot_be_used_is_told_before_anything_is_trained(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    assert main([*RUN, "out=run", "store.folder=file/in"]) == 6
    assert "store.folder=file/in: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
