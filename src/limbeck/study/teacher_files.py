"""Teachers that are loaded from files: runs, models, weights, and folders of other libraries."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import nn

from limbeck._base.errors import TeacherError
from limbeck.data import Dataset
from limbeck.data.text.library_tokenizer import FILE as TOKENIZER
from limbeck.data.text.library_tokenizer import load_tokenizer
from limbeck.models import HuggingFace, LoadedModel
from limbeck.models.files.weights import DESCRIPTION
from limbeck.models.huggingface.classifier import load_text_classifier
from limbeck.models.huggingface.pooling import is_sentence_encoder
from limbeck.models.huggingface.sentence_encoder import load_sentence_encoder
from limbeck.run.folder import RunFolder, students_in
from limbeck.run.remote import local_model
from limbeck.run.saved_files import check_results, run_of_model
from limbeck.run.summary import read_summary
from limbeck.study.arms import Teacher
from limbeck.study.teacher_form import adapt, check_loaded, load_file
from limbeck.study.texts import frame_of, texts_of
from limbeck.teacher.files import find_members, load_member, load_other
from limbeck.teacher.remedies import SettingRemedies

FILE_SUFFIXES = (
    ".safetensors",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".json",
    ".onnx",
    ".pt2",
    ".zip",
)


def load_teachers(teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    """Load the models that ``teacher.source`` names.

    For the run folder of an ensemble, all members are loaded.

    Args:
        teacher: Teacher with a source.
        data: Dataset of the study.

    Raises:
        ConfigError: If the hub has no model of that name.
        ResourceError: If the hub cannot be reached.
        TeacherError: If a model is missing or does not fit the dataset.
        UntrustedFileError: If a file is damaged, or loading it would run code.
    """
    loaded: list[LoadedModel] = []
    for path in teacher.source or ():
        if isinstance(path, Teacher):
            loaded += load_teachers(path, data)
            continue
        models = _load(path, teacher, data)
        for model in models:
            model = adapt(model, teacher, data, str(path))
            check_loaded(model, data, str(path), SettingRemedies())
            loaded.append(model)
    if not loaded:
        raise TeacherError("teacher.from names no model.")
    return loaded


def sources_of_splits(source: str | Path, splits: int) -> list[Sequence[str | Path]]:
    """Return what to load for the teacher of each split; or for one teacher of all splits.

    A run with several splits has a teacher for each, and so has an arm: the students of a split,
    which have not seen its validation samples.

    Args:
        source: Path or address of a teacher.
        splits: Number of splits of the study. With fewer than in the run, its first ones are meant.
    """
    path = local_model(source)
    folders = [RunFolder(path).teacher_of(number) for number in range(1, splits)]
    if folders and all(folder.is_dir() for folder in folders):
        teachers: list[Sequence[str | Path]] = [[source]]
        return teachers + [[folder] for folder in folders]
    students = _students_by_split(path)
    if len(students) < 2:
        return [[source]]
    if all(number in students for number in range(splits)):
        return [students[number] for number in range(splits)]
    return [students[min(students)]]


def _students_by_split(path: Path) -> dict[int, list[Path]]:
    """Return the students of an arm by their split; none if it is no arm of a finished run."""
    folders = students_in(path)
    run = run_of_model(folders[0]) if folders else None
    if run is None or not run.summary.is_file():
        return {}
    check_results(run, run.summary)
    students: dict[int, list[Path]] = {}
    for arm in read_summary(run).arms:
        for seed in arm.seeds if arm.name == path.name else ():
            students.setdefault(seed.split or 0, []).append(path / f"seed{seed.seed}")
    return students


def load_first(teacher: Teacher, data: Dataset) -> LoadedModel:
    """Load the first model of a teacher with a source, without a check that it fits the dataset.

    Args:
        teacher: Teacher with a source.
        data: Dataset of the study.
    """
    path = (teacher.source or ())[0]
    if isinstance(path, Teacher):
        return load_first(path, data)
    return _load(path, teacher, data)[0]


def _load(source: str | Path, teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    """Load the models of one source: a path, a name on the hub, or an address."""
    path = local_model(source)
    if _is_transformers(path, data):
        is_on_disk = path.exists()
        return [_load_transformers(path if is_on_disk else source, data)]
    return _load_files(path, teacher, data)


def _load_files(path: Path, teacher: Teacher, data: Dataset) -> list[LoadedModel]:
    other = load_other(path, classes=data.classes, trust_pickle=teacher.trust_pickle)
    if other is not None:
        return [other]
    load = partial(load_member, trust_pickle=teacher.trust_pickle, key=teacher.key)
    loaded = []
    for file in find_members(path):
        loaded.append(load_file(load, file, teacher, data))
        _check_tokenizer(file.parent / TOKENIZER, loaded[-1].model, data, str(path))
    return loaded


def _check_tokenizer(file: Path, model: nn.Module, data: Dataset, where: str) -> None:
    """Check that a model of texts was trained with the tokenizer of the data.

    Args:
        file: Tokenizer next to the weights, if there is one.
        model: Teacher.
        data: Dataset of the study.
        where: Origin of the teacher, for messages.

    Raises:
        TeacherError: If it was trained with another.
    """
    if data.tokenizer is None or data.padding is None:
        return
    advice = "Encode the texts with the teacher's own tokenizer (data.tokenizer=FILE)."
    differs = False
    if file.is_file():
        advice = f"Encode the texts with the teacher's own: data.tokenizer={file}."
        differs = load_tokenizer(file).digest != data.tokenizer.digest
    arguments = getattr(model, "arguments", None)
    ids = arguments.get("vocabulary") if isinstance(arguments, dict) else None
    if differs or ids not in (None, data.tokenizer.padded_size):
        raise TeacherError(
            f"{where}: the teacher was trained with another tokenizer, so the token ids of "
            f"{data.name} mean something else to it. {advice}"
        )


def _is_transformers(path: Path, data: Dataset) -> bool:
    """Whether a path is a model of transformers for text: a folder, or a name on the hub.

    A name that has more than two parts, has the suffix of a file or begins with an existing folder
    is a missing file instead. Such names should not be sent to the hub.
    """
    if data.tokenizer is None or path.is_file():
        return False
    if path.is_dir():
        has_config = (path / "config.json").is_file() or is_sentence_encoder(path)
        return has_config and not (path / DESCRIPTION).is_file()
    parts = path.parts
    if path.is_absolute() or len(parts) > 2 or path.suffix in FILE_SUFFIXES:
        return False
    return not Path(parts[0]).is_dir()


def _load_transformers(path: str | Path, data: Dataset) -> LoadedModel:
    """Load a language model, a sentence encoder, or a classifier for texts of one class each."""
    if data.positions is not None:
        return LoadedModel(HuggingFace(data.shape, data.classes, path=path).eval(), {})
    texts = texts_of(data)
    assert texts is not None
    if data.kind.outputs == "vectors":
        return LoadedModel(load_sentence_encoder(path, texts, frame_of(data)), {})
    model, class_names = load_text_classifier(path, texts)
    return LoadedModel(model, {"class_names": class_names} if class_names else {})
