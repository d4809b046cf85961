"""Models and their files."""

from limbeck.models.checkpoint import (
    LoadedModel,
    Normalized,
    count_parameters,
    load_model,
    load_weights,
    model_name,
    save_model,
)
from limbeck.models.classifier import Classifier
from limbeck.models.convnet import ConvNet
from limbeck.models.graded import Graded
from limbeck.models.mlp import MLP
from limbeck.models.zoo import TimmModel, TorchvisionModel

__all__ = [
    "MLP",
    "Classifier",
    "ConvNet",
    "Graded",
    "LoadedModel",
    "Normalized",
    "TimmModel",
    "TorchvisionModel",
    "count_parameters",
    "load_model",
    "load_weights",
    "model_name",
    "save_model",
]
