"""Settings with names of version 0.1.0 still work and still compare as equal."""

from importlib import import_module

import pytest

from limbeck.run.renamed_targets import MOVED, REPLACED, with_moved_targets


@pytest.mark.parametrize("name", [*MOVED.values(), *REPLACED.values()])
def test_each_present_name_is_a_function(name):
    module, _, function = name.rpartition(".")
    assert callable(getattr(import_module(module), function))


def test_moved_targets_are_renamed_at_any_depth_and_others_stay():
    settings = {
        "data": {"_target_": "limbeck.data.text", "path": "book.txt"},
        "logger": [{"_target_": "limbeck.training.scalars.wandb_logger"}, {"_target_": "own.Log"}],
        "recipe": "limbeck.data.text",
    }
    assert with_moved_targets(settings) == {
        "data": {"_target_": "limbeck.data.text_file", "path": "book.txt"},
        "logger": [{"_target_": "limbeck.training.loggers.wandb_logger"}, {"_target_": "own.Log"}],
        "recipe": "limbeck.data.text",
    }
