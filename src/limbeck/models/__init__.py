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
from limbeck.models.convnet import ConvNet
from limbeck.models.mlp import MLP

__all__ = [
    "MLP",
    "ConvNet",
    "LoadedModel",
    "Normalized",
    "count_parameters",
    "load_model",
    "load_weights",
    "model_name",
    "save_model",
]
