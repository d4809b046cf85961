"""Two processes that share every batch give what one gives; only the first writes."""

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
from limbeck.training.fabric import process_of

SETTINGS = [
    "teacher=mlp",
    "teacher.model.hidden=[32]",
    "teacher.model.dropout=0",
    "teacher.model.input_dropout=0",
    "teacher.epochs=2",
    "views=shift",
    "views.pixels=1",
    "transfer.labelled=301",
    "transfer.samples=1001",
    "seeds=2",
    "epochs=3",
    "batch_size=250",
    "trainer.accelerator=cpu",
]
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]


def command(*words):
    return [sys.executable, "-m", "limbeck", *map(str, words)]


def environment(tmp_path):
    return {
        **os.environ,
        "LIMBECK_STORE": str(tmp_path / "store"),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path),
    }


def run(tmp_path, *words):
    return subprocess.run(
        command(*words), env=environment(tmp_path), capture_output=True, text=True, timeout=300
    )


def weights(folder):
    return {
        str(f.relative_to(folder)): load_file(f)
        for f in sorted(folder.glob("**/model.safetensors"))
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    done = run(folder, "run", *SETTINGS, f"out={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def assert_alike(found, wanted):
    assert found.keys() == wanted.keys()
    assert len(wanted) == 1 + 2 * 2
    for name, tensors in wanted.items():
        torch.testing.assert_close(
            found[name], tensors, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: name + text
        )


def test_two_processes_give_what_one_gives(alone, tmp_path):
    # 1001 samples in batches of 250: the last step has a single one, so one process has none.
    done = run(tmp_path, "run", *SETTINGS, *TWO, f"out={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert_alike(weights(tmp_path / "run"), weights(alone))
    first, second = (
        json.loads((f / "summary.json").read_text()) for f in (alone, tmp_path / "run")
    )
    for one, other in zip(first["arms"], second["arms"], strict=True):
        assert one["mean"]["nll"] == pytest.approx(other["mean"]["nll"], rel=1e-3)
    assert done.stderr.count("results in") == 1
    assert done.stdout.count("report:") == 1
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("limbeck-")) == []


def test_two_processes_killed_half_way_go_on(tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command("run", *SETTINGS, "epochs=40", *TWO, f"out={out}"),
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
    straight = run(tmp_path, "run", *SETTINGS, "epochs=40", *TWO, f"out={tmp_path / 'straight'}")
    assert straight.returncode == 0, straight.stderr
    found, wanted = weights(out), weights(tmp_path / "straight")
    assert all(
        torch.equal(found[name][key], wanted[name][key]) for name in wanted for key in wanted[name]
    )


def test_copies_of_this_process_are_refused():
    with pytest.raises(ConfigError, match=r"trainer\.strategy=ddp"):
        process_of({"devices": 2, "accelerator": "cpu", "strategy": "ddp_spawn"})
