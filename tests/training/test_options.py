"""Options of the group trainer: which there are, and what is refused."""

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
        ({"max_time": "00:01:00:00"}, r"Unknown key `trainer\.max_time`.* Known options: accel"),
        ({"callbacks": []}, "set by limbeck itself"),
        ({"max_epochs": 0}, "epochs=0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches=0"),
        ({"limit_train_batches": -1}, "a share from 0.0 to 1.0"),
        ({"limit_train_batches": 1.5}, "a share from 0.0 to 1.0"),
        ({"limit_val_batches": "all"}, "a share from 0.0 to 1.0"),
        ({"gradient_clip_val": -1}, "should be a number, not negative"),
        ({"gradient_clip_val": "small"}, "should be a number, not negative"),
        ({"gradient_clip_algorithm": "max"}, "Choose norm or value"),
        ({"compile": "fast"}, r"trainer\.compile='fast' is unknown"),
        ({"deterministic": "maybe"}, "Choose true, false or warn"),
        ({"strategy": "fsdp"}, r"strategy='fsdp' is not supported"),
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


def test_the_number_of_epochs_is_that_of_the_study_unless_the_options_have_one():
    assert TrainerOptions().with_epochs(5).max_epochs == 5
    assert TrainerOptions(max_epochs=2).with_epochs(5).max_epochs == 2
    options = TrainerOptions(precision="64-true")
    assert TrainerOptions.of(options) is options


def test_a_process_alone_is_the_first_of_one():
    assert process_of({"accelerator": "cpu"}) == (0, 1)
    assert process_of({"accelerator": "cpu", "devices": 2, "strategy": "ddp"}) == (0, 2)
