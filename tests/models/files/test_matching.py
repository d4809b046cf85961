import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck.models import MLP
from limbeck.models.files.matching import compare, matches


def own():
    return MLP((1, 2, 2), 3, hidden=[4])


def below(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


STATE = own().state_dict()


@settings(max_examples=20, deadline=None)
@given(prefix=st.lists(st.sampled_from(["module", "model", "net", "0", "layers"]), max_size=4))
def test_a_common_prefix_of_the_names_is_removed(prefix):
    match = matches(own(), below("".join(f"{part}." for part in prefix), STATE))[0]
    assert match.is_complete
    assert match.module_weights().keys() == STATE.keys()
    assert all(torch.equal(match.weights[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize(
    "extra",
    [
        "criterion.weight",
        "loss_fn.weight",
        "train_acc.correct",
        "n_averaged",
        "aux_classifier.0.w",
        "aux1.conv.bn.num_batches_tracked",
    ],
)
@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod."])
def test_traces_of_the_training_do_not_matter(extra, prefix):
    match = matches(own(), below(prefix, STATE) | {extra: torch.ones(3)})[0]
    assert match.is_complete
    assert match.module_weights().keys() == STATE.keys()
    assert not match.dropped


@pytest.mark.parametrize("extra", ["layers.5.weight", "attention.weight", "head.bias"])
def test_further_layers_are_no_traces_of_the_training(extra):
    match = matches(own(), STATE | {extra: torch.ones(3)})[0]
    assert not match.is_complete
    assert match.difference() == f"4 of 4 tensors fit; it also has {extra}"


def test_a_model_next_to_others_is_found_by_its_wrapper():
    others = below("backbone.", nn.Linear(3, 3).state_dict())
    match = matches(own(), below("model.", STATE) | others)[0]
    assert match.is_complete
    assert match.dropped == ["backbone.bias", "backbone.weight"]
    assert not matches(own(), below("part.", STATE) | others)[0].is_complete


def test_differences_are_listed_in_the_names_of_the_file():
    state = below("module.", STATE)
    del state["module.layers.1.bias"]
    state["module.layers.3.weight"] = torch.zeros(10, 4)
    assert matches(own(), state)[0].difference() == (
        "2 of 4 tensors fit; it lacks module.layers.1.bias; module.layers.3.weight has the shape "
        "[10, 4], the model's has [3, 4]"
    )


def test_the_batch_counter_does_not_matter():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    state = {name: t for name, t in model.state_dict().items() if "num_batches" not in name}
    assert compare(model, state).is_complete
