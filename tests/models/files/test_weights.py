"""Saved models are loaded bit for bit."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file
from support.saved_models import NAMES, Own, small
from torch import nn

from limbeck._base.errors import TeacherError
from limbeck.models import MLP, ConvNet, Normalized, load_model, load_weights, save_model


def trained_convnet():
    model = Normalized(
        ConvNet((3, 8, 8), 3, channels=[4, 6], strides=[1, 2]), [0.1, 0.2, 0.3], [1.0, 2.0, 3.0]
    )
    for _ in range(3):
        model(torch.randn(8, 3, 8, 8))
    return model.eval()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (small, (4,)),
        (lambda: small(hidden=()), (4,)),
        (lambda: MLP((1, 2, 2), 3), (1, 2, 2)),
        (trained_convnet, (3, 8, 8)),
        (lambda: Normalized(MLP((4,), 3), 0.5, 2.0), (4,)),
    ],
    ids=["mlp", "no hidden layer", "bare mlp", "convnet", "scalar normalisation"],
)
def test_round_trip_is_bitwise(tmp_path, make, shape):
    model = make()
    save_model(model, tmp_path, class_names=NAMES)
    result = load_model(tmp_path)
    assert not result.model.training
    assert result.description["class_names"] == NAMES
    x = torch.rand(7, *shape)
    assert torch.equal(result.model(x), model.eval()(x))
    before, after = model.state_dict(), result.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(before[name].stride() == after[name].stride() for name in before), (
        "memory formats are kept"
    )
    assert all(p.requires_grad for p in result.model.parameters())


def test_buffers_of_batchnorm_are_saved(tmp_path):
    save_model(trained_convnet(), tmp_path, class_names=NAMES)
    state = load_file(tmp_path / "model.safetensors")
    assert state["net.features.1.num_batches_tracked"] == 3
    assert state["net.features.1.running_mean"].abs().sum() > 0


def test_loading_leaves_the_random_state_alone(saved):
    before = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_the_description_names_builder_arguments_and_normalisation(saved):
    description = json.loads((saved / "model.json").read_text())
    assert description == {
        "format": 1,
        "name": "4-5-3",
        "builder": "mlp",
        "class": "limbeck.models.mlp.MLP",
        "arguments": {
            "shape": [4],
            "classes": 3,
            "hidden": [5],
            "dropout": 0.5,
            "input_dropout": 0.1,
            "max_norm": 3.0,
        },
        "normalize": {"mean": [0.5], "std": [0.25]},
        "params": 43,
        "class_names": NAMES,
        "sha256": hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest(),
    }
    assert sorted(file.name for file in saved.iterdir()) == ["model.json", "model.safetensors"]


def test_saving_again_replaces_the_files(saved):
    other = small()
    save_model(other, saved, class_names=NAMES)
    x = torch.rand(2, 4)
    assert torch.equal(load_model(saved).model(x), other.eval()(x))


@pytest.mark.parametrize("place", ["run", "run/teacher", "run/teacher/model.safetensors"])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_model_is_found_in_a_file_a_folder_or_a_run(tmp_path, place, as_text):
    save_model(small(), tmp_path / "run" / "teacher", class_names=NAMES)
    result = tmp_path / place
    assert load_model(str(result) if as_text else result).description["params"] == 43


def test_a_users_own_class_is_rebuilt_by_the_user(tmp_path):
    model = Own()
    save_model(model, tmp_path, class_names=NAMES)
    description = json.loads((tmp_path / "model.json").read_text())
    assert (description["builder"], description["arguments"]) == (None, None)
    assert description["class"].endswith("Own")
    with pytest.raises(
        TeacherError, match=r"names a class of your own.*teacher\.model.*load_weights"
    ):
        load_model(tmp_path)
    result = load_model(tmp_path, Own).model
    x = torch.rand(3, 5)
    assert torch.equal(result(x), model(x))
    assert result.first.weight is result.second.weight
    empty = Own()
    load_weights(empty, tmp_path / "model.safetensors")
    assert torch.equal(empty(x), model(x))


def test_a_users_own_class_is_filled_inside_its_normalisation(tmp_path):
    model = Normalized(Own(), [0.5], [2.0])
    save_model(model, tmp_path, class_names=NAMES)
    x = torch.rand(3, 5)
    assert torch.equal(
        load_model(tmp_path, lambda: Normalized(Own(), [0.0], [1.0])).model(x), model(x)
    )


def test_a_subclass_of_a_builder_is_a_users_own_class(tmp_path):
    class Mine(MLP):
        def forward(self, x):
            return -super().forward(x)

    save_model(Mine((4,), 3, hidden=[5]), tmp_path, class_names=NAMES)
    with pytest.raises(TeacherError, match="names a class of your own"):
        load_model(tmp_path)


def test_weights_without_a_description_need_the_model(saved):
    (saved / "model.json").unlink()
    with pytest.raises(TeacherError, match=r"model\.json is missing"):
        load_model(saved)
    assert load_model(saved, small).description == {}


def test_weights_that_share_memory_are_saved(tmp_path):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            flat = torch.randn(30)
            self.a, self.b = nn.Parameter(flat[:20].view(4, 5)), nn.Parameter(flat[10:])
            self.register_buffer("c", flat[10:])
            tied = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
            self.d, self.e = nn.Parameter(tied), nn.Parameter(tied)
            self.register_buffer("f", torch.randn(4, 6).T)
            self.register_buffer("g", torch.zeros(0))

    model = Shared()
    save_model(model, tmp_path, class_names=NAMES)
    result = load_model(tmp_path, Shared).model.state_dict()
    assert all(torch.equal(tensor, result[name]) for name, tensor in model.state_dict().items())


def test_a_failed_save_keeps_the_last_model(saved, monkeypatch):
    from limbeck.models.files import weights as module

    def fail(state, file):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    monkeypatch.setattr(module, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        save_model(small(), saved, class_names=NAMES)
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before
