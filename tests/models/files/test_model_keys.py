"""Checkpoints of several models, from which a key chooses one."""

import pytest
import torch
from safetensors.torch import save_file

from limbeck._base.errors import LimbeckWarning, TeacherError
from limbeck.models import MLP, load_model

X = torch.rand(5, 1, 2, 2)


def own():
    return MLP((1, 2, 2), 3, hidden=[4])


def checkpoint(**models):
    return {"epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}, **models}


def other():
    model = own()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    return model.eval()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (lambda s, t: checkpoint(state_dict=s, state_dict_ema=t), "state_dict_ema"),
        (
            lambda s, t: checkpoint(model=s, model_ema=t | {"n_averaged": torch.ones(())}),
            "model_ema",
        ),
        (lambda s, t: checkpoint(model=own(), ema=other_module(t)), "ema"),
        (lambda s, t: checkpoint(model=s, ema={"decay": 0.9, "module": t}), "ema"),
        (lambda s, t: checkpoint(model=s, ema={"decay": 0.9, "module": t}), "ema.module"),
        (lambda s, t: checkpoint(model=s, extra={"teacher": t}), "teacher"),
        (lambda s, t: checkpoint(state_dict=below("student", s) | below("teacher", t)), "teacher"),
        (lambda s, t: below("model", s) | below("ema_model", t), "ema_model"),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("old", [False, True])
def test_a_key_chooses_one_of_several_models(tmp_path, content, key, old):
    model = other()
    content = content(own().state_dict(), model.state_dict())
    torch.save(content, tmp_path / "it.pt", _use_new_zipfile_serialization=not old)
    assert torch.equal(load_model(tmp_path / "it.pt", own, key=key).model(X), model(X))


def below(prefix, state):
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def other_module(state):
    model = own()
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("key", ["nothing", "epoch", "optimizer", "layers.7"])
def test_a_key_without_a_model_is_an_error(tmp_path, key):
    torch.save(checkpoint(model=own().state_dict()), tmp_path / "it.pt")
    message = rf"teacher\.key={key}: .*no model of that key.*Keys of models in it: model\."
    with pytest.raises(TeacherError, match=message):
        load_model(tmp_path / "it.pt", own, key=key)


def test_a_key_of_several_models_is_an_error(tmp_path):
    state = own().state_dict()
    torch.save({"models": {"a": state, "b": state}}, tmp_path / "it.pt")
    with pytest.raises(TeacherError, match=r"Set teacher\.key to one of models\.a, models\.b\."):
        load_model(tmp_path / "it.pt", own, key="models")
    assert load_model(tmp_path / "it.pt", own, key="models.b").description == {}


def test_an_average_is_the_advice_where_there_is_one(tmp_path):
    state = own().state_dict()
    torch.save(checkpoint(model=state, model_ema=state), tmp_path / "it.pt")
    with pytest.raises(TeacherError, match=r"model, model_ema\. .*teacher\.key=model_ema "):
        load_model(tmp_path / "it.pt", own)


def test_a_key_chooses_the_tensors_of_safetensors_too(tmp_path):
    model = other()
    state = below("model", own().state_dict()) | below("ema", model.state_dict())
    save_file(state, tmp_path / "it.safetensors")
    with pytest.warns(LimbeckWarning, match=r"others are left out \(ema\)\. teacher\.key"):
        load_model(tmp_path / "it.safetensors", own)
    result = load_model(tmp_path / "it.safetensors", own, key="ema")
    assert torch.equal(result.model(X), model(X))
    with pytest.raises(TeacherError, match=r"no tensors below net\. Its names begin with"):
        load_model(tmp_path / "it.safetensors", own, key="net")
