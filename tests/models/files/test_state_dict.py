"""Weights from elsewhere: state dicts as people save them."""

import argparse
import os
import sys
import types
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from limbeck._base.errors import LimbeckWarning, TeacherError, UntrustedFileError
from limbeck.models import MLP, Normalized, TorchvisionModel, load_model


def own():
    return MLP((1, 2, 2), 3, hidden=[4])


def whole():
    return Normalized(own(), [0.5], [0.5])


X = torch.rand(5, 1, 2, 2)
WRAPPINGS = {
    "alone": lambda s: s,
    "in a checkpoint": lambda s: {
        "state_dict": s,
        "epoch": 3,
        "optimizer": {"state": {0: {"step": 1}}, "groups": [{}]},
    },
    "from several devices": lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
    "both": lambda s: {"model": {f"module.model.{name}": tensor for name, tensor in s.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("make", [own, whole])
def test_common_forms_are_read(tmp_path, wrapping, old, make):
    model = make().eval()
    torch.save(
        WRAPPINGS[wrapping](model.state_dict()),
        tmp_path / "it.pt",
        _use_new_zipfile_serialization=not old,
    )
    result = load_model(tmp_path / "it.pt", whole)
    assert torch.equal(result.model(X), model(X))
    assert not result.model.training
    assert result.description == {}


def test_a_plain_resnet_of_torchvision_is_a_teacher(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=3).eval()
    state = {
        name: tensor for name, tensor in theirs.state_dict().items() if "num_batches" not in name
    }
    torch.save(
        {f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "resnet.pth"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = load_model(
            tmp_path / "resnet.pth",
            lambda: Normalized(
                TorchvisionModel((3, 64, 64), 3, name="resnet18", stem="imagenet"), [0.5], [0.5]
            ),
        )
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(result.model(x), theirs(x), rtol=1e-4, atol=1e-4)
    assert isinstance(result.model, TorchvisionModel)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(tmp_path, dtype):
    model = own().to(dtype)
    torch.save(model.state_dict(), tmp_path / "it.pt")
    torch.save(model, tmp_path / "module.pt")
    for result in (
        load_model(tmp_path / "it.pt", own),
        load_model(tmp_path / "module.pt", trust_pickle=True),
    ):
        assert {p.dtype for p in result.model.parameters()} == {torch.float32}
        assert torch.equal(result.model(X), own_with(model.float())(X))


def own_with(model):
    new_model = own().eval()
    new_model.load_state_dict(model.state_dict())
    return new_model


TRACES: list[str] = []


def leave_a_trace(message):
    TRACES.append(message)


class Telltale:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return leave_a_trace, ("read",)


def test_a_whole_module_is_read_only_if_it_is_trusted(tmp_path):
    model = own().eval()
    torch.save({"model": model, "epoch": 3}, tmp_path / "it.pt")
    torch.save({"model": model, "hook": Telltale()}, tmp_path / "hook.pt")
    torch.save(Telltale(), tmp_path / "code.pt")
    for name in ("it.pt", "hook.pt"):
        with pytest.raises(TeacherError, match="limbeck cannot rebuild the model"):
            load_model(tmp_path / name)
    with pytest.raises(UntrustedFileError, match=r"an object of .*leave_a_trace"):
        load_model(tmp_path / "code.pt", own)
    assert not TRACES
    assert torch.equal(load_model(tmp_path / "it.pt", trust_pickle=True).model(X), model(X))
    with pytest.raises(TeacherError, match="contains a NoneType"):
        load_model(tmp_path / "code.pt", own, trust_pickle=True)
    assert TRACES == ["read"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "an empty dictionary"),
        ([torch.zeros(2)], "contains a list"),
        (torch.zeros(2), "contains a Tensor"),
        (
            {"a": {"w": torch.zeros(1)}, "b": {"w": torch.zeros(1)}},
            r"several models: a, b\. Choose one, as with teacher\.key=a ",
        ),
        ({"w": torch.zeros(2)}, "it lacks layers.1.bias, layers.1.weight, .*; it also has w"),
        ({"layers": {1: torch.zeros(2)}}, "a dictionary of layers; expected a state dict"),
        (own().state_dict() | {"more": torch.zeros(1)}, "4 of 4 tensors fit; it also has more"),
        (MLP((1, 2, 2), 3, hidden=[5]).state_dict(), r"the shape \[5, 4\], the model's has \[4, 4"),
    ],
)
def test_a_file_without_the_models_state_dict_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "it.pt")
    with pytest.raises(TeacherError, match=message) as caught:
        load_model(tmp_path / "it.pt", own)
    assert str(tmp_path / "it.pt") in str(caught.value)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(0, 1500), flip=st.integers(0, 255))
def test_a_damaged_file_is_an_error_that_names_it(tmp_path_factory, cut, flip):
    file = tmp_path_factory.getbasetemp() / "damaged.pt"
    torch.save(own().state_dict(), file)
    content = bytearray(file.read_bytes()[: cut + 4])
    content[-1] ^= flip
    file.write_bytes(bytes(content))
    with pytest.raises((UntrustedFileError, TeacherError)):
        load_model(file, own)


def test_every_cut_of_the_old_format_is_an_error_without_words_of_pythons(tmp_path):
    file = tmp_path / "old.pt"
    torch.save(own().state_dict(), file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for end in range(0, len(content), 7):
        file.write_bytes(content[:end])
        with pytest.raises((UntrustedFileError, TeacherError)) as caught:
            load_model(file, own)
        assert "buffer" not in str(caught.value)


EXTRAS = {
    "args": argparse.Namespace(lr=0.1, out=Path("runs")),
    "best": np.float64(0.9),
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{}]},
    "config": OmegaConf.create({"model": {"depth": 3}, "steps": [1, 2]}),
    "hyper_parameters": {"activation": torch.nn.functional.relu, "loss": torch.nn.MSELoss()},
}


@pytest.mark.parametrize("name", EXTRAS)
def test_weights_are_read_next_to_objects_of_other_classes(tmp_path, name):
    model = own().eval()
    torch.save({"model": model.state_dict(), "epoch": 3, name: EXTRAS[name]}, tmp_path / "it.pt")
    assert torch.equal(load_model(tmp_path / "it.pt", own).model(X), model(X))


def test_the_weights_of_a_whole_module_are_read_as_data(tmp_path, monkeypatch):
    """The module's class is not imported, so it may even be missing."""
    module = types.ModuleType("absent")
    module.Teacher = type("Teacher", (Normalized,), {"__module__": "absent"})
    model = torch.nn.DataParallel(module.Teacher(own(), [0.5], [0.5])).eval()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "absent", module)
        content = {"ema": model, "epoch": 3, "args": argparse.Namespace()}
        torch.save(content, tmp_path / "it.pt")
    result = load_model(tmp_path / "it.pt", whole).model
    assert torch.equal(result(X), model.module(X))
    with pytest.raises(TeacherError, match=r"cannot be unpickled here \(ModuleNotFoundError"):
        load_model(tmp_path / "it.pt", whole, trust_pickle=True)


def test_a_buffer_that_is_not_persistent_is_not_read(tmp_path):
    model = own()
    model.register_buffer("cache", torch.ones(2), persistent=False)
    torch.save(model, tmp_path / "it.pt")
    assert torch.equal(load_model(tmp_path / "it.pt", own).model(X), model.eval()(X))


def test_a_file_without_tensors_says_what_reading_it_would_need(tmp_path):
    torch.save({"uname": os.uname()}, tmp_path / "it.pt")
    with pytest.raises(TeacherError, match="contains a dictionary of uname; expected a state"):
        load_model(tmp_path / "it.pt", own)
    torch.save(os.uname(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UntrustedFileError, match=r"an object of posix\.uname_result without a st"):
        load_model(tmp_path / "old.pt", own)


def test_an_average_and_a_loss_are_left_out(tmp_path, recwarn):
    model = whole().eval()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save(averaged.state_dict() | {"criterion.weight": torch.ones(3)}, tmp_path / "it.pt")
    assert torch.equal(load_model(tmp_path / "it.pt", whole).model(X), model(X))
    assert not recwarn.list


def test_a_model_next_to_another_is_read_with_a_warning(tmp_path):
    model = own().eval()
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(state | {"teacher.fc.weight": torch.ones(3)}, tmp_path / "it.ckpt")
    with pytest.warns(LimbeckWarning, match=r"only the tensors below model\. .*\(teacher\)"):
        result = load_model(tmp_path / "it.ckpt", own)
    assert torch.equal(result.model(X), model(X))


def test_two_models_that_fit_are_refused(tmp_path):
    state = own().state_dict()
    both = {f"{part}.{name}": state[name] for part in ("model", "teacher") for name in state}
    torch.save(both, tmp_path / "it.ckpt")
    message = r"several models that fit.*below model and teacher\. .*teacher\.key=model "
    with pytest.raises(TeacherError, match=message):
        load_model(tmp_path / "it.ckpt", own)


class Weighted(torch.nn.Module):
    """A layer with weight normalisation in one of its two implementations."""

    def __init__(self, norm):
        super().__init__()
        self.layer = norm(torch.nn.Linear(4, 3))

    def forward(self, x):
        return self.layer(x)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_former_names_of_weight_norm_are_translated(tmp_path):
    model = Weighted(torch.nn.utils.weight_norm).eval()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    assert "module.layer.weight_g" in state
    torch.save(state, tmp_path / "it.pt")
    norm = torch.nn.utils.parametrizations.weight_norm
    result = load_model(tmp_path / "it.pt", lambda: Weighted(norm)).model
    x = torch.rand(2, 4)
    assert torch.equal(result(x), model(x))
    del state["module.layer.weight_v"]
    torch.save(state, tmp_path / "it.pt")
    with pytest.raises(TeacherError, match=r"also has module\.layer\.weight_g"):
        load_model(tmp_path / "it.pt", lambda: Weighted(norm))


def write_bomb(file, kind):
    """A file of torch.save that is small but asks for much memory or time."""
    if kind == "views":
        torch.save({"weight": torch.zeros(1).expand(100_000, 100_000)}, file)
    elif kind == "nested":
        content = {"weights": torch.zeros(2), "epoch": 1}
        for _ in range(3):
            content = {f"key{number}": content for number in range(300)}
        torch.save(content, file)
    elif kind == "bytes":
        torch.save({"weights": bytearray(10)}, file)
    else:
        torch.save({"weights": torch.zeros(2 << 20)}, file.with_suffix(".plain"))
        with zipfile.ZipFile(file.with_suffix(".plain")) as plain:
            entries = [(entry.filename, plain.read(entry)) for entry in plain.infolist()]
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("views", "take more than 16 times the size of the file"),
        ("nested", "expected a state dict"),
        ("bytes", "contains a bytearray"),
        ("compressed", "unpacks to 8,388,608 bytes"),
    ],
)
def test_small_files_that_take_much_memory_or_time_are_refused(tmp_path, kind, message):
    write_bomb(tmp_path / "it.pt", kind)
    with pytest.raises((TeacherError, UntrustedFileError), match=message):
        load_model(tmp_path / "it.pt", whole)
