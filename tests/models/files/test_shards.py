import json
import os

import pytest
import torch
from safetensors.torch import save_file
from support.saved_models import Own

from limbeck._base.errors import UntrustedFileError
from limbeck.models import load_model
from limbeck.models.files import shards as module
from limbeck.models.files.shards import check_header
from limbeck.models.files.weights import read_weights

INDEX = "model.safetensors.index.json"


@pytest.fixture
def shards(tmp_path):
    """Weights in two files, and the model."""
    model = Own().eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(state)}
    for file in set(files.values()):
        part = {name: tensor for name, tensor in state.items() if files[name] == file}
        save_file(part, tmp_path / file)
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return tmp_path, model


def test_weights_in_several_files_are_read(shards):
    folder, model = shards
    x = torch.rand(2, 5)
    for place in (folder, folder / INDEX):
        assert torch.equal(load_model(place, Own).model(x), model(x))


def test_a_part_stands_for_all_of_them(shards):
    folder, model = shards
    x = torch.rand(2, 5)
    part = folder / "model-00002-of-00002.safetensors"
    assert torch.equal(load_model(part, Own).model(x), model(x))


@pytest.mark.parametrize("place", ["", "pytorch_model.bin.index.json", "part"])
def test_parts_of_torch_save_are_read(tmp_path, place):
    model = Own().eval()
    names = {}
    for number, name in enumerate(model.state_dict()):
        names[name] = f"pytorch_model-0000{1 + number % 2}-of-00002.bin"
    for file in set(names.values()):
        state = {name: model.state_dict()[name] for name in names if names[name] == file}
        torch.save(state, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    place = place if place != "part" else "pytorch_model-00001-of-00002.bin"
    x = torch.rand(2, 5)
    assert torch.equal(load_model(tmp_path / place, Own).model(x), model(x))
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"<html>")
    with pytest.raises(UntrustedFileError, match=r"00001-of-00002\.bin is a web page"):
        load_model(tmp_path, Own)


def test_a_missing_part_is_named(shards):
    folder, _ = shards
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UntrustedFileError, match=r"lacks model-00002-of-00002\.safetensors"):
        load_model(folder, Own)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged: Expecting"),
        ("[]", "weight_map should name the file of each tensor"),
        ("{}", "weight_map should name the file of each tensor"),
        ('{"weight_map": {"a": "../model.safetensors"}}', r"names the file '\.\./model"),
        ('{"weight_map": {"a": 1}}', "names the file '1'"),
    ],
)
def test_a_damaged_index_is_refused(shards, content, message):
    folder, _ = shards
    (folder / INDEX).write_text(content)
    with pytest.raises(UntrustedFileError, match=rf"index\.json .*{message}"):
        load_model(folder, Own)


def test_an_index_of_very_many_files_is_refused(shards):
    folder, _ = shards
    files = {f"w{i}": f"model-{i}.safetensors" for i in range(1001)}
    (folder / INDEX).write_text(json.dumps({"weight_map": files}))
    with pytest.raises(UntrustedFileError, match="lists 1,001 files; expected at most 1,000"):
        load_model(folder, Own)


def test_a_header_of_very_many_tensors_is_refused(tmp_path, monkeypatch):
    save_file({f"w{i}": torch.zeros(0) for i in range(200)}, tmp_path / "a.safetensors")
    assert len(read_weights(tmp_path / "a.safetensors")) == 200
    monkeypatch.setattr(module, "MAX_HEADER_BYTES", 10_000)
    with pytest.raises(UntrustedFileError, match=r"with the names of perhaps 1\d\d tensors"):
        read_weights(tmp_path / "a.safetensors")


def test_a_pipe_is_no_file_of_weights(tmp_path):
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(UntrustedFileError, match="is neither a file nor a folder; expected a safe"):
        check_header(tmp_path / "a.safetensors")
