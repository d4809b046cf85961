"""Models on disk: weights in ``model.safetensors``, and their description in ``model.json``.

There is no pickle and no code. ``model.json`` names one of limbeck's builders. Models of other
classes are built by the user and filled with :func:`load_weights`.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limbeck._base.digests import file_digest
from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck._base.files import write_atomically, write_json, write_text
from limbeck.models.files.fill import build_and_fill, fill, fill_rebuilt
from limbeck.models.files.folders import explain_folder, only_checkpoint
from limbeck.models.files.kinds import kind_of, unreadable
from limbeck.models.files.rebuild import describe, read_description, rebuild
from limbeck.models.files.shards import INDEX, check_header, index_of, is_index, parts_of
from limbeck.models.files.state_dict import is_pickle, read_pickled, weights_below
from limbeck.models.output_map import map_from_settings
from limbeck.models.protocols import CustomFiles

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
MODEL_FILES = (WEIGHTS, DESCRIPTION, "config.json", "tokenizer.json", "model.onnx")
"""Names of all files of a model; the last is that of an ONNX teacher."""
PLACES = (
    WEIGHTS,
    INDEX,
    f"teacher/{WEIGHTS}",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Paths of weights in a folder, in the order in which they are looked for."""


@dataclass(frozen=True)
class LoadedModel:
    """A model from disk, in eval mode, and the content of its ``model.json``.

    Attributes:
        model: The model.
        description: Content of ``model.json``; empty if there is none.
    """

    model: nn.Module
    description: dict[str, Any]


def save_model(
    model: nn.Module,
    folder: Path,
    *,
    class_names: Sequence[str],
    tokenizer: str | None = None,
    columns: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write ``model.safetensors``, then ``model.json``, each atomically.

    A model of transformers is written in the format of transformers, with its ``config.json``.

    Args:
        model: Model whose state dict is written.
        folder: Folder of the files, created if it does not exist.
        class_names: Names of the classes, in the order of the logits.
        tokenizer: Content of the ``tokenizer.json`` of a language model.
        columns: Name and categories of each column, of a model of the rows of a table.

    Raises:
        OSError: If the files cannot be written, as on a full disk.
    """
    if isinstance(model, CustomFiles):
        folder.mkdir(parents=True, exist_ok=True)
        with _errors_of_the_system(folder / WEIGHTS):
            model.save(folder)
    else:
        state = {}
        for name, tensor in model.state_dict().items():
            # safetensors accepts neither tied weights nor other memory formats, so copy
            state[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        with _errors_of_the_system(folder / WEIGHTS):
            write_atomically(folder / WEIGHTS, lambda temporary: save_file(state, temporary))
    if tokenizer is not None:
        write_text(folder / "tokenizer.json", tokenizer)
    description = describe(model)
    description["class_names"] = list(class_names)
    if columns is not None:
        description["columns"] = list(columns)
    description["sha256"] = file_digest(folder / WEIGHTS)
    write_json(folder / DESCRIPTION, description)


def model_files(folder: Path) -> list[Path]:
    """Return the files of a saved model."""
    return [folder / name for name in MODEL_FILES if (folder / name).is_file()]


@contextmanager
def _errors_of_the_system(file: Path) -> Iterator[None]:
    """Turn an error of the disk, which safetensors raises as its own kind, into an ``OSError``."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(file)) from None


def find_weights(place: str | Path) -> Path:
    """Find the weights at a path: a file, or those in the folder of a model or run.

    Weights in several files are found by their index. In another folder they are the only file with
    a suffix of weights.

    Raises:
        TeacherError: If there is none.
    """
    path = Path(place)
    if path.is_dir():
        for candidate in PLACES:
            if (path / candidate).is_file():
                return path / candidate
        only = only_checkpoint(path)
        if only is not None:
            return only
        raise TeacherError(f"{path} {explain_folder(path)}.")
    if not path.is_file():
        raise TeacherError(
            f"{path} does not exist. Choose a run folder, a {WEIGHTS} or a state dict (.pt)."
        )
    return index_of(path) or path


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of all files that an index lists.

    Raises:
        UntrustedFileError: If a file is damaged, of another kind, or a pickle.
    """
    if is_index(file):
        weights: dict[str, Tensor] = {}
        for part in parts_of(file):
            if part.suffix == ".safetensors" or not is_pickle(part):
                weights |= read_weights(part)
            else:
                weights |= read_pickled(part)  # type: ignore[arg-type] # no module without trust
        return weights
    check_header(file)
    try:
        with _errors_of_the_system(file):
            return load_file(file)
    except SafetensorError as error:
        reason = error
    # checked after reading fails, since a safetensors file may start like a pickle
    if is_pickle(file) and kind_of(file) is None:
        raise UntrustedFileError(
            f"{file} is not a safetensors file but a pickle, perhaps one of torch.save. limbeck "
            "reads such files by the name weights.pt: rename it."
        )
    raise unreadable(file, "a safetensors file", reason)


def read_tensors(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a file of any kind; none from a pickled module.

    Args:
        file: File of weights.
        key: Key of the model in a checkpoint with several.

    Raises:
        UntrustedFileError: If the file is damaged, or reading it would run code.
    """
    if file.suffix == ".safetensors" or not is_pickle(file):
        return read_weights(file)
    content = read_pickled(file, trust=False, key=key)
    return {} if isinstance(content, nn.Module) else content


def load_weights(model: nn.Module, file: Path) -> None:
    """Fill a model with the tensors of a safetensors file; names and shapes must match exactly.

    Raises:
        TeacherError: If they do not match.
        UntrustedFileError: If the file is damaged, or a pickle.
    """
    fill(model, read_weights(file), file)


def load_model(
    place: str | Path,
    build: Callable[[], nn.Module] | None = None,
    *,
    trust_pickle: bool = False,
    key: str | None = None,
) -> LoadedModel:
    """Load a saved model in eval mode, with weights in float32.

    Args:
        place: Path of a run folder (its teacher), a model folder, a ``model.safetensors`` next to
            its ``model.json``, or weights only: a safetensors file or a state dict of
            ``torch.save``.
        build: Function that creates the untrained model, needed if ``model.json`` is missing or
            names your own class. The weights may belong to the whole model, or to the network
            inside its normalisation.
        trust_pickle: Whether to run the code in a file of ``torch.save`` that holds more than
            tensors.
        key: Model to take from a file with several: its key in the checkpoint, such as ``ema``, or
            the first part of the names of its tensors.

    Raises:
        TeacherError: If there is no model, or the weights do not fit.
        UntrustedFileError: If a file is damaged, would run code, or does not match ``model.json``.
    """
    file = find_weights(place)
    if file.suffix != ".safetensors" and is_pickle(file):
        return _load_pickled(file, build, trust=trust_pickle, key=key)
    description_file = file.with_name(DESCRIPTION)
    description = read_checked_description(file)
    weights = read_weights(file)
    if key is not None:
        weights = _part_of(key, weights, file)
    outputs = description.get("outputs")
    if outputs is not None:  # the other entries describe the model inside the map
        weights = {name.removeprefix("net."): tensor for name, tensor in weights.items()}
    if description.get("builder"):
        model = rebuild(description, description_file, weights)
        fill_rebuilt(model, weights, file)
    elif description:
        reason = f"{description_file} names your own class"
        model = build_and_fill(weights, build, file, reason)
    else:
        model = build_and_fill(weights, build, file, f"{description_file} is missing")
    if outputs is not None:
        model = with_map(model, outputs, description_file)
    return LoadedModel(model.eval(), description)


def with_map(model: nn.Module, outputs: Any, file: Path) -> nn.Module:
    """Return a model with the map of outputs that its description holds.

    Args:
        model: Model.
        outputs: Settings of the map.
        file: File of the description, for messages.

    Raises:
        UntrustedFileError: If the settings are damaged.
    """
    try:
        return map_from_settings(model, outputs)
    except ValueError as error:
        raise UntrustedFileError(f"{file} is damaged: {error}.") from None


def _part_of(key: str, weights: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    part = weights_below(key, weights)
    if not part:
        names = ", ".join(dict.fromkeys(name.partition(".")[0] for name in list(weights)[:8]))
        raise TeacherError(
            f"teacher.key={key}: {file} contains no tensors below {key}. Its names begin with "
            f"{names}."
        )
    return part


def _load_pickled(
    file: Path, build: Callable[[], nn.Module] | None, *, trust: bool, key: str | None
) -> LoadedModel:
    content = read_pickled(file, trust=trust, key=key)
    if isinstance(content, nn.Module):
        return LoadedModel(content.float().eval(), {})
    model = build_and_fill(content, build, file, "it contains only weights")
    return LoadedModel(model.eval(), {})


def read_checked_description(file: Path) -> dict[str, Any]:
    """Read the description next to weights, and compare the checksum; empty if there is none.

    Raises:
        UntrustedFileError: If the description or the file of weights is damaged.
    """
    description_file = file.with_name(DESCRIPTION)
    if not description_file.is_file():
        return {}
    description = read_description(description_file)
    if description.get("sha256") not in (None, file_digest(file)):
        raise UntrustedFileError(
            f"{file} is damaged or was changed: its SHA-256 differs from the one in "
            f"{description_file}."
        )
    return description
