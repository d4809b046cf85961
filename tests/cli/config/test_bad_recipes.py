"""Recipes and objectives of the user that are not valid: one message in plain words for each."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose

HEADER = "# @package _global_\ndefaults:\n  - digits\n"
SWEEP = "sweep:\n  objective.temperature: [1, 4]\n"
WORDS_OF_LIBRARIES = ("DictConfig", "OmegaConf", "full_key", "search path", "object_type", "Error")


def message(tmp_path, group, text):
    """The message about a file of the user."""
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        compose([f"{group}=mine"], tmp_path)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  - override /views: null\n" + SWEEP, "The setting `views` is missing"),
        ("optimizer: null\n" + SWEEP, "optimizer=None should be a group of settings, as in {lr"),
        ("arms: 3\n" + SWEEP, "arms=3 should list arms by name"),
        ("arms: {soft: 3}\n" + SWEEP, "arms.soft=3 should list the arm's differences"),
        ("arms: {soft: {control: [[1]]}}\n" + SWEEP, "arms.soft.control=[[1]] should be the name"),
        ("sweep: 3\n", "sweep=3 should list values by key"),
        ("views: [1]\n", "a list and a group of settings have the same key"),
    ],
)
def test_a_recipe_whose_sections_are_not_valid(tmp_path, text, reason):
    error = message(tmp_path, "recipe", HEADER + text)
    assert reason in error
    assert not any(word in error for word in WORDS_OF_LIBRARIES)


@pytest.mark.parametrize(
    ("defaults", "reason"),
    [
        ("{a: b}", "mine.yaml: defaults is {'a': 'b'}. Expected a list of names"),
        ("['']", "mine.yaml: defaults contains ''"),
        ("[{'': x}]", "mine.yaml: defaults contains {'': 'x'}"),
        ("[{'optional ': x}]", "mine.yaml: defaults contains {'optional ': 'x'}"),
        ("[3]", "mine.yaml: defaults contains 3"),
        ("[[a]]", "mine.yaml: defaults contains ['a']"),
        ("[{a: {b: c}}]", "mine.yaml: defaults contains {'a': {'b': 'c'}}"),
        ("[nowhere]", "In 'objective/mine': Could not load 'objective/nowhere'"),
    ],
)
def test_defaults_that_are_not_valid(tmp_path, defaults, reason):
    error = message(tmp_path, "objective", f"defaults: {defaults}\ntemperature: 2\n")
    assert reason in error
    assert not any(word in error for word in WORDS_OF_LIBRARIES)


def test_a_file_that_another_one_includes_is_checked_by_hydra_alone(tmp_path):
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "other.yaml").write_text("defaults: [{'': x}]", encoding="utf-8")
    error = message(tmp_path, "recipe", f"{HEADER}  - override /objective: other\n")
    assert "a file has an item in its list `defaults` that is not valid" in error
