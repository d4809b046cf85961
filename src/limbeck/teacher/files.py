"""Teachers in files without PyTorch weights: ONNX models, bundles, programs; copies in a run."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, TeacherError, UntrustedFileError
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError
from limbeck._base.runtime.file_names import KINDS, METADATA
from limbeck.models import LoadedModel, Normalized, load_model, save_model
from limbeck.models.files.rebuild import read_description
from limbeck.models.files.weights import (
    DESCRIPTION,
    WEIGHTS,
    find_weights,
    read_checked_description,
    read_weights,
    with_map,
)
from limbeck.models.huggingface.image import (
    is_image_classifier,
    load_image_classifier,
    other_task,
)
from limbeck.run.folder import RunFolder, members_in, students_in
from limbeck.run.saved_files import check_model_folders, run_of_model
from limbeck.teacher.adapter import adapter_of
from limbeck.teacher.lookup import LookupTeacher
from limbeck.teacher.onnx_file import read_onnx
from limbeck.teacher.onnx_model import ONNX_FILE, OnnxTeacher
from limbeck.teacher.program import SUFFIX, load_program

ADAPTERS = "limbeck.teacher."
"""Start of the classes of adapters in ``model.json``."""
ONNX_CLASS = "limbeck.teacher.onnx_model.OnnxTeacher"
LOOKUP_CLASS = "limbeck.teacher.lookup.LookupTeacher"
"""The adapters of which there is a copy."""
ANSWERS = (".csv", ".parquet", ".jsonl")
"""Suffixes of files that hold no model, but perhaps the answers of one."""
BUNDLE = METADATA
"""File by which a bundle is recognised."""


class NoCopyError(TeacherError):
    """A run folder holds no copy of its teacher, which was an object of a Python program."""


def load_other(
    path: Path, *, classes: int | None = None, trust_pickle: bool = False
) -> LoadedModel | None:
    """Load an ONNX model, a bundle, an exported program or an image classifier of transformers.

    Args:
        path: Path of a file or folder.
        classes: Number of classes of the data; None if it is not known.
        trust_pickle: Whether to run the code in an exported program.

    Returns:
        The model with its description; None if the path is something else.

    Raises:
        TeacherError: If there is no such model, or it does not fit.
        UntrustedFileError: If a file is damaged, or loading it would run code.
    """
    if _is_bundle(path):
        return _load_bundle(path, classes)
    if path.suffix.lower() == ".onnx":
        return LoadedModel(OnnxTeacher(read_onnx(path), path.name, classes=classes), {})
    if path.suffix.lower() in ANSWERS and path.exists():
        raise TeacherError(
            f"{path} holds no model. To learn from a file of answers, set teacher.answers={path} "
            f"(in Python teacher=limbeck.Answers({str(path)!r}))."
        )
    if path.suffix.lower() == SUFFIX:
        return LoadedModel(load_program(path, trust=trust_pickle), {})
    if is_image_classifier(path):
        model, class_names = load_image_classifier(path)
        return LoadedModel(model, {"class_names": class_names} if class_names else {})
    if sentence := other_task(path):
        raise TeacherError(f"{path} holds a model for another task. {sentence}")
    return None


def find_members(path: Path) -> list[Path]:
    """Return the files of weights of a teacher; that of a run may consist of several.

    Args:
        path: Run folder, folder of a teacher, of the students of an arm or of a model, or file of
            weights.

    Raises:
        TeacherError: If there are none.
        UntrustedFileError: If a file of a run is not the one that it saved.
    """
    members = members_in(RunFolder(path).teacher) or members_in(path) or students_in(path)
    files = [folder / WEIGHTS for folder in members if (folder / WEIGHTS).is_file()]
    arms = sorted(path.glob("*")) if path.name == "students" else []
    if not files and arms:
        raise TeacherError(
            f"{path} has the students of {len(arms)} arms. Choose those of one arm, such as "
            f"teacher.from={arms[-1]}."
        )
    files = files or [find_weights(path)]
    for file in files:
        run = run_of_model(file.parent)
        if run is not None:
            check_model_folders(run, [file.parent])
    return files


def load_member(
    file: Path,
    build: Callable[[], nn.Module] | None = None,
    *,
    trust_pickle: bool = False,
    key: str | None = None,
) -> LoadedModel:
    """Load a model from its file of weights, see :func:`~limbeck.models.load_model`.

    Of an ONNX teacher, the copy in the run folder is loaded; of an estimator that was fitted in the
    run, its answers.

    Raises:
        NoCopyError: If it was an object of a Python program.
        TeacherError: If there is no model, or the weights do not fit.
        UntrustedFileError: If a file is damaged, or loading it would run code.
    """
    description = _adapter_description(file)
    if description is None:
        return load_model(file, build, trust_pickle=trust_pickle, key=key)
    if description["class"] not in (ONNX_CLASS, LOOKUP_CLASS):
        raise NoCopyError(
            f"{file.parent}: the teacher was an object of a Python program "
            f"({description.get('name')}), of which a run folder holds no copy. Pass it again in "
            "Python, limbeck.Study(teacher=...)."
        )
    return LoadedModel(_load_copy(file, description), description)


def save_teacher(model: nn.Module, folder: Path, **facts: Any) -> None:
    """Save a teacher in a run folder, with the facts that :func:`~limbeck.models.save_model` takes.

    An ONNX model is copied. Of an estimator, a function or a program, whose files could run code,
    only the answers or the digest that identify it are saved.
    """
    adapter = adapter_of(model)
    if adapter is not None:
        adapter.save_files(folder)
    save_model(model, folder, **facts)


def _adapter_description(file: Path) -> dict[str, Any] | None:
    """Return the description of a saved adapter; None for other models."""
    if file.suffix != ".safetensors" or not file.with_name(DESCRIPTION).is_file():
        return None
    path = read_description(file.with_name(DESCRIPTION)).get("class")
    if not isinstance(path, str) or not path.startswith(ADAPTERS):
        return None
    return read_checked_description(file)


def _load_copy(file: Path, description: dict[str, Any]) -> nn.Module:
    """Load the copy of an ONNX model in a run folder, or the answers of an estimator."""
    saved = {key.rpartition(".")[2]: value for key, value in read_weights(file).items()}
    model: nn.Module
    if description["class"] == LOOKUP_CLASS:
        model = LookupTeacher.from_weights(str(description.get("name")), saved, file)
    else:
        model = _load_onnx(file, description, saved.get("digest"))
    normalize = description.get("normalize")
    try:
        if normalize is not None:
            mean, std = normalize["mean"], normalize["std"]
            model = Normalized(model, mean, std, size=normalize.get("size"))
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UntrustedFileError(
            f"{file.with_name(DESCRIPTION)}: its normalisation is damaged ({error})."
        ) from None
    outputs = description.get("outputs")
    if outputs is not None:
        model = with_map(model, outputs, file.with_name(DESCRIPTION))
    return model.eval()


def _load_onnx(file: Path, description: dict[str, Any], digest: Tensor | None) -> OnnxTeacher:
    """Load the copy of an ONNX model, after a check that it is the one of a digest."""
    names = description.get("class_names")
    classes = len(names) if isinstance(names, list) else None
    name = str(description.get("name"))
    adapter = OnnxTeacher(read_onnx(file.with_name(ONNX_FILE)), name, classes=classes)
    if digest is None or not torch.equal(digest, adapter.digest):
        raise UntrustedFileError(
            f"{file.with_name(ONNX_FILE)} is damaged or was changed: its SHA-256 differs from the "
            f"one in {file}."
        )
    return adapter


def _is_bundle(path: Path) -> bool:
    if path.is_dir():
        return (path / BUNDLE).is_file()
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == BUNDLE for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _load_bundle(path: Path, classes: int | None) -> LoadedModel:
    """Load the fp32 model of a bundle, with the names of its classes."""
    try:
        bundle = Bundle(path)
        content = bundle.read(KINDS["fp32"])
    except BundleError as error:
        raise UntrustedFileError(str(error)) from None
    model = OnnxTeacher(content, bundle.name, classes=classes)
    description = {"class_names": bundle.labels, "columns": bundle.preprocess.get("columns")}
    return LoadedModel(model, description)
