"""Normalisations by name, and by mean and standard deviation."""

import pytest
from torchvision.models import ResNet18_Weights

from limbeck._base.errors import ConfigError
from limbeck.models import MLP, Normalized
from limbeck.models.normalizations import check_normalization, statistics_for, statistics_of

DATA = ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_imagenet_has_the_values_of_torchvision():
    transform = ResNet18_Weights.DEFAULT.transforms()
    assert statistics_of("imagenet", 3, DATA) == (transform.mean, transform.std)


@pytest.mark.parametrize(
    ("normalization", "channels", "expected"),
    [
        ("none", 3, ([0.0], [1.0])),
        ("symmetric", 1, ([0.5], [0.5])),
        ("imagenet", 1, ([0.449], [0.226])),
        ("data", 3, DATA),
        ({"mean": 0.1, "std": [0.3]}, 3, ([0.1], [0.3])),
        ({"mean": [0.1, 0.2, 0.3], "std": 2}, 3, ([0.1, 0.2, 0.3], [2.0, 2.0, 2.0])),
        ({"mean": 7, "std": 2}, 1, ([7.0], [2.0])),
    ],
)
def test_normalizations(normalization, channels, expected):
    assert statistics_of(normalization, channels, DATA) == expected


@pytest.mark.parametrize(
    "normalization",
    [
        "imgnet",
        3,
        {},
        {"mean": 0.5},
        {"mean": [], "std": []},
        {"mean": "0.5", "std": 1},
        {"mean": 0.5, "std": 0},
        {"mean": 0.5, "std": float("nan")},
        {"mean": [1, 2, 3], "std": [1, 2]},
        {"mean": 0.5, "std": 1, "size": 3},
        {"mean": True, "std": 1},
    ],
)
def test_what_is_no_normalization(normalization):
    with pytest.raises(ConfigError, match=r"teacher\.normalization"):
        check_normalization(normalization)


@pytest.mark.parametrize("normalization", ["imagenet", {"mean": [1, 2, 3], "std": 1}])
def test_the_number_of_channels_has_to_fit(normalization):
    with pytest.raises(ConfigError, match="is for 3 channels, but the inputs have 4"):
        statistics_of(normalization, 4, DATA)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("imagenet", ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])),
        ("symmetric", ([0.5] * 3, [0.5] * 3)),
        ("data", ([0.1] * 3, [0.4] * 3)),
    ],
)
def test_a_model_of_colours_for_grey_images_keeps_its_channels(normalization, expected):
    model = Normalized(MLP((3, 8, 8), 2), [0.1, 0.2, 0.3], [1.0, 1.0, 1.0])
    assert statistics_for(model, normalization, (1, 8, 8), ([0.1], [0.4])) == expected
    grey = MLP((1, 8, 8), 2)
    assert len(statistics_for(grey, normalization, (1, 8, 8), ([0.1], [0.4]))[0]) == 1
