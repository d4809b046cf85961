"""Models that one layer makes useless in 8 bits, and data that they classify without errors."""

import numpy as np
import torch

from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.models import MLP, ConvNet

HUGE = 3000.0
"""Activation that leaves no levels of 8 bits for the others of its layer."""
CLASS_NAMES = ["a", "b", "c"]


def sensitive_mlp(layer=5):
    """An MLP whose linear layer of this number gets one huge input, with weights of zero."""
    torch.manual_seed(0)
    model = MLP((20,), 3, hidden=[32, 32, 32]).eval()
    with torch.no_grad():
        model.layers[layer - 2].weight[0] = 0.0
        model.layers[layer - 2].bias[0] = HUGE
        model.layers[layer].weight[:, 0] = 0.0
    return model


def sensitive_convnet():
    """A convolutional network in which one channel between two convolutions is huge."""
    torch.manual_seed(0)
    model = ConvNet((1, 12, 12), 3, channels=[4, 16, 32], strides=[1, 2, 1]).eval()
    with torch.no_grad():
        model.features[1].bias[0] = HUGE
        model.features[3].weight[:, 0] = 0.0
    return model


def data_for(model, last_layer, samples):
    """Samples that a model classifies with a margin, as the samples of a dataset.

    The bias of its last layer is changed, so that no class is more frequent than the others.
    """
    inputs = torch.from_numpy(samples)
    with torch.no_grad():
        last_layer.bias -= model(as_float(inputs)).mean(0)
        logits = model(as_float(inputs))
    largest = logits.topk(2).values
    margin = largest[:, 0] - largest[:, 1]
    is_clear = margin > margin.median()
    x, y = samples[is_clear.numpy()], logits.argmax(1)[is_clear].numpy()
    half = len(x) // 2
    return Dataset.from_arrays(
        x[:half], y[:half], x[half:], y[half:], name="clear", class_names=CLASS_NAMES
    )


def mlp_and_data(layer=5):
    """The MLP, and its data."""
    model = sensitive_mlp(layer)
    samples = np.random.default_rng(0).normal(size=(4000, 20)).astype(np.float32)
    return model, data_for(model, model.layers[-1], samples)


def convnet_and_data():
    """The convolutional network, and its data."""
    model = sensitive_convnet()
    squares = np.random.default_rng(0).integers(0, 256, (4000, 1, 3, 3), dtype=np.uint8)
    samples = squares.repeat(4, 2).repeat(4, 3)
    return model, data_for(model, model.head[-1], samples)
