"""Every row of the table of files that are not read is tried. More are in tests/models/files."""

import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.documented_forms import Cases
from torch import nn

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.models import load_model


def two():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))


CASES = Cases("## Files that are not read")
case = CASES.of


def test_every_row_has_a_case():
    assert list(CASES) == CASES.rows


@pytest.mark.parametrize("row", CASES.rows)
def test_other_files(row, tmp_path):
    CASES[row](tmp_path)


def check_message(file, content, message):
    file.write_bytes(content)
    with pytest.raises((UntrustedFileError, TeacherError), match=message):
        load_model(file, two)


@case("an empty or cut file")
def _cut(folder):
    torch.save(two().state_dict(), folder / "it.pt")
    content = (folder / "it.pt").read_bytes()
    check_message(folder / "cut.pt", content[:500], "damaged or incomplete.*download it again")
    check_message(folder / "empty.pt", b"", "is empty. Copy or download it again")


@case("a web page or error message")
def _page(folder):
    check_message(folder / "it.pt", b"<!DOCTYPE html>", "is a web page")
    check_message(folder / "it.pt", b"Access denied", "is a text file, which begins with 'Access")


@case("a Git LFS pointer")
def _lfs(folder):
    check_message(folder / "it.pt", b"version https://git-lfs.github.com/spec/v1", "git lfs pull")


def archive_of(*names):
    """A zip archive with entries of these names; tests of kinds use real ones."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(f"it/{name}", b"content")
    return buffer.getvalue()


@case("a TorchScript archive")
def _torchscript(folder):
    content = archive_of("data.pkl", "constants.pkl", "code/__torch__.py")
    check_message(folder / "it.pt", content, r"is a TorchScript archive.*torch\.save\(")


@case("a program of `torch.export`")
def _program(folder):
    content = archive_of("archive_format", "models/model.json")
    check_message(folder / "it.pt2", content, r"is a program of torch\.export.*torch\.save\(")


@case("a NumPy array or archive")
def _numpy(folder):
    np.savez(folder / "it.npz", w=np.zeros(3))
    content = (folder / "it.npz").read_bytes()
    check_message(folder / "it.npz", content, r"is a NumPy archive.*torch\.save\(")
    np.save(folder / "it.npy", np.zeros(3))
    check_message(folder / "it.npy", (folder / "it.npy").read_bytes(), "is a NumPy array")


@case("a tar archive of PyTorch from 2016")
def _tar(folder):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    check_message(folder / "it.tar", buffer.getvalue(), r"in 2016.*torch\.save\(torch\.load")


@case("another pickle")
def _pickle(folder):
    check_message(folder / "it.pkl", pickle.dumps({"a": 1}), "a pickle that torch.save did not")


@case("a compressed archive")
def _compressed(folder):
    check_message(folder / "it.pt.gz", gzip.compress(b"weights"), "gzip.* Unpack it first")


@case("quantised weights")
def _quantised(folder):
    state = {name: tensor.to(torch.int8) for name, tensor in two().state_dict().items()}
    save_file(state, folder / "it.safetensors")
    with pytest.raises(TeacherError, match=r"has integers \(torch\.int8\), as in quantised"):
        load_model(folder / "it.safetensors", two)


@case("an adapter (LoRA)")
def _adapter(folder):
    (folder / "adapter_config.json").write_text("{}")
    save_file({"w": torch.zeros(1)}, folder / "adapter_model.safetensors")
    with pytest.raises(TeacherError, match="contains an adapter"):
        load_model(folder, two)


@case("a distributed or DeepSpeed checkpoint")
def _distributed(folder):
    for name in (".metadata", "__0_0.distcp"):
        (folder / name).touch()
    with pytest.raises(TeacherError, match=r"python -m torch\.distributed\.checkpoint"):
        load_model(folder, two)
    (folder / ".metadata").unlink()
    (folder / "zero_to_fp32.py").touch()
    with pytest.raises(TeacherError, match=r"python -m deepspeed\.utils\.zero_to_fp32"):
        load_model(folder, two)


KINDS = {
    "TensorFlow": ("saved_model.pb", b"\x08\x01\x12"),
    "Keras": ("it.h5", b"\x89HDF\r\n\x1a\n" + bytes(40)),
    "Flax": ("it.msgpack", b"\x81\xa6params" + bytes([200] * 9)),
    "GGUF": ("it.gguf", b"GGUF" + bytes(40)),
    "Core ML": ("it.mlmodel", b"\x08\x05" + bytes([200] * 40)),
    "TensorRT": ("it.engine", b"ptrt" + bytes(40)),
    "OpenVINO": ("it.xml", b'<?xml version="1.0"?><net name="a">'),
    "Paddle": ("it.pdparams", b"\x80\x04N."),
    "MXNet": ("it.params", b"\x12\x01" + bytes([200] * 40)),
    "Caffe": ("it.caffemodel", b"\n\x05" + bytes([200] * 40)),
}
ROW = "TensorFlow, Keras, Flax, GGUF, Core ML, TensorRT, OpenVINO, Paddle, MXNet, Caffe"


@case(ROW)
def _other_frameworks(folder):
    assert list(KINDS) == ROW.split(", ")
    for kind, (name, content) in KINDS.items():
        check_message(folder / name, content, f"{kind}.*weights of PyTorch models")
