"""Kinds of files and folders that hold no weights limbeck can read, and what to do about each."""

import itertools
import re
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.errors import UntrustedFileError
from limbeck._base.runtime.files import open_file

DOWNLOAD_AGAIN = "Download it again"
OTHER_FRAMEWORK = "limbeck reads the weights of PyTorch models: state dicts (.pt) and safetensors"
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".tar")
HEAD = 512
"""Number of bytes at the start of a file that are enough to recognise its kind."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: Name with its article, such as "a NumPy archive".
        advice: Sentence that says what to do, without its period. ``'FILE'`` stands for the path.
    """

    name: str
    advice: str


_STARTS: Sequence[tuple[bytes, Kind]] = (
    (
        b"version https://git-lfs",
        Kind(
            "a Git LFS pointer, not the weights themselves",
            "Fetch the weights with 'git lfs pull' in its repository, or download the file again",
        ),
    ),
    (b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file (Keras?)", OTHER_FRAMEWORK)),
    (b"PAR1", Kind("a Parquet file, perhaps of data or answers", OTHER_FRAMEWORK)),
    (b"Rar!", Kind("a compressed archive (rar)", "Unpack it first")),
    (b"GGUF", Kind("a GGUF file (llama.cpp)", OTHER_FRAMEWORK)),
    (
        b"\x93NUMPY",
        Kind("a NumPy array", "Save the weights of all layers by name, with torch.save"),
    ),
    (b"\x1f\x8b", Kind("a compressed archive (gzip)", "Unpack it first")),
    (b"BZh", Kind("a compressed archive (bzip2)", "Unpack it first")),
    (b"\xfd7zXZ\x00", Kind("a compressed archive (xz)", "Unpack it first")),
    (b"7z\xbc\xaf\x27\x1c", Kind("a compressed archive (7z)", "Unpack it first")),
    (b"\x28\xb5\x2f\xfd", Kind("a compressed archive (zstd)", "Unpack it first")),
)
_EMPTY = Kind("empty", "Copy or download it again")
_WEB_PAGE = Kind("a web page, perhaps the error message of a failed download", DOWNLOAD_AGAIN)
_TAR = Kind("a tar archive", "Unpack it first")
_OLD_TAR = Kind(
    "a checkpoint in the tar format that PyTorch wrote in 2016",
    "If you trust it, convert it: torch.save(torch.load('FILE', weights_only=False), 'weights.pt')",
)
_OLD_TAR_NAMES = {"sys_info", "pickle", "storages", "tensors"}
_CUT_ZIP = Kind(
    "damaged or incomplete: it begins like a zip archive but has no end, as after an interrupted "
    "download",
    "Copy or download it again",
)
_OPENVINO = Kind("a model of OpenVINO", OTHER_FRAMEWORK)
_EXECUTORCH = Kind("a program of ExecuTorch", OTHER_FRAMEWORK)
_ONNX = Kind(
    "an ONNX model",
    f"{OTHER_FRAMEWORK}. Choose the checkpoint that it was exported from; for a student of "
    "limbeck, its folder in RUN/students",
)
_TFLITE = Kind("a TensorFlow Lite model", OTHER_FRAMEWORK)
_TENSORFLOW = Kind("a TensorFlow model", OTHER_FRAMEWORK)
_TORCHSCRIPT = Kind(
    "a TorchScript archive",
    "Save its state dict: torch.save(torch.jit.load('FILE', map_location='cpu').state_dict(), "
    "'weights.pt')",
)
_EXPORTED_PROGRAM = Kind(
    "a program of torch.export",
    "Save its state dict: torch.save(dict(torch.export.load('FILE').state_dict), 'weights.pt')",
)
_NUMPY = Kind(
    "a NumPy archive",
    "Save its arrays as a state dict: torch.save({name: torch.from_numpy(array) for name, array in "
    "numpy.load('FILE').items()}, 'weights.pt')",
)
_KERAS = Kind("a Keras model", OTHER_FRAMEWORK)
_ZIP = Kind("a zip archive", "Unpack it first")
_PICKLE = Kind(
    "a pickle that torch.save did not write (scikit-learn, joblib?)",
    f"Reading it could run code, so limbeck does not. {OTHER_FRAMEWORK}",
)
_TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""Number at the start of files that torch.save wrote before version 1.6."""
_SUFFIXES = {
    ".onnx": _ONNX,
    ".pb": _TENSORFLOW,
    ".index": _TENSORFLOW,
    ".h5": _KERAS,
    ".keras": _KERAS,
    ".msgpack": Kind("a Flax model", OTHER_FRAMEWORK),
    ".params": Kind("a model of MXNet", OTHER_FRAMEWORK),
    ".caffemodel": Kind("a model of Caffe", OTHER_FRAMEWORK),
    ".mlmodel": Kind("a Core ML model", OTHER_FRAMEWORK),
    ".engine": Kind("a TensorRT engine", OTHER_FRAMEWORK),
    ".plan": Kind("a TensorRT engine", OTHER_FRAMEWORK),
}
_PADDLE = Kind("a model of PaddlePaddle", OTHER_FRAMEWORK)
_PADDLE_SUFFIXES = (".pdparams", ".pdopt", ".pdmodel", ".pdiparams")


def kind_of(file: Path) -> Kind | None:
    """Recognise the kind of a file that holds no readable weights; None if it is unknown."""
    with open_file(file) as content:
        head = content.read(HEAD)
    if not head:
        return _EMPTY
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(file)
    text = head.lstrip().lower()
    if text.startswith(b"<?xml") and b"<net " in text:
        return _OPENVINO
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return _WEB_PAGE
    if head[4:8] == b"TFL3":
        return _TFLITE
    if head[4:6] == b"ET" and head[6:8].isdigit():
        return _EXECUTORCH
    if file.suffix in _PADDLE_SUFFIXES:
        return _PADDLE
    if head.startswith(b"\x08") and (b"pytorch" in head[:64] or b"limbeck" in head[:64]):
        return _ONNX
    if head.startswith(b"\x80"):
        return None if _TORCH_MAGIC in head[:32] else _PICKLE
    if file.name.endswith(".onnx.data"):
        return _ONNX
    if file.suffix in _SUFFIXES:
        return _SUFFIXES[file.suffix]
    if re.fullmatch(r"\.data-\d{5}-of-\d{5}", file.suffix):
        return _TENSORFLOW
    if head[257:262] == b"ustar" and tarfile.is_tarfile(file):
        return _kind_of_tar(file)
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> Kind | None:
    """A kind with the first line of a text; None for other content."""
    try:
        lines = head.decode().split("\n")
    except UnicodeDecodeError:
        return None
    if not all(line.rstrip("\r").replace("\t", " ").isprintable() for line in lines):
        return None
    return Kind(f"a text file, which begins with {lines[0].strip()[:60]!r}", DOWNLOAD_AGAIN)


def _kind_of_tar(file: Path) -> Kind:
    """Recognise the tar format of PyTorch among tar archives, by the names of its first files."""
    try:
        with tarfile.open(file) as archive:
            names = {entry.name for entry in itertools.islice(archive, len(_OLD_TAR_NAMES))}
    except (tarfile.TarError, ValueError, EOFError, OSError):
        return _TAR
    return _OLD_TAR if names & _OLD_TAR_NAMES else _TAR


def _kind_of_zip(file: Path) -> Kind | None:
    """Recognise the kind of a zip archive; None for one of torch.save, or a damaged one."""
    if not zipfile.is_zipfile(file):
        return _CUT_ZIP
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    ends = {name.partition("/")[2] for name in names} | set(names)
    if "constants.pkl" in ends and any(end.startswith("code/") for end in ends):
        return _TORCHSCRIPT
    if "archive_format" in ends or any(end.startswith("models/") for end in ends):
        return _EXPORTED_PROGRAM
    if "data.pkl" in ends:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return _NUMPY
    if "model.weights.h5" in names:
        return _KERAS
    return _ZIP


def unreadable(file: Path, expected: str, reason: object = "") -> UntrustedFileError:
    """Return an error that names the kind of an unreadable file, and what to do.

    Args:
        file: Path of the file.
        expected: Kind of file that was expected, such as "a safetensors file".
        reason: Message of the library that could not read it.
    """
    kind = kind_of(file)
    if kind is None:
        if isinstance(reason, OSError) and reason.strerror:
            reason = reason.strerror  # without its number
        line = " ".join(str(reason).split()).partition(". ")[0][:200].rstrip(".")
        return UntrustedFileError(
            f"{file} is damaged or incomplete, or not {expected} ({line}). Copy or download it "
            "again."
        )
    advice = kind.advice.replace("'FILE'", repr(str(file)))
    return UntrustedFileError(f"{file} is {kind.name}. {advice}.")
