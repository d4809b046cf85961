"""Data that stay on the disk train the students of data in memory, bit for bit."""

from functools import partial

import pytest
import torch
from support.image_files import SIZE, write_folder
from support.image_studies import ARMS
from support.studies import make_study
from support.text_files import random_text, write

from limbeck._base import mapped_memory
from limbeck.data import image_folder, text_file
from limbeck.models import GPT, MLP


def images(folder, **settings):
    if not folder.exists():
        write_folder(folder)
    return image_folder(folder, **SIZE, **settings)


def text(folder, **settings):
    if not folder.exists():
        write(folder / "a.txt", random_text(9000))
    return text_file(folder / "a.txt", block=8, **settings)


@pytest.mark.parametrize(
    ("load", "model"),
    [
        pytest.param(images, partial(MLP, hidden=[6]), id="images"),
        pytest.param(
            text, partial(GPT, width=8, layers=1, heads=1), id="text", marks=pytest.mark.slow
        ),
    ],
)
def test_students_are_those_of_data_in_memory(tmp_path, monkeypatch, load, model):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped_memory, "MAX_RESIDENT", 0)  # pages are released at each batch
    runs = []
    for in_memory in (True, False):
        monkeypatch.setenv("LIMBECK_STORE", str(tmp_path / f"store {in_memory}"))
        data = load(tmp_path / "in", in_memory=in_memory)
        assert data.train.is_on_disk is not in_memory
        out = tmp_path / f"run {in_memory}"
        torch.manual_seed(0)
        teacher = model(data.shape, data.classes)
        make_study(
            data, ARMS, out, student=model, teacher=teacher, seeds=2, epochs=2, batch_size=16
        ).run()
        runs.append({file.relative_to(out): file for file in out.rglob("*.safetensors")})
    in_memory, on_disk = runs
    assert len(in_memory) >= 4
    assert in_memory.keys() == on_disk.keys()
    for name, file in in_memory.items():
        assert file.read_bytes() == on_disk[name].read_bytes()
