"""A model on disk: ``model.safetensors`` (weights) and ``model.json`` (how to rebuild it). No
pickle, no code.

``model.json`` names one of limbeck's own builders; a model of a user's own class is rebuilt by the
user and filled with
:func:`load_weights`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck._base.files import write_atomically, write_json, write_text
from limbeck.models.files.rebuild import describe, read_description, rebuild
from limbeck.models.files.state_dict import difference, is_pickle, match_names, read_pickled
from limbeck.models.huggingface.model import HuggingFace
from limbeck.models.normalized import Normalized, model_name
from limbeck.models.zoo import TimmModel, TorchvisionModel

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model read from disk, in eval mode, and its ``model.json``."""

    model: nn.Module
    description: dict[str, Any]


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def save_model(
    model: nn.Module, folder: Path, *, class_names: Sequence[str], tokenizer: str | None = None
) -> None:
    """Write ``model.safetensors``, then ``model.json``, each atomically.

    A model of transformers is kept as transformers itself keeps it, with its ``config.json``.

    Args:
        model: its state dict alone is kept.
        folder: made if need be.
        class_names: in the order of the logits.
        tokenizer: content of the ``tokenizer.json`` to keep beside a language model.
    """
    if isinstance(model, HuggingFace):
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder)
    else:
        # Copies, since safetensors takes neither tied weights nor other memory formats.
        state = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in model.state_dict().items()
        }
        write_atomically(folder / WEIGHTS, lambda temporary: save_file(state, temporary))
    if tokenizer is not None:
        write_text(folder / "tokenizer.json", tokenizer)
    digest = file_digest(folder / WEIGHTS)
    write_json(
        folder / DESCRIPTION, describe(model) | {"class_names": list(class_names), "sha256": digest}
    )


def find_weights(place: str | Path) -> Path:
    """The ``model.safetensors`` a user means: the file, or the one in a model's or a run's folder.

    Raises:
        TeacherError: there is none.
    """
    path = Path(place)
    if path.is_dir():
        for candidate in (path / WEIGHTS, path / "teacher" / WEIGHTS):
            if candidate.is_file():
                return candidate
        raise TeacherError(
            f"{path}: no {WEIGHTS} there nor in {path / 'teacher'}. Name a run, a model's folder "
            "or a file."
        )
    if not path.is_file():
        raise TeacherError(
            f"{path} does not exist. Name a run folder, a {WEIGHTS} or a state dict (.pt)."
        )
    return path


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        UntrustedFileError: it is damaged, or a pickle.
    """
    try:
        return load_file(file)
    except SafetensorError as error:
        reason = error
    if is_pickle(
        file
    ):  # a safetensors file may begin like one, so only one that cannot be read is told apart
        raise UntrustedFileError(
            f"{file} is a pickle (a file of torch.save): reading it could run code, so limbeck "
            "does not. Convert it "
            "where you trust it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            "'model.safetensors')."
        )
    raise UntrustedFileError(f"{file} is damaged, or no safetensors file ({reason}).")


def load_weights(model: nn.Module, file: Path) -> None:
    """Fill a model with the tensors of a safetensors file; names and shapes must match exactly.

    Raises:
        TeacherError: they do not match.
        UntrustedFileError: the file is damaged, or a pickle.
    """
    _fill(model, read_weights(file), file)


def _fill(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    try:
        if isinstance(model, HuggingFace):
            model.load_weights(weights)
        else:
            model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise TeacherError(f"{file} does not fit the model {model_name(model)}: {reason}") from None


def load_model(
    place: str | Path, build: Callable[[], nn.Module] | None = None, *, trust_pickle: bool = False
) -> LoadedModel:
    """Rebuild a saved model, in eval mode, its weights in float32.

    Args:
        place: a run folder (its teacher), a model's folder, a ``model.safetensors`` with
            ``model.json`` beside it, or weights alone: a safetensors file or a state dict of
            ``torch.save``.
        build: makes the empty model where ``model.json`` is missing or names a user's own class.
            Weights may belong to all of it, or to the network within its normalisation.
        trust_pickle: run the code in a file of ``torch.save`` that holds more than tensors.

    Raises:
        TeacherError: nothing is there, or the weights do not fit.
        UntrustedFileError: a file is damaged, would run code, or is not what ``model.json`` says.
    """
    file = find_weights(place)
    described = file.with_name(DESCRIPTION)
    description: dict[str, Any] = {}
    if file.suffix != ".safetensors" and is_pickle(file):
        found = read_pickled(file, trust=trust_pickle)
        if isinstance(found, nn.Module):
            return LoadedModel(found.float().eval(), {})
        return LoadedModel(_filled(found, build, file, "it holds weights alone").eval(), {})
    if described.is_file():
        description = read_description(described)
        if description.get("sha256") not in (None, file_digest(file)):
            raise UntrustedFileError(
                f"{file} is damaged or was changed: its SHA-256 is not that of {described}."
            )
    weights = read_weights(file)
    if description.get("builder"):
        model = rebuild(description, described, weights)
        if any(p.is_meta for p in model.parameters()) and not isinstance(model, HuggingFace):
            _fill(model, {name: tensor.to("meta") for name, tensor in weights.items()}, file)
            model.to_empty(device="cpu")
        _fill(model, weights, file)
    else:
        missing = (
            f"{described} names a class of your own" if description else f"{described} is missing"
        )
        model = _filled(weights, build, file, missing)
    return LoadedModel(model.eval(), description)


def _filled(
    weights: dict[str, Tensor], build: Callable[[], nn.Module] | None, file: Path, missing: str
) -> nn.Module:
    """The model that a user builds, or the network in it that the weights belong to."""
    if build is None:
        raise TeacherError(
            f"{file}: {missing}, so limbeck cannot rebuild the model. Give the model it belongs to "
            "(teacher.model), or "
            "in Python build it yourself and call limbeck.models.load_weights."
        )
    model = build()
    net = model.net if isinstance(model, Normalized) else model
    if isinstance(net, HuggingFace):
        _fill(net, weights, file)
        return model
    inner = [(net.net, net)] if isinstance(net, (TorchvisionModel, TimmModel)) else []
    for part, whole in [(model, model), (net, net), *inner]:
        named = match_names(part, weights)
        if named is not None:
            _fill(part, named, file)
            return whole
    raise TeacherError(
        f"{file} does not fit the model {model_name(model)}: {difference(net, weights)}."
    )
