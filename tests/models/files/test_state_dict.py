"""Weights from elsewhere: state dicts as people save them."""

import pickle
import warnings

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.models import MLP, Normalized, TorchvisionModel, load_model
from limbeck.models.files.state_dict import match_names


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
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Telltale(), 2))
    with pytest.raises(UntrustedFileError, match=r"contains more than tensors.*trust_pickle"):
        load_model(tmp_path / "it.pt", own)
    with pytest.raises(UntrustedFileError):
        load_model(tmp_path / "code.pt", own)
    assert not TRACES
    assert torch.equal(load_model(tmp_path / "it.pt", trust_pickle=True).model(X), model(X))
    with pytest.raises(TeacherError, match="cannot be unpickled here"):
        load_model(tmp_path / "code.pt", own, trust_pickle=True)
    assert TRACES == ["read"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no state dict, but nothing"),
        ([torch.zeros(2)], "contains a list"),
        (torch.zeros(2), "contains a Tensor"),
        ({"a": {"w": torch.zeros(1)}, "b": {"w": torch.zeros(1)}}, r"several state dicts \(a, b\)"),
        ({"w": torch.zeros(2)}, "it lacks layers.1.bias, layers.1.weight, .* and it also has w"),
        ({"layers": {1: torch.zeros(2)}}, "no state dict, but layers"),
        (own().state_dict() | {"more": torch.zeros(1)}, "it also has more"),
        (MLP((1, 2, 2), 3, hidden=[5]).state_dict(), "size mismatch"),
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


@settings(max_examples=20, deadline=None)
@given(prefix=st.lists(st.sampled_from(["module", "model", "net", "0", "layers"]), max_size=4))
def test_a_common_prefix_of_the_names_is_removed(prefix):
    state = own().state_dict()
    selected = {".".join([*prefix, name]): tensor for name, tensor in state.items()}
    result = match_names(own(), selected)
    assert result is not None
    assert result.keys() == state.keys()
    assert all(torch.equal(result[name], tensor) for name, tensor in state.items())
