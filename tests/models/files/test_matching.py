import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck.models import MLP
from limbeck.models.files.matching import compare, matches, without_wrappers


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


WRAPPERS = ["module", "model", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]


class Parts(nn.Module):
    """A model with a part whose name is that of a wrapper."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, 2))
        self.head = nn.Sequential(nn.Sequential(nn.Linear(2, 3)))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("make", [own, Parts])
def test_names_of_wrappers_are_removed_at_any_place(make, data):
    module = make()
    state, wrapped = module.state_dict(), {}
    places = data.draw(st.lists(st.sampled_from(["layers", "0", "1", "head", "model", "weight"])))
    for name, tensor in state.items():
        parts = []
        for part in name.split("."):
            wrapper = data.draw(st.sampled_from(WRAPPERS)) if part in places else None
            parts += [wrapper, part] if wrapper else [part]
        wrapped[".".join(["net", *parts])] = tensor
    match = matches(module, without_wrappers(module, wrapped))[0]
    assert match.is_complete
    assert match.prefix == "net."
    assert all(torch.equal(match.weights[name], tensor) for name, tensor in state.items())


def test_names_that_would_become_one_stay():
    state = STATE | below("module.", STATE)
    assert without_wrappers(own(), state) == state


def test_a_shared_tensor_is_read_from_whichever_name_the_file_has():
    module = nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})
    module["second"].weight = module["first"].weight
    for name in ("first.weight", "second.weight"):
        state = module.state_dict()
        del state[name]
        match = compare(module, state)
        assert match.is_complete
        assert torch.equal(match.weights[name], module["first"].weight)
    del state["first.weight"]
    assert compare(module, state).missing == ["first.weight", "second.weight"]


def test_integers_are_no_weights_of_a_model_with_floats():
    state = {name: tensor.to(torch.int8) for name, tensor in STATE.items()}
    match = matches(own(), state)[0]
    assert not match.is_complete
    assert "has integers (torch.int8), as in quantised models" in match.difference()


def test_the_batch_counter_does_not_matter():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    state = {name: t for name, t in model.state_dict().items() if "num_batches" not in name}
    assert compare(model, state).is_complete
