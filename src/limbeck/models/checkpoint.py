"""A model on disk: ``model.safetensors`` (weights) and ``model.json`` (how to rebuild it). No pickle, no code.

``model.json`` names one of limbeck's own builders; a model of a user's own class is rebuilt by the user and filled with
:func:`load_weights`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limbeck.errors import LimbeckError, TeacherError, UntrustedFileError
from limbeck.models.classifier import Classifier
from limbeck.models.convnet import ConvNet
from limbeck.models.graded import Graded
from limbeck.models.mlp import MLP
from limbeck.models.state_dict import difference, is_pickle, match_names, read_pickled
from limbeck.models.zoo import TimmModel, TorchvisionModel
from limbeck.run_folder import write_atomically, write_json

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP, "convnet": ConvNet, "torchvision": TorchvisionModel, "timm": TimmModel, "classifier": Classifier,
    "graded": Graded,
}  # fmt: skip
LARGEST_SIDE = 4096
FROM_LIBRARIES = ("torchvision", "timm", "classifier")
"""Builders of other libraries' networks: they may keep tensors that no file holds, and some need memory to be made."""


class Normalized(nn.Module):
    """A model with the normalisation of its inputs inside, so that teacher and student may differ in it.

    Args:
        net: the model behind.
        mean: subtracted, one a channel or one in all.
        std: divided by, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    @property
    def name(self) -> str:
        """The name of the model behind."""
        return model_name(self.net)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of inputs ``[B, ...]`` as the data set holds them (images from 0 to 1)."""
        channels = self.mean.numel()
        if channels == 1:
            return self.net((x - self.mean.view(())).div_(self.std.view(())))
        images = x.unflatten(1, (channels, -1)) if x.ndim == 2 else x
        shape = (-1, *[1] * (images.ndim - 2))
        return self.net((images - self.mean.view(shape)).div_(self.std.view(shape)).view_as(x))


@dataclass(frozen=True)
class LoadedModel:
    """A model read from disk, in eval mode, and its ``model.json``."""

    model: nn.Module
    description: dict[str, Any]


def model_name(model: nn.Module) -> str:
    """The model's own ``name``, or that of its class."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else type(model).__name__


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def describe(model: nn.Module) -> dict[str, Any]:
    """How to rebuild a model: builder and arguments, or only the class name for a user's own class."""
    net = model.net if isinstance(model, Normalized) else model
    arguments = getattr(net, "arguments", None)  # none for a classifier on a module of the user's own
    builder = next((name for name, kind in BUILDERS.items() if type(net) is kind and arguments is not None), None)
    normalize = {"mean": model.mean.tolist(), "std": model.std.tolist()} if isinstance(model, Normalized) else None
    return {
        "format": 1,
        "name": model_name(model),
        "builder": builder,
        "class": f"{type(net).__module__}.{type(net).__qualname__}",
        "arguments": dict(arguments) if builder and arguments else None,
        "normalize": normalize,
        "params": count_parameters(model),
    }


def save_model(model: nn.Module, folder: Path, *, class_names: Sequence[str]) -> None:
    """Write ``model.safetensors``, then ``model.json``, each atomically.

    Args:
        model: its state dict alone is kept.
        folder: made if need be.
        class_names: in the order of the logits.
    """
    # Copies, since safetensors takes neither tied weights nor other memory formats.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    write_atomically(folder / WEIGHTS, lambda temporary: save_file(state, temporary))
    digest = file_digest(folder / WEIGHTS)
    write_json(folder / DESCRIPTION, describe(model) | {"class_names": list(class_names), "sha256": digest})


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
            f"{path}: no {WEIGHTS} there nor in {path / 'teacher'}. Name a run, a model's folder or a file."
        )
    if not path.is_file():
        raise TeacherError(f"{path} does not exist. Name a run folder, a {WEIGHTS} or a state dict (.pt).")
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
    if is_pickle(file):  # a safetensors file may begin like one, so only one that cannot be read is told apart
        raise UntrustedFileError(
            f"{file} is a pickle (a file of torch.save): reading it could run code, so limbeck does not. Convert it "
            "where you trust it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')."
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
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise TeacherError(f"{file} does not fit the model {model_name(model)}: {reason}") from None


def load_model(
    place: str | Path, build: Callable[[], nn.Module] | None = None, *, trust_pickle: bool = False
) -> LoadedModel:
    """Rebuild a saved model, in eval mode, its weights in float32.

    Args:
        place: a run folder (its teacher), a model's folder, a ``model.safetensors`` with ``model.json`` beside it, or
            weights alone: a safetensors file or a state dict of ``torch.save``.
        build: makes the empty model where ``model.json`` is missing or names a user's own class. Weights may belong to
            all of it, or to the network within its normalisation.
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
        description = _read_description(described)
        if description.get("sha256") not in (None, file_digest(file)):
            raise UntrustedFileError(f"{file} is damaged or was changed: its SHA-256 is not that of {described}.")
    weights = read_weights(file)
    if description.get("builder"):
        model = _rebuild(description, described, weights)
        if any(p.is_meta for p in model.parameters()):
            _fill(model, {name: tensor.to("meta") for name, tensor in weights.items()}, file)
            model.to_empty(device="cpu")
        _fill(model, weights, file)
    else:
        missing = f"{described} names a class of your own" if description else f"{described} is missing"
        model = _filled(weights, build, file, missing)
    return LoadedModel(model.eval(), description)


def _filled(weights: dict[str, Tensor], build: Callable[[], nn.Module] | None, file: Path, missing: str) -> nn.Module:
    """The model that a user builds, or the network in it that the weights belong to."""
    if build is None:
        raise TeacherError(
            f"{file}: {missing}, so limbeck cannot rebuild the model. Give the model it belongs to (teacher.model), or "
            "in Python build it yourself and call limbeck.models.load_weights."
        )
    model = build()
    net = model.net if isinstance(model, Normalized) else model
    inner = [(net.net, net)] if isinstance(net, (TorchvisionModel, TimmModel)) else []
    for part, whole in [(model, model), (net, net), *inner]:
        named = match_names(part, weights)
        if named is not None:
            _fill(part, named, file)
            return whole
    raise TeacherError(f"{file} does not fit the model {model_name(model)}: {difference(net, weights)}.")


def _read_description(file: Path) -> dict[str, Any]:
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UntrustedFileError(f"{file} is damaged: {error}.") from None
    if not isinstance(description, dict) or description.get("format") != 1:
        raise UntrustedFileError(f"{file} is not a model description of format 1.")
    class_names = description.get("class_names", [])
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise UntrustedFileError(f"{file}: class_names should be a list of names, found {class_names!r}.")
    return description


def _rebuild(description: dict[str, Any], file: Path, weights: dict[str, Tensor]) -> nn.Module:
    """The model of a description, without memory for its weights where that is possible, so that sizes can be checked
    before they are believed.
    """
    name = description["builder"]
    builder = BUILDERS.get(name) if isinstance(name, str) else None
    if builder is None:
        raise UntrustedFileError(f"{file}: builder {name!r} is none of {', '.join(BUILDERS)}.")
    try:
        inner = description["arguments"]["encoder"] if builder is Graded else description
        if inner is not description and inner["builder"] == "graded":
            raise ValueError("grades of grades")  # what is inside would not be checked
        outside = inner["builder"] in FROM_LIBRARIES
        if outside:
            _check_sizes(inner["arguments"], weights)
        with torch.random.fork_rng(devices=[]), nullcontext() if outside else torch.device("meta"):
            model = builder(**description["arguments"])
            normalize = description.get("normalize")
            return model if normalize is None else Normalized(model, normalize["mean"], normalize["std"])
    except (LimbeckError, TypeError, ValueError, LookupError, ArithmeticError, RuntimeError, AttributeError) as error:
        raise UntrustedFileError(f"{file}: the model cannot be built from it ({error}).") from None


def _check_sizes(arguments: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuse sizes that the weights do not have, as memory is taken for them."""
    channels, *sides = arguments["shape"]
    sizes = {size for tensor in weights.values() for size in tensor.shape}
    for size in (arguments["classes"], channels):
        if type(size) is not int or size not in sizes:
            raise ValueError(f"no weight has the size {size!r}")
    if any(type(side) is not int or not 1 <= side <= LARGEST_SIDE for side in sides):
        raise ValueError(f"images of {sides} pixels")
    if arguments.get("pretrained"):
        raise ValueError("its weights are its own, not pretrained ones")
