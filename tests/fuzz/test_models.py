"""Changed checkpoints and weights, and stores of a teacher's answers."""

import shutil

import pytest
import torch
from hypothesis import strategies as st
from support.fuzz import attempt, attempt_call, examples, fuzz, snapshot
from support.fuzz_values import changed_file
from support.store_cases import image_pass, open_quietly

from limbeck.models import MLP, ConvNet, load_model, load_weights, save_model


def small_model():
    return MLP((1, 8, 8), 3, hidden=[4])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A saved model, and the same weights in several files of PyTorch."""
    folder = tmp_path_factory.mktemp("models")
    model = small_model()
    names = ["a", "b", "c"]
    save_model(model, folder / "mlp", class_names=names)
    conv = ConvNet((1, 8, 8), 3, channels=[2], strides=[2])
    save_model(conv, folder / "conv", class_names=names)
    state = model.state_dict()
    torch.save(state, folder / "state.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": state, "epoch": 3, "args": {"lr": 0.1}}, folder / "checkpoint.pt")
    torch.save(model, folder / "module.pt")
    return folder


NAMES = (
    "mlp/model.json",
    "mlp/model.json",
    "mlp/model.safetensors",
    "conv/model.json",
    "conv/model.safetensors",
    "state.pt",
    "old.pt",
    "checkpoint.pt",
    "module.pt",
)


@examples(0.07)
def test_changed_weights_are_loaded_or_refused(count, files):
    def check(folder, change):
        name, content = change
        copy = folder / "models"
        shutil.copytree(files, copy)
        file = copy / name
        file.write_bytes(content)
        before = snapshot(copy)
        place = file.parent if file.parent != copy else file
        attempt_call(folder, lambda: load_model(place))
        attempt_call(folder, lambda: load_model(place, small_model))
        if file.suffix == ".safetensors":
            attempt_call(folder, lambda: load_weights(small_model(), file))
        assert snapshot(copy) == before

    @st.composite
    def changes(draw):
        name = draw(st.sampled_from(NAMES))
        return name, draw(changed_file(files / name))

    fuzz(count, check, changes())


# Stores -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with one store of a teacher's answers."""
    folder = tmp_path_factory.mktemp("stores")
    open_quietly(image_pass(), folder)
    return folder


@examples(0.03)
def test_changed_stores_end_with_an_exit_code(count, store):
    files = sorted(path.relative_to(store) for path in store.rglob("*") if path.is_file())

    def check(folder, action, change):
        name, content = change
        shutil.copytree(store, folder / "store")
        (folder / "store" / name).write_bytes(content)
        words = ["--all"] if action == "clear" else []
        attempt(folder, "store", action, *words)

    @st.composite
    def changes(draw):
        name = draw(st.sampled_from(files))
        return name, draw(changed_file(store / name))

    fuzz(count, check, st.sampled_from(["list", "verify", "verify", "clear"]), changes())
