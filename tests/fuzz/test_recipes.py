"""Odd YAML files in a config folder."""

import pytest
import yaml
from hypothesis import strategies as st
from support.fuzz import attempt, examples, fuzz, snapshot, stop
from support.fuzz_values import changed_yaml, json_values

from limbeck.study.study import Study

RECIPE = b"""recipe: mine
defaults: [{override /data: mine}, {override /views: none}]
data: {val: 100}
teacher: {model: {channels: [4], strides: [2]}, epochs: 1}
student: {hidden: [8]}
arms:
  hard: {objective: {hard_weight: 1.0, soft_weight: 0.0}}
  soft: {objective: {temperature: 2}, views: shift, epochs: 2}
sweep: {objective.temperature: [1, 2], student.hidden: [[4], [8]]}
transfer: {labelled: 100, without: [3]}
optimizer: {name: sgd, lr: 0.1}
seeds: [0, 1]
"""
DATA = b"""defaults: [digits, _self_]
test: 400
split_seed: 1
"""
OBJECTIVE = b"""defaults: [kl, _self_]
temperature: 3.0
soft: kl
features: []
"""
EXTRA = ("", "a: &a [*a]", "<<: {a: 1}", "!!python/object/apply:os.getcwd []", "a: 1\na: 2")


@pytest.fixture(autouse=True)
def without_training(monkeypatch):
    monkeypatch.setattr(Study, "run", stop)


def check_recipe(folder, recipe, data, objective, extra):
    for group, content in (("recipe", recipe), ("data", data), ("objective", objective)):
        (folder / "conf" / group).mkdir(parents=True)
        header = b"# @package _global_\n" if group == "recipe" else b""
        (folder / "conf" / group / "mine.yaml").write_bytes(header + content)
    with (folder / "conf" / "recipe" / "mine.yaml").open("a", encoding="utf-8") as file:
        file.write(extra)
    files = snapshot(folder)
    words = ["--config-dir", "conf", "recipe=mine", "objective=mine", "out=o"]
    attempt(folder, "run", *words)
    assert files.items() <= snapshot(folder).items()


def sections():
    """A recipe with one more section of any kind, at its end."""
    names = st.sampled_from([*yaml.safe_load(RECIPE), "views", "store", "logger", "trainer"])
    added = st.builds(lambda name, value: yaml.safe_dump({name: value}), names, json_values)
    return st.one_of(st.just(""), st.sampled_from(EXTRA), added)


@examples(0.04)
def test_recipes_end_with_an_exit_code(count):
    data = st.just(DATA) | changed_yaml(DATA)
    objective = st.just(OBJECTIVE) | changed_yaml(OBJECTIVE)
    fuzz(count, check_recipe, changed_yaml(RECIPE), data, objective, sections())
