"""Options of the group trainer: which there are, and what is refused."""

import math
from contextlib import suppress
from dataclasses import fields

import pytest

from limbeck._base.errors import ConfigError
from limbeck.training.fabric import make_fabric, process_of
from limbeck.training.options import TrainerOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_epoch": 3},
            r"Unknown key `trainer\.max_epoch`\. Did you mean `trainer\.max_epochs`",
        ),
        ({"max_time": "00:01:00:00"}, r"Unknown key `trainer\.max_time`.* Known keys: accel"),
        ({"callbacks": []}, "set by limbeck itself"),
        ({"max_epochs": 0}, "epochs=0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches=0"),
        ({"limit_train_batches": 0}, "leaves nothing to train on"),
        ({"limit_train_batches": 0.0}, "leaves nothing to train on"),
        ({"detect_anomaly": "x"}, r"Unknown key `trainer\.detect_anomaly`"),
        ({"val_check_interval": 0}, r"Unknown key `trainer\.val_check_interval`"),
        ({"devices": 1 << 40}, "devices=1099511627776 should be a number from 1 to 1024"),
        ({"num_nodes": 0}, "num_nodes=0 should be a whole number"),
        ({"num_nodes": "two"}, "num_nodes='two' should be a whole number"),
        ({"limit_train_batches": -1}, "a share from 0.0 to 1.0"),
        ({"limit_train_batches": 1.5}, "a share from 0.0 to 1.0"),
        ({"limit_val_batches": "all"}, "a share from 0.0 to 1.0"),
        ({"gradient_clip_val": -1}, "should be a number, not negative"),
        ({"gradient_clip_val": "small"}, "should be a number, not negative"),
        ({"gradient_clip_algorithm": "max"}, "Choose norm or value"),
        ({"compile": "fast"}, r"trainer\.compile='fast' is unknown"),
        ({"deterministic": "maybe"}, "Choose true, false or warn"),
        ({"benchmark": "x"}, "benchmark='x' should be true or false"),
        ({"sync_batchnorm": 1}, "sync_batchnorm=1 should be true or false"),
        ({"strategy": "deepspeed"}, r"strategy='deepspeed' is not supported"),
        ({"strategy": "ddp_spawn", "devices": 2}, r"for 2.devices.*trainer\.strategy=ddp"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TrainerOptions.of(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precision": 7}, "Precision 7 is invalid"), ({"accelerator": "abacus"}, "invalid accel")],
)
def test_what_this_machine_cannot_do_is_refused(options, message):
    with pytest.raises(ConfigError, match=f"Lightning refuses these options.*{message}"):
        make_fabric(options)


ODD_VALUES = (None, True, -1, 0, 0.5, 1 << 70, math.nan, "x", "", [], [0, 0], ["x"], {}, {"a": 1})


@pytest.mark.parametrize("name", [field.name for field in fields(TrainerOptions)])
def test_odd_values_are_errors_of_configuration(name):
    for value in ODD_VALUES:
        with suppress(ConfigError):
            make_fabric({"accelerator": "cpu", name: value})


@pytest.mark.parametrize("precision", [16, "16", "16-mixed"])
def test_float16_on_a_cpu_is_refused(precision):
    with pytest.raises(ConfigError, match=f"trainer.precision={precision} needs a GPU. Use bf16"):
        make_fabric({"accelerator": "cpu", "precision": precision})


@pytest.mark.parametrize("devices", [99, "99"])
def test_more_processes_than_cores_are_refused(devices, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    message = r"trainer\.devices=99 would start 99 processes, but this machine has 4 CPU cores"
    with pytest.raises(ConfigError, match=message):
        make_fabric({"accelerator": "cpu", "devices": devices})
    assert make_fabric({"accelerator": "cpu", "devices": 4}).world_size == 4


def test_machines_need_a_launcher(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match=r"num_nodes=1000, but .* not started by torchrun"):
        make_fabric({"accelerator": "cpu", "num_nodes": 1000})
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert make_fabric({"accelerator": "cpu", "num_nodes": 2}).world_size == 2


def test_the_number_of_epochs_is_that_of_the_study_unless_the_options_have_one():
    assert TrainerOptions().with_epochs(5).max_epochs == 5
    assert TrainerOptions(max_epochs=2).with_epochs(5).max_epochs == 2
    options = TrainerOptions(precision="64-true")
    assert TrainerOptions.of(options) is options


def test_a_process_alone_is_the_first_of_one():
    assert process_of({"accelerator": "cpu"}) == (0, 1)
    assert process_of({"accelerator": "cpu", "devices": 2, "strategy": "ddp"}) == (0, 2)
