"""What models do to the inputs of a dataset first: said, set, and part of the model."""

import numpy as np
import pytest
import torch
from support.image_files import read_csv, write_csv
from support.regressions import dataset as table_of_values
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset, table
from limbeck.models.normalizations import IMAGENET
from limbeck.study.arms import build

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (30, 4, 4), np.uint8)
COLOURS = RNG.integers(0, 256, (30, 3, 4, 4), np.uint8)
FEATURES = RNG.normal(5, 3, (30, 2)).astype("float32")
Y = np.arange(30) % 2


def data_of(x, **settings):
    return Dataset.from_arrays(x[:20], Y[:20], x[20:], Y[20:], val=5, **settings)


class Inputs(nn.Module):
    """A network that returns its inputs."""

    def __init__(self, **_):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x.flatten(1)


def seen_by_a_network(data):
    """Training inputs as a student's network gets them."""
    x = data.train.inputs
    return build(Inputs, data, 0)(x.float() / 255 if x.dtype == torch.uint8 else x).detach()


def plain(data):
    x = data.train.inputs.double()
    return x / 255 if data.train.inputs.dtype == torch.uint8 else x


@pytest.mark.parametrize(
    ("x", "normalize", "mean", "std"),
    [
        (GREY, "none", [0.0], [1.0]),
        (GREY, False, [0.0], [1.0]),
        (GREY, "symmetric", [0.5], [0.5]),
        (GREY, (0.2, 0.4), [0.2], [0.4]),
        (GREY, {"mean": [0.2], "std": [0.4]}, [0.2], [0.4]),
        (COLOURS, "imagenet", *IMAGENET),
        (COLOURS, (0.5, 0.25), [0.5] * 3, [0.25] * 3),
        (COLOURS, ([0.1, 0.2, 0.3], [1, 2, 3]), [0.1, 0.2, 0.3], [1, 2, 3]),
        (FEATURES, "none", [0.0], [1.0]),
        (FEATURES, ([5, 6], [3, 2]), [5, 6], [3, 2]),
    ],
)
def test_models_begin_with_the_normalisation_of_the_user(x, normalize, mean, std):
    data = data_of(x, normalize=normalize)
    inputs = plain(data)
    shape = [-1, *[1] * (inputs.ndim - 2)]
    mean, std = (torch.tensor(v).double().view(shape) for v in (mean, std))
    expected = ((inputs - mean) / std).flatten(1)
    torch.testing.assert_close(seen_by_a_network(data).double(), expected, rtol=1e-5, atol=1e-6)
    assert ("not normalised" in data.describe_normalization()) == (normalize in ("none", False))
    assert data.head(4).normalize == data.normalize


@pytest.mark.parametrize("normalize", [None, "data", True])
def test_by_default_inputs_are_standardised_by_the_training_split(normalize):
    data = data_of(GREY, normalize=normalize)
    assert data.normalization == data.statistics == data_of(GREY).normalization
    values = seen_by_a_network(data).double()
    torch.testing.assert_close(
        values.mean(), torch.zeros((), dtype=torch.float64), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(values.std(), torch.ones((), dtype=torch.float64), atol=1e-5, rtol=0)
    assert f"standard deviation {data.statistics[1][0]:.3g} of" in data.describe_normalization()
    assert data.describe_normalization().endswith("of the training split")


@pytest.mark.parametrize(
    ("normalize", "message"),
    [
        ("imgenet", r"data\.normalize='imgenet' is unknown; choose one of none, symmetric"),
        ((0.5, 0), r"std above 0"),
        ((0.5, "a"), r"data\.normalize\.std='a' should be a number"),
        (([0.5, 0.5], 1), r"is for 2 channels, but the inputs have 1"),
        (3, r"data\.normalize=3 is unknown"),
        ((1, 2, 3), r"is unknown"),
    ],
)
def test_other_values_are_refused(normalize, message):
    images = GREY[:, None]
    with pytest.raises(ConfigError, match=message):
        data_of(images, normalize=normalize)


def test_tables_and_texts_have_their_own_rule(tmp_path):
    rows = ["a,b", *(f"{1.5 * n},{'xy'[n % 2]}" for n in range(60))]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    data = table(tmp_path / "a.csv", label="b")
    assert data.describe_normalization().startswith("numbers standardised")
    with pytest.raises(ConfigError, match=r"is for images and arrays, but a is a table"):
        data.set_normalization("none")
    data.set_normalization(None)
    assert table_of_values().normalize == "data"


def test_image_files(tmp_path):
    root = write_csv(tmp_path / "in")
    data = read_csv(root, normalize="imagenet")
    assert data.normalization == IMAGENET
    assert data.describe_normalization() == (
        "normalised with mean 0.485, 0.456, 0.406 and standard deviation 0.229, 0.224, 0.225 of "
        "ImageNet"
    )
    with pytest.raises(ConfigError, match="is for 2 channels"):
        read_csv(root, normalize=([0.5, 0.5], 1))
