"""Folding of normalisations, scales and encoders into dense layers, against PyTorch."""

import numpy as np
import pytest
import torch
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.data.dataset import as_float
from limbeck.deploy.c_code.dense import dense_network
from limbeck.models import MLP, ConvNet
from limbeck.models.graded import Graded
from limbeck.models.normalized import Normalized
from limbeck.models.regressor import Regressor
from limbeck.models.table import TableEncoder, TableModel

PIXELS = torch.randint(0, 256, (20, 3, 4, 5), dtype=torch.uint8)
NUMBERS = torch.randn(20, 6)


def rows():
    """Rows of a table: a number, a category of three, and a number that may be missing."""
    table = torch.randn(20, 3)
    table[:, 1] = torch.randint(0, 3, (20,)).float()
    table[::4, 2] = torch.nan
    table[1, 1] = torch.nan
    return table


def encoder():
    return TableEncoder([0, 3, 0], [1.0, 0.0, -2.0], [2.0, 1.0, 0.5], [False, True, True])


MODELS = {
    "pixels": (PIXELS, lambda: MLP((3, 4, 5), 4, hidden=[7, 6])),
    "normalised pixels": (
        PIXELS,
        lambda: Normalized(MLP((3, 4, 5), 4, hidden=[7]), [0.1, 0.5, 0.2], [0.3, 0.2, 2.0]),
    ),
    "one mean": (NUMBERS, lambda: Normalized(MLP((6,), 2, hidden=[5]), [0.3], [4.0])),
    "dropout": (NUMBERS, lambda: MLP((6,), 2, hidden=[5], dropout=0.5, input_dropout=0.1)),
    "no hidden layer": (NUMBERS, lambda: MLP((6,), 3, hidden=[])),
    "regression": (
        NUMBERS,
        lambda: Regressor(Normalized(MLP((6,), 2, hidden=[5]), [1.0], [2.0]), [3, -1], [10, 0.1]),
    ),
    "grades": (NUMBERS, lambda: Graded(MLP((6,), 1, hidden=[5]), 4)),
    "table": (rows(), lambda: TableModel(MLP((7,), 2, hidden=[5]), encoder())),
    "ReLU first": (NUMBERS, lambda: nn.Sequential(nn.ReLU(), nn.Linear(6, 2, bias=False))),
    "ReLU last": (
        NUMBERS,
        lambda: Regressor(nn.Sequential(nn.Linear(6, 2), nn.ReLU()), [1.0, 2.0], [3.0, 4.0]),
    ),
    "two linear layers": (NUMBERS, lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))),
}


@pytest.mark.parametrize("name", MODELS)
def test_dense_layers_have_the_outputs_of_the_model(name):
    torch.manual_seed(0)
    inputs, build = MODELS[name]
    model = build().eval()
    with torch.no_grad():
        expected = model(as_float(inputs)).numpy()

    outputs = dense_network(model, inputs.numpy())(inputs.numpy())

    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", MODELS)
def test_weights_in_8_bits_are_rounded_to_the_nearest_level(name):
    torch.manual_seed(0)
    inputs, build = MODELS[name]
    network = dense_network(build().eval(), inputs.numpy())

    for layer, small in zip(network.layers, network.in_8_bits().layers, strict=True):
        restored = small.weight * small.scale[:, None]
        assert small.weight.dtype == np.int8
        assert (np.abs(restored - layer.weight) <= 0.5001 * small.scale[:, None]).all()
        largest = np.abs(layer.weight).max(1)
        np.testing.assert_allclose(np.abs(restored).max(1), largest, rtol=1e-6)


def test_an_output_without_weights_stays_0_in_8_bits():
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    network = dense_network(nn.Sequential(layer), np.zeros((1, 3), np.float32)).in_8_bits()
    np.testing.assert_array_equal(
        network(np.ones((1, 3), np.float32))[0], layer.bias.detach().numpy()
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ConvNet((1, 8, 8), 3, channels=[4], strides=[2]), "format=c writes networks of dense"),
        (nn.Sequential(nn.Linear(64, 3), nn.Tanh()), "the student has Tanh"),
        (nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Flatten()), None),
        (nn.Sequential(nn.Flatten()), "at least one linear layer"),
        (Normalized(MLP((1, 8, 8), 3), [0.0], [1.0], size=8), "format=c writes networks of dense"),
    ],
)
def test_other_models_are_refused(model, message):
    example = np.zeros((1, 1, 8, 8), np.uint8)
    if message is None:
        assert len(dense_network(model, example).layers) == 1
        return
    with pytest.raises(ConfigError, match=message):
        dense_network(model, example)
