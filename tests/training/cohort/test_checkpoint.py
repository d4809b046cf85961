"""Checkpoints: a training that was killed ends with the same students and metrics."""

import errno
import os
import subprocess
import sys
import warnings
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric
from support import resumed, resumed_processes
from support.resumed import Stopped, assert_same, check_resumed, stop, train

from limbeck import Optimizer
from limbeck._base.errors import LimbeckWarning
from limbeck._base.signals import Interrupted
from limbeck.data import Shift
from limbeck.run.checkpoints import checkpoint_files
from limbeck.training import chunked_steps, csv_logger, epochs
from limbeck.training.cohort import checkpoint, save_times
from limbeck.training.cohort.checkpoint import Checkpoints
from limbeck.training.cohort.checkpoint_file import (
    read_checkpoint,
    write_checkpoint,
)
from limbeck.training.task import DistillationTask


def names(folder):
    return [file.name for file in checkpoint_files(folder)]


# In the middle of an epoch ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 4, "gradient_clip_val": 0.5},
        {"precision": "bf16-mixed"},
        {"max_steps": 11},
        {"limit_train_batches": 4, "check_val_every_n_epoch": 2},
    ],
    ids=str,
)
def test_a_cohort_is_resumed_in_the_middle_of_an_epoch(tmp_path, monkeypatch, options):
    check_resumed(resumed.cohort, tmp_path, monkeypatch, **options)


@pytest.mark.parametrize("make", [resumed.mixed, resumed.guided])
def test_other_students_are_resumed_in_the_middle_of_an_epoch(tmp_path, monkeypatch, make):
    check_resumed(make, tmp_path, monkeypatch, seed=1)


@pytest.mark.parametrize("chunked", [False, True])
def test_language_models_are_resumed_in_the_middle_of_an_epoch(tmp_path, monkeypatch, chunked):
    file = tmp_path / "text.txt"
    file.write_text("".join("abcdef"[i * i % 7 % 6] for i in range(2000)))
    if chunked:
        monkeypatch.setattr(chunked_steps, "MIN_CHUNKED_LOGITS", 1)
    make = partial(resumed.language, file, 1 if chunked else 2)
    check_resumed(make, tmp_path, monkeypatch, epochs=2)


def test_students_without_seeds_are_resumed(tmp_path, monkeypatch):
    """Their dropout draws from PyTorch's generator."""

    def make():
        task, data = resumed.cohort()
        task.seeds = None
        return task, data

    check_resumed(make, tmp_path, monkeypatch)


def test_students_that_diverged_before_are_remembered():
    whole, _ = train(resumed.cohort)
    whole.divergence.load([(0, 1, "Training diverged.")])
    state = whole.epoch_state()
    task, _ = resumed.cohort()
    task.load_epoch_state(state)
    assert task.divergence.students == [(0, 1, "Training diverged.")]


def test_a_training_ends_exactly_at_its_last_step_when_it_is_resumed(tmp_path):
    _, steps = train(resumed.cohort, tmp_path, max_steps=7)
    task, resumed_steps = train(resumed.cohort, tmp_path, max_steps=7)
    assert resumed_steps == steps == 7
    assert_same(task, train(resumed.cohort, max_steps=7)[0])


def test_batches_before_the_checkpoint_are_not_computed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop(patch, save=5, kill=6)
        with pytest.raises(Stopped):
            train(resumed.cohort, tmp_path)
    shows = []
    show = Shift.show
    monkeypatch.setattr(Shift, "show", lambda *a: [shows.append(1), show(*a)][1])
    train(resumed.cohort, tmp_path, epochs=1)
    assert len(shows) == 1, "the checkpoint was saved after five of six batches"


# When they are saved ------------------------------------------------------------------------------


def test_checkpoints_are_saved_by_time_and_by_epoch(tmp_path, monkeypatch):
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, position: [saved.append(position), save(self, position)]
    )
    train(resumed.cohort, tmp_path / "a", epochs=40, limit_train_batches=1)
    assert [position.epoch for position in saved] == list(range(2, 41, 2))
    saved.clear()
    train(resumed.cohort, epochs=3)
    assert saved == []
    monkeypatch.setattr(save_times, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(save_times, "MAX_SHARE", 1e9)
    train(resumed.cohort, tmp_path / "b", epochs=1)
    assert saved == [*((0, step, step) for step in range(1, 7)), (1, 0, 6)]
    assert names(tmp_path / "b") == ["step6.ckpt", "step5.ckpt"]


def test_slow_saving_makes_checkpoints_rare(tmp_path, monkeypatch):
    task, _ = resumed.cohort()
    checkpoints = Checkpoints(tmp_path, Fabric(accelerator="cpu", devices=1), task, {})
    clock = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    slow = 30.0

    def write(file, content):
        clock[0] += slow

    monkeypatch.setattr(checkpoint, "write_checkpoint", write)
    checkpoints.save(checkpoint.Position(0, 1, 1))
    assert not checkpoints.times.is_due(clock[0] + 599, 2)
    assert checkpoints.times.is_due(clock[0] + 601, 2)


def test_an_interrupt_costs_no_step_if_saving_is_fast(tmp_path, monkeypatch):
    whole, steps = train(resumed.cohort)
    forwards = []
    forward = DistillationTask.forward

    def interrupt(task, batch):
        if len(forwards) == 9:
            monkeypatch.setattr(save_times, "received_signal", lambda: 15)
            monkeypatch.setattr(epochs, "check_interrupt", raise_interrupted)
        forwards.append(1)
        return forward(task, batch)

    def raise_interrupted():
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(DistillationTask, "forward", interrupt)
        with pytest.raises(Interrupted):
            train(resumed.cohort, tmp_path)
    monkeypatch.undo()
    assert names(tmp_path) == ["step10.ckpt", "step6.ckpt"]
    task, resumed_steps = train(resumed.cohort, tmp_path)
    assert resumed_steps == steps
    assert_same(task, whole)


def test_logs_reach_the_disk_before_a_checkpoint(tmp_path, monkeypatch):
    order = []
    write = checkpoint.write_checkpoint
    monkeypatch.setattr(csv_logger, "sync", lambda file: order.append(file.name))
    monkeypatch.setattr(
        checkpoint, "write_checkpoint", lambda *a: [order.append("checkpoint"), write(*a)]
    )
    train(resumed.cohort, tmp_path, tmp_path / "logs", epochs=2)
    assert order == ["metrics.csv", "checkpoint"] * 2


def test_a_checkpoint_holds_no_code(tmp_path):
    train(resumed.cohort, tmp_path, epochs=1)
    content = torch.load(tmp_path / "step6.ckpt", weights_only=True)
    assert content["position"] == [1, 0, 6]
    assert {"task", "optimizer", "scheduler", "processes"} <= content.keys()


# When they are damaged ----------------------------------------------------------------------------


def flip(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path):
    expected, _ = train(resumed.cohort, tmp_path)
    assert names(tmp_path) == ["step18.ckpt", "step12.ckpt"]
    flip(tmp_path / "step18.ckpt", 3000)
    with pytest.warns(
        LimbeckWarning, match=r"step18\.ckpt is damaged .* before it, so 6 steps are repeated"
    ):
        task, steps = train(resumed.cohort, tmp_path)
    assert steps == 18
    assert_same(task, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(resumed.cohort, tmp_path)[1] == 18


def test_students_start_over_if_both_checkpoints_are_damaged(tmp_path):
    expected, _ = train(resumed.cohort, tmp_path)
    flip(tmp_path / "step18.ckpt", 3000)
    (tmp_path / "step12.ckpt").write_bytes(b"")
    with pytest.warns(
        LimbeckWarning,
        match=r"step18\.ckpt is damaged .*, and step12\.ckpt is damaged .* from the first epoch",
    ):
        task, _ = train(resumed.cohort, tmp_path)
    assert_same(task, expected)


def test_a_checkpoint_of_other_students_is_not_used(tmp_path):
    train(resumed.guided, tmp_path, epochs=1)
    with pytest.warns(LimbeckWarning, match="belongs to other students"):
        task, _ = train(resumed.cohort, tmp_path)
    assert_same(task, train(resumed.cohort)[0])


def test_a_checkpoint_that_fits_in_part_leaves_no_trace(tmp_path):
    """The students fit, but not their optimizer."""
    train(resumed.cohort, tmp_path, epochs=1)
    make = partial(resumed.cohort, optimizer=Optimizer(name="sgd", lr=0.1))
    file = tmp_path / "step6.ckpt"
    content = read_checkpoint(file)
    content["optimizer"]["param_groups"].pop()
    write_checkpoint(file, content)
    with pytest.warns(LimbeckWarning, match="belongs to other students"):
        task, _ = train(make, tmp_path)
    assert_same(task, train(make)[0])


def test_a_checkpoint_of_an_earlier_version_is_not_used(tmp_path):
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": {}}, tmp_path / "last.ckpt")
    with pytest.warns(LimbeckWarning, match=r"last\.ckpt was written by an earlier version"):
        task, _ = train(resumed.cohort, tmp_path, epochs=1)
    assert_same(task, train(resumed.cohort, epochs=1)[0])


# When they cannot be written ----------------------------------------------------------------------


def test_a_full_disk_does_not_end_the_training(tmp_path, monkeypatch):
    """There is one warning; earlier checkpoints stay, and later ones are written again."""
    write, free = checkpoint.write_checkpoint, [True, False, False, True]

    def fill(file, content):
        if not free.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        write(file, content)

    monkeypatch.setattr(checkpoint, "write_checkpoint", fill)
    with pytest.warns(LimbeckWarning) as record:
        task, steps = train(resumed.cohort, tmp_path, epochs=4)
    assert steps == 24
    assert [str(warning.message).split("cohort0/")[-1] for warning in record] == [
        f"{tmp_path}/step12.ckpt cannot be written (No space left on device). The training goes on "
        "and limbeck tries again every minute. If the run is interrupted before that, it is "
        "resumed from step 6."
    ]
    assert names(tmp_path) == ["step24.ckpt", "step6.ckpt"]
    assert_same(task, train(resumed.cohort, epochs=4)[0])


# With several processes ---------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_are_resumed_in_the_middle_of_an_epoch(tmp_path):
    """Each has dropout, means and random numbers of its own, and a clock of its own."""
    done = subprocess.run(
        [sys.executable, resumed_processes.__file__, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    results = sorted(file.read_text() for file in tmp_path.glob("result*"))
    assert results == ["rank 0: same", "rank 1: same"]
