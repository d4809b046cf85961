"""Models saved and loaded, and files that are refused."""

import hashlib
import json
import pickle
import resource
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.saved_models import NAMES, Exploding, Own, small
from torch import nn

from limbeck._base.errors import LimbeckError, TeacherError, UntrustedFileError
from limbeck.models import MLP, ConvNet, Normalized, load_model, load_weights, save_model
from limbeck.models.files.weights import read_weights


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
        (lambda: Normalized(MLP((3, 6, 6), 3), [0.1, 0.2, 0.3], [1.0] * 3, size=6), (1, 8, 8)),
    ],
    ids=["mlp", "no hidden layer", "bare mlp", "convnet", "scalar normalisation", "resized"],
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
    with pytest.raises(TeacherError, match=r"names your own class.*teacher\.model.*pass build="):
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
    with pytest.raises(TeacherError, match="names your own class"):
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


@pytest.mark.parametrize("limit", [10, 2000])
def test_a_full_disk_is_an_error_of_the_system(saved, limit):
    """safetensors raises an exception of its own, which is no ``OSError``."""
    before = (saved / "model.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*model\.safetensors'"):
            save_model(small(hidden=(100,)), saved, class_names=NAMES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (saved / "model.safetensors").read_bytes() == before


def outcome(load):
    """The result of a call, or the error that a user sees."""
    try:
        return load(), None
    except LimbeckError as error:
        return None, error


def test_no_pickle_is_written(saved):
    content = (saved / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    end = max(entry["data_offsets"][1] for entry in header.values())
    assert len(content) == 8 + length + end, "nothing but a header in JSON and the numbers"


def test_a_safetensors_header_may_start_like_a_pickle(tmp_path):
    """The first byte is the low one of the header's length: 0x80 for one model in thirty-two."""
    lengths = set()
    for length in range(1, 90):
        file = tmp_path / f"{length}.safetensors"
        save_file({"w" * length: torch.arange(3.0)}, file)
        lengths.add(file.read_bytes()[0])
        assert read_weights(file)["w" * length].tolist() == [0, 1, 2]
    assert 0x80 in lengths


def pickles(folder):
    torch.save({"w": torch.zeros(2)}, folder / "torch-zip")
    torch.save({"w": torch.zeros(2)}, folder / "torch-old", _use_new_zipfile_serialization=False)
    torch.save(Own(), folder / "torch-module")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (folder / f"raw-{protocol}").write_bytes(pickle.dumps(Exploding(), protocol))
    return sorted(folder.iterdir())


def test_pickles_are_refused_unread(tmp_path):
    for file in pickles(tmp_path):
        for read in (read_weights, lambda f: load_weights(small(), f)):
            with pytest.raises(UntrustedFileError, match="a pickle") as caught:
                read(file)
            assert str(file) in str(caught.value)
        with pytest.raises(LimbeckError) as caught:
            load_model(file, small)
        assert str(file) in str(caught.value)
        assert isinstance(caught.value, UntrustedFileError) == file.name.startswith("raw")


def test_a_text_pickle_is_not_a_safetensors_file(tmp_path):
    (tmp_path / "raw-0").write_bytes(pickle.dumps(Exploding(), 0))
    with pytest.raises(UntrustedFileError, match="is a text file"):
        read_weights(tmp_path / "raw-0")


def test_a_pickle_under_the_name_of_safetensors_is_refused(saved):
    (saved / "model.safetensors").write_bytes(pickle.dumps(Exploding()))
    with pytest.raises(UntrustedFileError):
        load_model(saved)
    (saved / "model.json").unlink()
    with pytest.raises(UntrustedFileError, match="a pickle"):
        load_model(saved)


@pytest.mark.parametrize("with_description", [True, False])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_damage_of_weights_is_an_error_that_names_the_file(
    tmp_path_factory, with_description, data
):
    folder = tmp_path_factory.getbasetemp() / f"damage-{with_description}"
    save_model(small(), folder, class_names=NAMES)
    file = folder / "model.safetensors"
    good = file.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "flip", "random"]))
    if kind == "cut":
        content = good[: data.draw(st.integers(0, len(good) - 1))]
    elif kind == "flip":
        place, bits = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(1, 255))
        content = good[:place] + bytes([good[place] ^ bits]) + good[place + 1 :]
    else:
        content = data.draw(st.binary(max_size=80))
    file.write_bytes(content)
    if with_description:
        with pytest.raises(UntrustedFileError) as caught:
            load_model(folder)
        assert str(file) in str(caught.value)
        return
    (folder / "model.json").unlink()
    result, error = outcome(lambda: load_model(folder, small))
    if result is not None:
        assert kind == "flip", "only numbers were changed, which no format can tell"
    else:
        assert str(file) in str(error)
        assert error.exit_code in (4, 7)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_damage_of_the_description_is_an_error_that_names_it(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "described"
    save_model(small(), folder, class_names=NAMES)
    file = folder / "model.json"
    good = file.read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    content = (
        good[:cut] + data.draw(st.binary(max_size=6)) + good[cut + data.draw(st.integers(0, 6)) :]
    )
    file.write_bytes(content)
    result, error = outcome(lambda: load_model(folder))
    if result is not None:
        assert result.model(torch.rand(2, 4)).shape == (2, 3)
    else:
        assert str(folder) in str(error)
        assert error.exit_code in (4, 7)


def test_one_changed_byte_of_weights_is_noticed(saved):
    file = saved / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UntrustedFileError, match="SHA-256") as caught:
        load_model(saved)
    assert str(file) in str(caught.value)


def test_a_path_without_a_model_is_refused(tmp_path):
    with pytest.raises(TeacherError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(TeacherError, match=r"has no model\.safetensors, and neither has"):
        load_model(tmp_path)
    (tmp_path / "config.yaml").write_text("seeds: 5")
    with pytest.raises(UntrustedFileError, match="is a text file"):
        load_model(tmp_path / "config.yaml")
