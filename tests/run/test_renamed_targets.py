"""Settings with names of version 0.1.0 still work and still compare as equal."""

from importlib import import_module

import pytest

from limbeck.run.renamed_targets import MOVED, REPLACED, same_settings, with_moved_targets


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


def test_settings_are_the_same_in_another_order_but_not_with_arms_in_another_order():
    first = {"epochs": 2, "arms": {"hard": {}, "soft": {}}}
    assert same_settings(first, {"arms": {"hard": {}, "soft": {}}, "epochs": 2})
    assert not same_settings(first, {"epochs": 2, "arms": {"soft": {}, "hard": {}}})
    assert not same_settings(first, {**first, "epochs": 3})
    assert not same_settings(first, None)
