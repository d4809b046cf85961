"""Stores and several processes: killed ones, two at once, and runs that share a store."""

import json
import multiprocessing
import time

import pytest
import torch
from safetensors.torch import load_file
from support.store_cases import (
    SAMPLES,
    SHARD,
    VIEWS,
    counting,
    folder_of,
    image_pass,
    open_quietly,
)

from limbeck.cli.main import main
from limbeck.store.files import ANSWERS, CHECKSUMS
from limbeck.store.verify import NUM_INPUTS


def build_slowly(root, log, console, delay):
    with open(console, "w", encoding="utf-8", buffering=1) as file:
        open_quietly(counting(image_pass(), log, delay), root, console=file)


def start_build(root, name, delay):
    """A process that builds the store, waiting before each question."""
    fork = multiprocessing.get_context("fork")  # a new interpreter would take seconds to import
    files = root.parent / f"{name}.log", root.parent / f"{name}.txt"
    process = fork.Process(target=build_slowly, args=(root, *files, delay))
    process.start()
    return process


def finished_shards(root):
    file = folder_of(root) / CHECKSUMS
    return len(json.loads(file.read_text(encoding="utf-8"))["shards"]) if file.is_file() else 0


def test_a_killed_build_goes_on_from_its_finished_shards(tmp_path):
    root = tmp_path / "stores"
    process = start_build(root, "killed", 0.5)
    deadline = time.monotonic() + 60
    while finished_shards(root) < 2:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    finished = finished_shards(root)
    assert 2 <= finished < 4
    log = []
    stored = open_quietly(counting(image_pass(), log), root)
    assert sum(log) - NUM_INPUTS == (4 - finished) * SHARD
    unbroken = open_quietly(image_pass(), tmp_path / "unbroken")
    assert torch.equal(stored.records, unbroken.records)


def test_two_processes_at_once_compute_each_answer_once(tmp_path):
    names = ["one", "two"]
    processes = [start_build(tmp_path / "stores", name, 0.3) for name in names]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    sizes = [(tmp_path / f"{name}.log").read_text().split() for name in names]
    assert sum(map(int, sizes[0] + sizes[1])) == SAMPLES * VIEWS + 2 * NUM_INPUTS
    messages = [(tmp_path / f"{name}.txt").read_text() for name in names]
    assert sum("waiting for another process" in message for message in messages) == 1
    alone = open_quietly(image_pass(), tmp_path / "alone")
    assert torch.equal(open_quietly(image_pass(), tmp_path / "stores").records, alone.records)


def test_a_process_that_waits_takes_over_from_a_killed_one(tmp_path):
    root = tmp_path / "stores"
    killed = start_build(root, "killed", 0.2)
    deadline = time.monotonic() + 60
    while finished_shards(root) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "waiting.txt").touch()
    waiting = start_build(root, "waiting", 0.0)
    while "waiting for another process" not in (tmp_path / "waiting.txt").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.join()
    waiting.join(60)
    assert waiting.exitcode == 0
    sizes = map(int, (tmp_path / "waiting.log").read_text().split())
    assert 0 < sum(sizes) - NUM_INPUTS < SAMPLES * VIEWS, "finished shards are kept"
    assert [path.name for path in root.iterdir()] == [folder_of(root).name]


# Runs ---------------------------------------------------------------------------------------------

RUN = (
    "run",
    "quick=true",
    "logger=csv",
    "teacher=mlp",
    "teacher.model.hidden=[16]",
    "student.hidden=[8]",
    "epochs=2",
)


def students(out):
    weights = {}
    for file in sorted(out.glob("students/*/*/model.safetensors")):
        for name, tensor in load_file(file).items():
            weights[f"{file.parent.relative_to(out)} {name}"] = tensor
    return weights


@pytest.mark.slow
def test_runs_share_a_store(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMBECK_STORE", "stores")
    assert main([*RUN, "out=one"]) == 0
    assert "teacher answers" in capsys.readouterr().err
    (store,) = (path for path in (tmp_path / "stores").iterdir() if path.is_dir())
    before = (store / ANSWERS).stat().st_mtime_ns
    assert main([*RUN, "out=two", "teacher.from=one"]) == 0
    assert "teacher answers" not in capsys.readouterr().err
    assert (store / ANSWERS).stat().st_mtime_ns == before
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
    assert "shard 0 is damaged and computed again" in capsys.readouterr().err
    three = students(tmp_path / "three")
    assert all(torch.equal(one[name], three[name]) for name in one)
    assert main(["store", "verify", store.name[:8]]) == 0
    assert "sound, 13 of 13 shards" in capsys.readouterr().out


def test_store_off_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_STORE", str(tmp_path / "stores"))
    assert main([*RUN, f"out={tmp_path / 'live'}", "store=off"]) == 0
    assert not (tmp_path / "stores").exists()
    manifest = json.loads((tmp_path / "live" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest.get("stores", {}) == {}


@pytest.mark.parametrize("folder", ["file/in", "file"])
def test_an_unusable_folder_is_reported_before_anything_is_trained(
    tmp_path, monkeypatch, capsys, folder
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    assert main([*RUN, "out=run", f"store.folder={folder}"]) == 6
    assert f"store.folder={folder}: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
