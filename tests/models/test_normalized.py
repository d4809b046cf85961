import numpy as np
import pytest
import torch
from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.models import MLP, Normalized, count_parameters, model_name


class Echo(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 2)])
def test_images_are_normalised_by_channel(shape):
    mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]
    x = np.random.default_rng(0).random((6, *shape), dtype=np.float32)
    by_channel = (1, 3, *[1] * (len(shape) - 1))
    expected = (x - np.reshape(mean, by_channel)) / np.reshape(std, by_channel)
    model = Normalized(Echo(), mean, std)
    np.testing.assert_allclose(model(torch.from_numpy(x)).numpy(), expected, rtol=1e-5)
    flat = model(torch.from_numpy(x.reshape(6, -1)))
    assert flat.shape == (6, int(np.prod(shape)))
    np.testing.assert_allclose(flat.numpy(), expected.reshape(6, -1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (20,), (4, 5)])
@pytest.mark.parametrize("scalar", [False, True])
def test_inputs_are_normalised_by_one_number(shape, scalar):
    model = Normalized(Echo(), 0.25 if scalar else [0.25], 0.5 if scalar else [0.5])
    x = torch.rand(6, *shape)
    assert torch.equal(model(x), (x - 0.25) / 0.5)


def test_features_are_normalised():
    x = torch.rand(5, 3)
    expected = (x - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([1.0, 2.0, 4.0])
    assert torch.equal(Normalized(Echo(), [1, 2, 3], [1, 2, 4])(x), expected)


def test_normalized_refuses_other_channels():
    model = Normalized(Echo(), [0.1, 0.2, 0.3], [1.0, 1.0, 1.0])
    for x in (torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, 4), torch.zeros(2, 16)):
        with pytest.raises(RuntimeError):
            model(x)


@pytest.mark.parametrize(("size", "expected"), [(6, (6, 6)), ([3, 8], (3, 8)), (4, (4, 4))])
def test_images_are_resized_first(size, expected):
    x = torch.rand(2, 3, 4, 4)
    result = Normalized(Echo(), [0.1, 0.2, 0.3], [1.0, 2.0, 4.0], size=size)(x)
    assert result.shape == (2, 3, *expected)
    constant = Normalized(Echo(), [0.5], [0.25], size=size)(torch.full((2, 3, 4, 4), 0.75))
    torch.testing.assert_close(constant, torch.ones(2, 3, *expected))


def test_an_image_is_averaged_when_it_shrinks():
    x = torch.rand(2, 1, 8, 8)
    x[:, :, ::2] = 0
    result = Normalized(Echo(), [0.0], [1.0], size=2)(x)
    assert result.mean() == pytest.approx(float(x.mean()), abs=0.05)


def test_grey_images_are_repeated_for_a_model_of_colours_of_another_size():
    x = torch.full((2, 1, 4, 4), 0.5)
    result = Normalized(Echo(), [0.1, 0.2, 0.3], [1.0, 1.0, 1.0], size=4)(x)
    torch.testing.assert_close(result[0, :, 0, 0], torch.tensor([0.4, 0.3, 0.2]))


@pytest.mark.parametrize("size", [0, -1, 4096, 2.5, True, "8", [8], [8, 8, 8], [8, 0], [8, "8"]])
def test_sizes_that_are_none(size):
    with pytest.raises(ConfigError, match="should be a side in pixels, or height and width"):
        Normalized(Echo(), [0.0], [1.0], size=size)


def test_a_model_may_say_how_many_parameters_it_has():
    model = nn.Linear(2, 2)
    model.parameter_count = 7
    assert count_parameters(Normalized(model, [0.0], [1.0])) == 7


def test_normalized_keeps_channels_last():
    x = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    result = Normalized(Echo(), [0.1, 0.2, 0.3], [1.0, 2.0, 3.0])(x)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_model_has_its_own_name_or_that_of_its_class():
    assert model_name(MLP((4,), 3, hidden=[5])) == "4-5-3"
    assert Normalized(MLP((4,), 3, hidden=[5]), [0.0], [1.0]).name == "4-5-3"
    assert model_name(nn.Linear(2, 2)) == "Linear"
    selected = nn.Linear(2, 2)
    selected.name = 7
    assert model_name(selected) == "Linear"


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert count_parameters(model) == 16 + 4 + 4
