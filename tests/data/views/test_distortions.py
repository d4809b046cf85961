"""Affine and elastic distortions against torchvision and SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates
from scipy.stats import kstest
from support.views import FALSE_ALARM
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from limbeck._base.errors import ConfigError
from limbeck.data import Affine, Elastic
from limbeck.data.views.distortions import ANGLES, SIDE


def smooth_images(count, channels, height, width, seed=0):
    """Random images whose neighbouring pixels differ little.

    So the last bits of a coordinate do not count.
    """
    noise = np.random.default_rng(seed).random((count, channels, height, width))
    return torch.from_numpy(gaussian_filter(noise, (0, 0, 1, 1))).float()


def draw(views, count, seed=0):
    sample = torch.arange(count)
    return views.draw(seed, 0, sample), sample


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (9, 14)])
@pytest.mark.parametrize(
    "settings",
    [{}, {"degrees": 180, "scale": 0.5, "shear": 40, "translate": 0.3}],
    ids=["default", "strong"],
)
def test_affine_equals_torchvision(size, settings):
    views, images = Affine(**settings), smooth_images(20, 2, *size)
    view, sample = draw(views, 20)
    results = views.apply(images, view, sample)
    cos, sin, tan, factor, right, down = views.parameters(view, sample)
    for n, image in enumerate(images):
        expected = affine(
            image,
            angle=float(torch.rad2deg(torch.atan2(sin[n], cos[n]))),
            scale=float(factor[n]),
            translate=[float(right[n] * size[1]), float(down[n] * size[0])],
            shear=[float(torch.rad2deg(tan[n].atan())), 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        np.testing.assert_allclose(results[n], expected, atol=3e-4)


def test_affine_equals_scipy():
    views, images = Affine(degrees=30, shear=20), smooth_images(20, 1, 21, 17)
    view, sample = draw(views, 20)
    results = views.apply(images, view, sample)
    cos, sin, tan, factor, right, down = (
        part.double().numpy() for part in views.parameters(view, sample)
    )
    middle = np.array([10.0, 8.0])
    for n in range(20):
        # Rows before columns: clockwise on the screen.
        rotation = np.array([[cos[n], sin[n]], [-sin[n], cos[n]]])
        slant = np.array([[1.0, 0.0], [-tan[n], 1.0]])
        back = np.linalg.inv(rotation @ slant * factor[n])
        moved = middle + np.array([down[n] * 21, right[n] * 17])
        expected = affine_transform(
            images[n, 0].double().numpy(),
            back,
            middle - back @ moved,
            order=1,
            mode="grid-constant",
        )
        np.testing.assert_allclose(results[n, 0], expected, atol=2e-5)


def test_parameters_are_uniform_and_independent():
    views = Affine(degrees=20, translate=0.2, scale=0.3, shear=10)
    cos, sin, tan, factor, right, down = views.parameters(*draw(views, 20_000))
    np.testing.assert_allclose(cos**2 + sin**2, 1, atol=1e-6)
    numbers = np.stack(
        [
            np.rad2deg(np.arctan2(sin, cos)) / 20,
            np.rad2deg(np.arctan(tan)) / 10,
            (factor - 1) / 0.3,
            right / 0.2,
            down / 0.2,
        ]
    )
    for number in numbers:
        # Angles come from a table, so they are spread over its steps.
        jitter = (np.random.default_rng(0).random(number.size) - 0.5) * 2 / ANGLES
        assert kstest(number + jitter, "uniform", args=(-1, 2)).pvalue > FALSE_ALARM
    correlations = np.corrcoef(numbers)[np.triu_indices(5, 1)] * numbers.shape[1] ** 0.5
    assert np.abs(correlations).max() < 6


def test_parameters_of_zero_do_nothing():
    images = smooth_images(5, 1, 8, 8)
    still = Affine(degrees=0, translate=0, scale=0, shear=0)
    torch.testing.assert_close(still.apply(images, *draw(still, 5)), images, rtol=0, atol=1e-5)
    for name, value in (("degrees", 20), ("translate", 0.1), ("scale", 0.2), ("shear", 10)):
        one = Affine(**{"degrees": 0, "translate": 0, "scale": 0, "shear": 0, name: value})
        assert not torch.allclose(one.apply(images, *draw(one, 5)), images, atol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (8, 8), (12, 31)])
@pytest.mark.parametrize(("alpha", "sigma"), [(34, 4), (8, 1), (200, 8)])
def test_elastic_equals_scipy(height, width, alpha, sigma):
    views, images = Elastic(alpha, sigma), smooth_images(4, 2, height, width)
    view, sample = draw(views, 4)
    noise = views._noise(height, width, view, sample).numpy() / 2**16
    size = min(height, width) / SIDE
    moved = (
        alpha
        * size**2
        * gaussian_filter(noise, (0, 0, sigma * size, sigma * size), mode="constant")
    )
    displacements = views.displacements(height, width, view, sample)
    np.testing.assert_allclose(displacements, moved, atol=2e-4 * np.abs(moved).max())
    rows, columns = np.mgrid[:height, :width]
    results = views.apply(images, view, sample)
    for n in range(4):
        for channel in range(2):
            expected = map_coordinates(
                images[n, channel].numpy(),
                [rows + moved[n, 1], columns + moved[n, 0]],
                order=1,
                mode="grid-constant",
            )
            np.testing.assert_allclose(results[n, channel], expected, atol=2e-3)


def test_elastic_noise_is_uniform_and_independent():
    noise = Elastic()._noise(8, 8, *draw(Elastic(), 2000)).numpy()
    assert (noise % 2 == 1).all()
    assert np.abs(noise).max() < 2**16
    assert kstest(noise.ravel() / 2**16, "uniform", args=(-1, 2)).pvalue > FALSE_ALARM
    places = np.corrcoef(noise.reshape(2000, -1).T)[np.triu_indices(128, 1)] * 2000**0.5
    assert np.abs(places).max() < 6
    fields = np.corrcoef(noise.reshape(2000, -1)[:200])[np.triu_indices(200, 1)] * 128**0.5
    assert np.abs(fields).max() < 6


def test_elastic_distorts_images_of_all_sizes_alike():
    """In the middle, displacements have the standard deviation of the paper: 1.38 of 29 pixels."""
    shares = []
    for side in (8, 28, 29, 64):
        moved = Elastic().displacements(side, side, *draw(Elastic(), 400))
        shares.append(float(moved[:, :, side // 2, side // 2].std()) / side)
    expected = 34 / 3**0.5 / (2 * np.pi**0.5 * 4) / 29
    np.testing.assert_allclose(shares, expected, rtol=0.1)


def test_elastic_sums_are_exact():
    """The largest possible sums stay below 2^53, so float64 rounds none of them."""
    views = Elastic(sigma=29)
    noise = torch.full((1, 2, 200, 200), 2.0**16 - 1, dtype=torch.float64)
    weights = views._gaussian(200, 10.0, noise)
    assert torch.equal(weights, weights.round())
    assert torch.equal(weights, weights.T)
    assert float(weights.sum(0).max()) == pytest.approx(2**18, rel=1e-3)
    assert float((weights @ (noise @ weights)).max()) < 2**53


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: Affine(degrees=v), "degrees"),
        (lambda v: Affine(translate=v), "translate"),
        (lambda v: Affine(scale=v), "scale"),
        (lambda v: Affine(shear=v), "shear"),
        (lambda v: Elastic(alpha=v), "alpha"),
        (lambda v: Elastic(sigma=v), "sigma"),
    ],
)
@pytest.mark.parametrize("value", [-1, 2000, float("nan"), float("inf"), True, "5", None])
def test_bad_strengths_are_named(make, name, value):
    with pytest.raises(ConfigError, match=rf"views\.{name}=.* should be a number from"):
        make(value)
