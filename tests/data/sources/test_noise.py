import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.sources.noise import SparseNoise, StrokeNoise, UniformNoise, smooth_field

SILENT = StageProgress(enabled=False)
KINDS = (UniformNoise, SparseNoise, StrokeNoise)


def images_of(source, shape=(1, 28, 28)):
    return source.make(shape=shape, classes=10, teacher=None, progress=SILENT)


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    samples=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(4, 40), st.integers(4, 40)),
)
def test_the_same_settings_give_the_same_bytes(kind, samples, seed, shape):
    images = images_of(kind(samples=samples, seed=seed), shape)
    assert images.dtype == torch.uint8
    assert images.shape == (samples, *shape)
    assert torch.equal(images, images_of(kind(samples=samples, seed=seed), shape))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_images_differ(kind):
    images = images_of(kind(samples=50))
    assert len(images.flatten(1).unique(dim=0)) == 50
    assert not torch.equal(images, images_of(kind(samples=50, seed=1)))


def test_uniform_pixels_are_uniform_and_independent():
    pixels = images_of(UniformNoise(samples=4000)).flatten(1).double() / 255
    assert abs(float(pixels.mean()) - 1 / 2) < 1e-3
    assert abs(float(pixels.var()) - 1 / 12) < 1e-3
    correlation = torch.corrcoef(pixels[:, :50].T) - torch.eye(50)
    assert float(correlation.abs().max()) < 5 / 4000**0.5


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_sparse_noise_has_every_density_up_to_the_largest(density):
    images = images_of(SparseNoise(samples=5000, density=density))
    assert set(images.unique().tolist()) == {0, 255}
    shares = (images > 0).float().mean((1, 2, 3)).sort().values
    expected = (torch.arange(5000) + 0.5) / 5000 * density
    assert float((shares - expected).abs().max()) < 0.05  # a count's own spread is up to 0.018


def test_sparse_pixels_are_independent_within_an_image():
    """Two pixels of an image of density p have the mean product p^2: 1/3 over p from 0 to 1."""
    on = images_of(SparseNoise(samples=5000, density=1.0)).flatten(1).double() / 255
    products = (on[:, :-1] * on[:, 1:]).mean()
    assert abs(float(products) - 1 / 3) < 0.02


def test_smooth_noise_has_the_autocorrelation_of_a_blur():
    """White noise blurred by a Gaussian has the autocorrelation exp(-d^2 / (4 sigma^2))."""
    field = smooth_field(
        (600, 1, 40, 40), torch.full((1, 1, 1, 1), 2.0), torch.Generator().manual_seed(0)
    )
    assert torch.allclose(field.square().mean((1, 2, 3)), torch.ones(600), atol=1e-4)
    for distance in (1, 2, 4):
        correlation = float((field[..., distance:] * field[..., :-distance]).mean())
        assert abs(correlation - 2.718281828 ** (-(distance**2) / 16)) < 0.03


def test_strokes_are_thin_lines_about_the_middle():
    images = images_of(StrokeNoise(samples=600)).float() / 255
    border = torch.cat([images[..., :2, :].flatten(1), images[..., -2:, :].flatten(1)], 1)
    assert float(border.mean()) < 0.02 < 0.1 < float(images[..., 8:20, 8:20].mean())
    assert 0.03 < float(images.mean()) < 0.2
    neighbours = torch.corrcoef(
        torch.stack([images[..., 1:].flatten(), images[..., :-1].flatten()])
    )[0, 1]
    assert float(neighbours) > 0.6


def test_strokes_scale_with_the_image():
    shares = [
        float(images_of(StrokeNoise(samples=200), (1, side, side)).float().mean()) / 255
        for side in (14, 28, 56)
    ]
    assert max(shares) - min(shares) < 0.03


def test_a_quick_run_has_fewer_images():
    assert SparseNoise(samples=9, density=0.3).small(4) == SparseNoise(samples=4, density=0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: UniformNoise(samples=0),
            "transfer.source.samples=0 should be a whole number of at least 1",
        ),
        (lambda: SparseNoise(seed=-1), "transfer.source.seed=-1"),
        (
            lambda: SparseNoise(density=0.0),
            "transfer.source.density=0.0 should be above 0 and at most 1",
        ),
        (lambda: SparseNoise(density=1.5), "transfer.source.density=1.5"),
        (
            lambda: images_of(StrokeNoise(samples=2), (64,)),
            "stroke noise needs images .* of shape \\[64\\]",
        ),
        (lambda: images_of(StrokeNoise(samples=2), (1, 3, 28)), "4 x 4 pixels or more"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
