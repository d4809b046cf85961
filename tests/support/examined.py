"""Data of prototypes and noise, and linear teachers fitted to data in closed form."""

import numpy as np
import torch
from torch import nn

from limbeck.data import Dataset


def prototypes(classes, *, val=400, noise=0.25, seed=0, names=None, channels=1, side=8):
    """Images of random prototypes of different brightness, with noise; as many of each class."""
    draw = np.random.default_rng(seed)
    brightness = np.linspace(0.4, 1, classes).reshape(-1, 1, 1, 1)
    centers = brightness * draw.random((classes, channels, side, side))
    count = 3 * val

    def split(size):
        labels = np.arange(size) % classes
        images = centers[labels] + noise * draw.standard_normal((size, channels, side, side))
        return (255 * images.clip(0, 1)).astype(np.uint8), labels

    x, y = split(count)
    x_test, y_test = split(100)
    return Dataset.from_arrays(x, y, x_test, y_test, class_names=names, val=val, name="prototypes")


def linear_teacher(data, *, columns=None, outputs=None, mean=0.0, std=1.0, scale=10.0):
    """A linear classifier, fitted by least squares on the training split.

    Args:
        data: Dataset.
        columns: Output of each class; None for the order of the data.
        outputs: Number of outputs; None for that of the classes.
        mean: Mean that the inputs were normalised with.
        std: Standard deviation that the inputs were normalised with.
        scale: Scale of the logits.
    """
    columns = np.arange(data.classes) if columns is None else np.asarray(columns)
    outputs = outputs or data.classes
    x = ((data.train.inputs.double() / 255 - mean) / std).flatten(1)
    features = torch.cat([x, torch.ones(len(x), 1)], 1)
    labels = torch.from_numpy(columns)[data.train.labels]
    targets = scale * nn.functional.one_hot(labels, outputs).double()
    gram = features.T @ features + 1e-3 * torch.eye(features.shape[1])
    weights = torch.linalg.solve(gram, features.T @ targets)
    layer = nn.Linear(x.shape[1], outputs)
    with torch.no_grad():
        layer.weight.copy_(weights[:-1].T)
        layer.bias.copy_(weights[-1])
    return nn.Sequential(nn.Flatten(), layer)


def levels(findings):
    return [finding.level for finding in findings]
