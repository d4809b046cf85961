"""Values in braces on the command line change a group of settings, or replace it."""

import pytest
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose

GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2}
LLAMA = {"model_type": "llama", "hidden_size": 32}


def plain(*overrides):
    return OmegaConf.to_container(compose(overrides), resolve=True)


def test_a_value_in_braces_changes_the_settings_that_it_lists():
    assert plain("optimizer={lr: 0.5}")["optimizer"]["name"] == "adam"
    changed = plain("student=huggingface", "student.config={n_embd: 32, n_inner: 8}")
    assert changed["student"]["config"] == {**GPT2, "n_embd": 32, "n_inner": 8}
    arm = plain("recipe=mnist", "arms.soft={epochs: 3}")["arms"]["soft"]
    assert arm == {"views": "none", "epochs": 3}


def test_a_value_in_braces_that_names_an_object_replaces_the_previous_one():
    llama = "student.config={model_type: llama, hidden_size: 32}"
    assert plain("student=huggingface", llama)["student"]["config"] == LLAMA
    affine = "views.views={_target_: limbeck.data.Affine, degrees: 5}"
    views = {"_target_": "limbeck.data.Affine", "degrees": 5}
    for prefix in ("", "+", "++"):
        assert plain("views=mixup", prefix + affine)["views"]["views"] == views
    shift = "{_target_: limbeck.data.Shift, pixels: 1}"
    arms = plain("recipe=mnist", f"arms.soft={{views: {shift}}}", f"arms.soft.views={shift}")[
        "arms"
    ]
    assert arms["soft"]["views"] == {"_target_": "limbeck.data.Shift", "pixels": 1}


def test_a_swept_value_in_braces_changes_or_replaces_in_the_same_way():
    values = "student.config={n_embd: 32},{model_type: llama, hidden_size: 32}"
    arms = OmegaConf.to_container(compose(["student=huggingface", values], multirun=True).arms)
    configs = [arm["student"]["config"] for arm in arms.values()][:2]
    assert configs == [{**GPT2, "n_embd": 32}, LLAMA]


def test_an_unknown_key_in_braces_is_named():
    with pytest.raises(ConfigError, match=r"Unknown key `optimizer\.rl`\. Did you mean `optimizer"):
        compose(["optimizer={rl: 0.1}"])
    with pytest.raises(ConfigError, match=r"Unknown key `student\.config`"):
        compose(["student.config={n_embd: 32}"])
