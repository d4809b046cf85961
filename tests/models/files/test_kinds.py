"""Files that people take for weights: each is named, and the advised line works."""

import gzip
import io
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from support.saved_models import Own

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.models import load_model
from limbeck.models.files.kinds import unreadable

PICTURE = torch.rand(2, 5)


def tar(name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def zipped(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"content")
    return buffer.getvalue()


CONTENTS = {
    "empty.pt": (b"", "is empty"),
    "empty.safetensors": (b"", "is empty"),
    "lfs.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "git lfs pull",
    ),
    "page.pt": (b"<!DOCTYPE html>\n<html>404</html>", "is a web page.*Download it again"),
    "page.safetensors": (b"\n<html><body>Log in</body></html>", "is a web page"),
    "denied.pth": (b'{"error": "denied"}\n', "is a text file, which begins with '{\"error"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    "model.keras": (zipped("model.weights.h5"), "is a Keras model"),
    "model.gguf": (b"GGUF" + bytes(99), "is a GGUF file"),
    "model.tflite": (bytes(4) + b"TFL3" + bytes(99), "is a TensorFlow Lite model"),
    "model.pb": (b"\x08\x01\x12", "is a TensorFlow model"),
    "model.ckpt.index": (bytes(40), "is a TensorFlow model"),
    "model.ckpt.data-00000-of-00001": (bytes(40), "is a TensorFlow model"),
    "model.pte": (bytes(4) + b"ET12" + bytes(99), "is a program of ExecuTorch"),
    "model.xml": (b'<?xml version="1.0"?>\n<net name="a" version="11">', "a model of OpenVINO"),
    "error.xml": (b'<?xml version="1.0"?>\n<Error>AccessDenied</Error>', "is a web page"),
    "model.msgpack": (b"\x81\xa6params" + bytes([200] * 9), "is a Flax model"),
    "model.pdparams": (pickle.dumps({"a": 1}), "is a model of PaddlePaddle"),
    "model.params": (b"\x12\x01" + bytes([200] * 40), "is a model of MXNet"),
    "model.caffemodel": (b"\n\x05" + bytes([200] * 40), "is a model of Caffe"),
    "model.mlmodel": (b"\x08\x05" + bytes([200] * 40), "is a Core ML model"),
    "model.engine": (b"ptrt" + bytes(40), "is a TensorRT engine"),
    "answers.parquet": (b"PAR1" + bytes(40), "is a Parquet file"),
    "weights.rar": (b"Rar!\x1a\x07" + bytes(40), "is a compressed archive"),
    "model.onnx": (b"\x08\x08\x12\x07limbeck" + bytes(99), "is an ONNX model.*RUN/students"),
    "array.npy": (b"\x93NUMPY\x01" + bytes(99), "is a NumPy array"),
    "weights.pt.gz": (gzip.compress(b"content"), "is a compressed archive"),
    "weights.tar": (tar("weights.pt"), "is a tar archive. Unpack it"),
    "weights.zip": (zipped("weights.pt"), "is a zip archive. Unpack it"),
    "old.pth.tar": (tar("sys_info"), r"tar format that PyTorch wrote in 2016\. If you trust it"),
    "forest.pkl": (pickle.dumps({"a": np.zeros(3)}), "is a pickle that torch.save did not write"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_of_another_kind_is_named(tmp_path, name):
    content, message = CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UntrustedFileError, match=message) as error:
        load_model(tmp_path / name, Own)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "damaged" not in str(error.value)


def test_an_incomplete_file_is_damaged(tmp_path):
    torch.save(Own().state_dict(), tmp_path / "it.pt")
    content = (tmp_path / "it.pt").read_bytes()
    (tmp_path / "it.pt").write_bytes(content[:-100])
    with pytest.raises(UntrustedFileError, match=r"is damaged or incomplete.*download it again"):
        load_model(tmp_path / "it.pt", Own)
    (tmp_path / "it.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UntrustedFileError, match="like a zip archive but has no end, as after an"):
        load_model(tmp_path / "it.pt", Own)


def test_messages_have_no_error_numbers(tmp_path):
    (tmp_path / "it.pt").write_bytes(bytes(9))
    error = unreadable(tmp_path / "it.pt", "a file of torch.save", OSError(22, "Invalid argument"))
    assert "(Invalid argument)" in str(error)


def save_torchscript(model, file):
    torch.jit.trace(model, PICTURE).save(str(file))


def save_program(model, file):
    torch.export.save(torch.export.export(model, (PICTURE,)), file)


def save_arrays(model, file):
    np.savez(file, **{name: tensor.numpy() for name, tensor in model.state_dict().items()})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("script.pt", save_torchscript, "is a TorchScript archive"),
        ("program.pt2", save_program, r"is a program of torch\.export"),
        ("arrays.npz", save_arrays, "is a NumPy archive"),
    ],
)
def test_the_advised_line_converts_the_file(tmp_path, monkeypatch, name, save, message):
    monkeypatch.chdir(tmp_path)
    model = Own().eval()
    save(model, tmp_path / name)
    with pytest.raises((UntrustedFileError, TeacherError), match=message) as error:
        load_model(tmp_path / name, Own)
    line = re.search(r"torch\.save\(.*'weights\.pt'\)", str(error.value))[0]
    exec(line, {"torch": torch, "numpy": np})
    assert torch.equal(load_model("weights.pt", Own).model(PICTURE), model(PICTURE))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_advised_command_converts_a_distributed_checkpoint(tmp_path):
    model = Own().eval()
    dcp.save({"model": model.state_dict()}, checkpoint_id=str(tmp_path / "dcp"))
    with pytest.raises(TeacherError, match="is a distributed checkpoint") as error:
        load_model(tmp_path / "dcp", Own)
    command = re.search(r"python (-m torch\S+ .*weights\.pt)", str(error.value))[1].split()
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    assert torch.equal(load_model(tmp_path / "weights.pt", Own).model(PICTURE), model(PICTURE))
