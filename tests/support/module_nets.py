"""Small networks and their data for tests of the LightningModule."""

import torch
from torch import nn

CLASSES = 3


def net(seed, hidden=8):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))


def teacher_net():
    torch.manual_seed(50)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


def samples(count, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, 2, 2, generator=draw)
    return x, (x.flatten(1) @ torch.randn(12, CLASSES, generator=draw)).argmax(1)


def sgd(lr=0.1):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def batches(data, size, epochs=1):
    x, y = data.tensors
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)] * epochs
