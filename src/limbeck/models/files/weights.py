"""Models on disk: weights in ``model.safetensors``, and their description in ``model.json``.

There is no pickle and no code. ``model.json`` names one of limbeck's builders. Models of other
classes are built by the user and filled with :func:`load_weights`.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limbeck._base.digests import file_digest
from limbeck._base.errors import LimbeckWarning, TeacherError, UntrustedFileError
from limbeck._base.files import write_atomically, write_json, write_text
from limbeck.models.files.kinds import explain_folder, kind_of, unreadable
from limbeck.models.files.matching import Match, compare, matches
from limbeck.models.files.rebuild import describe, read_description, rebuild
from limbeck.models.files.shards import INDEX, check_header, is_index, parts_of
from limbeck.models.files.state_dict import is_pickle, read_pickled
from limbeck.models.normalized import model_name, without_normalization
from limbeck.models.protocols import CustomFiles
from limbeck.models.zoo import TimmModel, TorchvisionModel

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
MODEL_FILES = (WEIGHTS, DESCRIPTION, "config.json", "tokenizer.json", "model.onnx")
"""Names of all files of a model; the last is that of an ONNX teacher."""


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
    model: nn.Module, folder: Path, *, class_names: Sequence[str], tokenizer: str | None = None
) -> None:
    """Write ``model.safetensors``, then ``model.json``, each atomically.

    A model of transformers is written in the format of transformers, with its ``config.json``.

    Args:
        model: Model whose state dict is written.
        folder: Folder of the files, created if it does not exist.
        class_names: Names of the classes, in the order of the logits.
        tokenizer: Content of the ``tokenizer.json`` of a language model.

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
    """Find the weights at a path: a file, or ``model.safetensors`` in a model's or run's folder.

    Weights in several files are found by their index.

    Raises:
        TeacherError: If there is none.
    """
    path = Path(place)
    if path.is_dir():
        for candidate in (path / WEIGHTS, path / INDEX, path / "teacher" / WEIGHTS):
            if candidate.is_file():
                return candidate
        raise TeacherError(f"{path} {explain_folder(path)}.")
    if not path.is_file():
        raise TeacherError(
            f"{path} does not exist. Choose a run folder, a {WEIGHTS} or a state dict (.pt)."
        )
    return path


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of all files that an index lists.

    Raises:
        UntrustedFileError: If a file is damaged, of another kind, or a pickle.
    """
    if is_index(file):
        weights: dict[str, Tensor] = {}
        for part in parts_of(file):
            weights |= read_weights(part)
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


def load_weights(model: nn.Module, file: Path) -> None:
    """Fill a model with the tensors of a safetensors file; names and shapes must match exactly.

    Raises:
        TeacherError: If they do not match.
        UntrustedFileError: If the file is damaged, or a pickle.
    """
    _fill(model, read_weights(file), file)


def _fill(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    if not isinstance(model, CustomFiles):
        match = compare(model, weights)
        if match.missing or match.surplus or match.shapes:
            raise TeacherError(
                f"{file} does not fit the model {model_name(model)}: {match.difference()}."
            )
    _load(model, weights, file)


def _load(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    try:
        if isinstance(model, CustomFiles):
            model.load_weights(weights)
        else:
            model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise TeacherError(f"{file} does not fit the model {model_name(model)}: {reason}") from None


def load_model(
    place: str | Path, build: Callable[[], nn.Module] | None = None, *, trust_pickle: bool = False
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

    Raises:
        TeacherError: If there is no model, or the weights do not fit.
        UntrustedFileError: If a file is damaged, would run code, or does not match ``model.json``.
    """
    file = find_weights(place)
    if file.suffix != ".safetensors" and is_pickle(file):
        return _load_pickled(file, build, trust=trust_pickle)
    description_file = file.with_name(DESCRIPTION)
    description = read_checked_description(file)
    weights = read_weights(file)
    if description.get("builder"):
        model = rebuild(description, description_file, weights)
        _fill_rebuilt(model, weights, file)
    elif description:
        reason = f"{description_file} names your own class"
        model = _build_and_fill(weights, build, file, reason)
    else:
        model = _build_and_fill(weights, build, file, f"{description_file} is missing")
    return LoadedModel(model.eval(), description)


def _load_pickled(file: Path, build: Callable[[], nn.Module] | None, *, trust: bool) -> LoadedModel:
    content = read_pickled(file, trust=trust)
    if isinstance(content, nn.Module):
        return LoadedModel(content.float().eval(), {})
    model = _build_and_fill(content, build, file, "it contains only weights")
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


def _fill_rebuilt(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Fill a model that may be on the meta device, after checking names and shapes."""
    is_meta = any(parameter.is_meta for parameter in model.parameters())
    if is_meta and not isinstance(model, CustomFiles):
        _fill(model, {name: tensor.to("meta") for name, tensor in weights.items()}, file)
        model.to_empty(device="cpu")
    _fill(model, weights, file)


def _build_and_fill(
    weights: dict[str, Tensor], build: Callable[[], nn.Module] | None, file: Path, reason: str
) -> nn.Module:
    """Build a user's model, and fill it or the network in it that the weights belong to."""
    if build is None:
        raise TeacherError(
            f"{file}: {reason}, so limbeck cannot rebuild the model. Set the model that it belongs "
            "to (teacher.model), or in Python pass build=, a function that returns the untrained "
            "model."
        )
    model = build()
    net = without_normalization(model)
    if isinstance(net, CustomFiles):
        _fill(net, weights, file)
        return model
    # pairs of the part that the weights may belong to and the model to return: weights may come
    # with or without normalisation, and for library networks without limbeck's wrapper
    parts = [(model, model), (net, net)]
    if isinstance(net, (TorchvisionModel, TimmModel)):
        parts.append((net.net, net))
    closest: Match | None = None
    for part, whole in parts:
        candidates = matches(part, weights)
        if candidates[0].is_complete:
            _check_unique(candidates, file)
            _warn_of_dropped(candidates[0], file)
            _load(part, candidates[0].module_weights(), file)
            return whole
        if _loads_with_hooks(part, candidates[0]):
            return whole
        if closest is None or candidates[0].fit > closest.fit:
            closest = candidates[0]
    assert closest is not None
    raise TeacherError(
        f"{file} does not fit the model {model_name(model)}: {closest.difference()}. Describe the "
        "architecture of the file with teacher= (in Python: build=)."
    )


def _loads_with_hooks(module: nn.Module, match: Match) -> bool:
    """Load weights whose names only the module's own hooks translate; return whether they fit.

    An example is ``weight_norm``, whose tensors had other names before PyTorch 2.0.
    """
    if not match.missing or not match.surplus or match.dropped:
        return False
    try:
        module.load_state_dict(match.weights, strict=True)
    except RuntimeError:
        return False
    return True


def _check_unique(candidates: Sequence[Match], file: Path) -> None:
    """Refuse a file with several models that fit, such as a model and its moving average."""
    complete = [match.prefix for match in candidates if match.is_complete]
    if len(complete) > 1:
        raise TeacherError(
            f"{file} contains several models that fit: the tensors below {' and '.join(complete)}. "
            "Save only the teacher's, without the others."
        )


def _warn_of_dropped(match: Match, file: Path) -> None:
    if match.dropped:
        names = dict.fromkeys(name.partition(".")[0] for name in match.dropped)
        warnings.warn(
            f"{file}: only the tensors below {match.prefix} are read; others are left out "
            f"({', '.join(names)}).",
            LimbeckWarning,
            stacklevel=2,
        )
