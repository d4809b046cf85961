"""Builders of the models that limbeck can rebuild from ``model.json``."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Builder:
    """A model class that can be rebuilt from its arguments.

    Attributes:
        name: Name in ``model.json``.
        path: Dotted path of the class, whose instances have their arguments in ``arguments``.
        from_library: Whether the network comes from another library. It may have tensors that are
            not in the file, and may allocate memory when it is built.
        reads_tokens: Whether inputs are token ids.
        inner: Name of the argument that describes a network inside; None for other models.
        has_own_files: Whether it is saved in the format of another library.
    """

    name: str
    path: str
    from_library: bool = False
    reads_tokens: bool = False
    inner: str | None = None
    has_own_files: bool = False

    @property
    def class_name(self) -> str:
        """Name of the class."""
        return self.path.rpartition(".")[2]

    def __call__(self, **arguments: Any) -> nn.Module:
        """Build the model."""
        module = import_module(self.path.rpartition(".")[0])
        return getattr(module, self.class_name)(**arguments)


_ENTRIES = (
    Builder("mlp", "limbeck.models.mlp.MLP"),
    Builder("convnet", "limbeck.models.convnet.ConvNet"),
    Builder("torchvision", "limbeck.models.zoo.TorchvisionModel", from_library=True),
    Builder("timm", "limbeck.models.zoo.TimmModel", from_library=True),
    Builder("classifier", "limbeck.models.classifier.Classifier", from_library=True),
    Builder("graded", "limbeck.models.graded.Graded", inner="encoder"),
    Builder("regressor", "limbeck.models.regressor.Regressor", inner="net"),
    Builder("bag", "limbeck.models.bag.BagOfEmbeddings", reads_tokens=True),
    Builder("text_cnn", "limbeck.models.text_cnn.TextCNN", reads_tokens=True),
    Builder("encoder", "limbeck.models.text_encoder.TextEncoder", reads_tokens=True),
    Builder("gpt", "limbeck.models.gpt.GPT", reads_tokens=True),
    Builder(
        "huggingface",
        "limbeck.models.huggingface.model.HuggingFace",
        reads_tokens=True,
        has_own_files=True,
    ),
    Builder(
        "sentence_encoder",
        "limbeck.models.huggingface.sentence_encoder.SentenceEncoder",
        reads_tokens=True,
    ),
    Builder(
        "huggingface_classifier",
        "limbeck.models.huggingface.classifier.HuggingFaceClassifier",
        reads_tokens=True,
        has_own_files=True,
    ),
)

BUILDERS: dict[str, Builder] = {builder.name: builder for builder in _ENTRIES}
"""Every builder by its name."""


def class_path(model: nn.Module) -> str:
    """Return the dotted path of a model's class."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def describe_network(model: nn.Module) -> dict[str, Any] | None:
    """Return the ``builder`` and ``arguments`` of a model without its normalisation.

    Returns:
        Both as a dictionary; None for a user's own class, or a model that contains one.
    """
    arguments = getattr(model, "arguments", None)
    if arguments is None:
        return None
    path = class_path(model)
    for builder in BUILDERS.values():
        if builder.path == path:
            return {"builder": builder.name, "arguments": dict(arguments)}
    return None
