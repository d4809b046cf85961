"""Pickles are never read, and damaged files are named."""

import json
import pickle
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from support.saved_models import NAMES, Exploding, Own, small

from limbeck._base.errors import LimbeckError, TeacherError, UntrustedFileError
from limbeck.models import load_model, load_weights, save_model
from limbeck.models.files.weights import read_weights


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
            with pytest.raises(UntrustedFileError, match="is a pickle") as caught:
                read(file)
            assert str(file) in str(caught.value)
        with pytest.raises(LimbeckError) as caught:
            load_model(file, small)
        assert str(file) in str(caught.value)
        assert isinstance(caught.value, UntrustedFileError) == file.name.startswith(
            ("raw", "torch-module")
        )


def test_a_text_pickle_is_not_a_safetensors_file(tmp_path):
    (tmp_path / "raw-0").write_bytes(pickle.dumps(Exploding(), 0))
    with pytest.raises(UntrustedFileError, match="not a safetensors file"):
        read_weights(tmp_path / "raw-0")


def test_a_pickle_under_the_name_of_safetensors_is_refused(saved):
    (saved / "model.safetensors").write_bytes(pickle.dumps(Exploding()))
    with pytest.raises(UntrustedFileError):
        load_model(saved)
    (saved / "model.json").unlink()
    with pytest.raises(UntrustedFileError, match="is a pickle"):
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
    with pytest.raises(UntrustedFileError, match="not a safetensors file"):
        load_model(tmp_path / "config.yaml")
