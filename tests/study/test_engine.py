"""Two processes that share every batch train the students that one trains; the first one writes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from limbeck._base.errors import ConfigError
from limbeck.cli.main import main
from limbeck.training.fabric import process_of

SETTINGS = [
    "teacher=mlp",
    "teacher.model.hidden=[32]",
    "teacher.model.dropout=0",
    "teacher.model.input_dropout=0",
    "teacher.epochs=1",
    "views=shift",
    "views.pixels=1",
    "transfer.labelled=301",
    "transfer.samples=501",
    "seeds=1",
    "epochs=1",
    "batch_size=250",
    "logger=csv",
    "trainer.accelerator=cpu",
]
LONG = ["teacher.epochs=2", "seeds=2", "epochs=40", "transfer.samples=1001"]
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]
SHARED = ["trainer.devices=2", "trainer.strategy=fsdp", "store=off"]


def command(*words):
    return [sys.executable, "-m", "limbeck", *map(str, words)]


def environment(tmp_path):
    store = str(tmp_path / "store")
    return {**os.environ, "LIMBECK_STORE": store, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}


def run(tmp_path, *words):
    return subprocess.run(
        command(*words), env=environment(tmp_path), capture_output=True, text=True, timeout=300
    )


def weights(folder):
    files = sorted(folder.glob("**/model.safetensors"))
    return {str(file.relative_to(folder)): load_file(file) for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("two", [TWO, SHARED], ids=["ddp", "fsdp"])
def test_two_processes_train_what_one_trains(tmp_path, monkeypatch, capsys, two):
    # 501 samples in batches of 250: the last step has a single one, so one process has none.
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    monkeypatch.setenv("LIMBECK_STORE", str(tmp_path / "store of one"))
    assert main(["run", *SETTINGS, f"out={alone}"]) == 0
    capsys.readouterr()
    done = run(tmp_path, "run", *SETTINGS, *two, f"out={shared}")
    assert done.returncode == 0, done.stderr
    expected, result = weights(alone), weights(shared)
    assert result.keys() == expected.keys()
    assert len(expected) == 1 + 2
    for name, tensors in expected.items():
        torch.testing.assert_close(result[name], tensors, rtol=1e-3, atol=1e-5)
    summaries = [json.loads((out / "summary.json").read_text()) for out in (alone, shared)]
    for one, other in zip(*(summary["arms"] for summary in summaries), strict=True):
        assert one["mean"]["nll"] == pytest.approx(other["mean"]["nll"], rel=1e-3)
    assert done.stderr.count("results in") == 1
    assert done.stdout.count("report:") == 1
    assert not list(tmp_path.glob("limbeck-*"))
    assert not (shared / "checkpoints").exists()


@pytest.mark.slow
def test_two_processes_killed_half_way_go_on(tmp_path):
    out, straight = tmp_path / "run", tmp_path / "straight"
    process = subprocess.Popen(
        command("run", *SETTINGS, *LONG, *TWO, f"out={out}"),
        env=environment(tmp_path),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        if list(out.glob("checkpoints/cohort0/*.ckpt")) or process.poll() is not None:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "summary.json").exists()
    done = run(tmp_path, "resume", out)
    assert done.returncode == 0, done.stderr
    done = run(tmp_path, "run", *SETTINGS, *LONG, *TWO, f"out={straight}")
    assert done.returncode == 0, done.stderr
    result, expected = weights(out), weights(straight)
    for name, tensors in expected.items():
        assert all(torch.equal(result[name][key], tensor) for key, tensor in tensors.items())


def test_copies_of_this_process_are_refused():
    with pytest.raises(ConfigError, match=r"trainer\.strategy=ddp"):
        process_of({"devices": 2, "accelerator": "cpu", "strategy": "ddp_spawn"})
