import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from limbeck._base.errors import ConfigError
from limbeck.data import NoViews, Shift
from limbeck.data.views.base import Views, replayable_integers

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
ANY_SEED = st.integers(-(1 << 63), (1 << 64) - 1)


def finalise(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def expected_integer(seed, epoch, index):
    z = GOLDEN
    for part in (seed, epoch, index):
        z = finalise(z + part + GOLDEN & MASK)
    return z & (MASK >> 1)


NONE = torch.zeros(0, dtype=torch.int64)  # an enumerable view needs no sample


def rolled(image, down, right):
    """Roll, then clear what came in over the rim."""
    moved = np.roll(image, (down, right), axis=(-2, -1))
    height, width = image.shape[-2:]
    rows, columns = np.arange(height) - down, np.arange(width) - right
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[
        None, :
    ]
    return np.where(inside, moved, 0).astype(image.dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(7, 5), (4, 9), (6, 6)])
def test_every_shift_is_a_roll_with_zeros(dtype, channels, size):
    shift = Shift(2)
    images = np.random.default_rng(0).integers(1, 255, (25, channels, *size)).astype(dtype)
    shown = shift.apply(torch.from_numpy(images), torch.arange(25), NONE)
    assert shown.dtype == torch.from_numpy(images).dtype
    for view in range(25):
        expected = rolled(images[view], view // 5 - 2, view % 5 - 2)
        np.testing.assert_array_equal(shown[view].numpy(), expected)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), pixels=st.integers(1, 6), height=st.integers(1, 6), width=st.integers(1, 6))
def test_any_shift_is_a_roll_with_zeros(data, pixels, height, width):
    shift, height, width = Shift(pixels), pixels + height, pixels + width
    views = data.draw(st.lists(st.integers(0, shift.count - 1), max_size=4))
    images = np.arange(1, 1 + len(views) * 2 * height * width, dtype=np.float32).reshape(
        -1, 2, height, width
    )
    shown = shift.apply(
        torch.from_numpy(images), torch.tensor(views, dtype=torch.int64), NONE
    ).numpy()
    side = 2 * pixels + 1
    for image, view, found in zip(images, views, shown, strict=True):
        down, right = view // side - pixels, view % side - pixels
        np.testing.assert_array_equal(found, rolled(image, down, right))


def test_one_image_shows_all_its_views():
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    down, right = Shift(1).apply(image.expand(2, 1, 3, 3), torch.tensor([7, 5]), NONE)
    assert down[0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert right[0].tolist() == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]


@settings(max_examples=200, deadline=None)
@given(seed=ANY_SEED, epoch=ANY_SEED, index=st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_equal_splitmix64(seed, epoch, index):
    assert replayable_integers(seed, epoch, torch.tensor(index)).item() == expected_integer(
        seed, epoch, index
    )


def test_the_finaliser_gives_the_published_sequence():
    """SplitMix64 from state 1234567: the finaliser of the state plus multiples of the golden ratio."""
    found = [finalise(1234567 + (step + 1) * GOLDEN & MASK) for step in range(3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(max_examples=50, deadline=None)
@given(seed=ANY_SEED, epoch=st.integers(0, 1 << 40), data=st.data())
def test_a_draw_does_not_depend_on_the_batch(seed, epoch, data):
    samples = data.draw(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=30))
    shift, index = Shift(2), torch.tensor(samples)
    whole = shift.draw(seed, epoch, index)
    cut = data.draw(st.integers(0, len(samples)))
    parts = [shift.draw(seed, epoch, part) for part in (index[:cut], index[cut:])]
    order = torch.tensor(data.draw(st.permutations(range(len(samples)))))
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(shift.draw(seed, epoch, index[order]), whole[order])
    assert torch.equal(shift.draw(seed, epoch, index[None, :, None]), whole[None, :, None])
    assert whole.tolist() == [expected_integer(seed, epoch, sample) % 25 for sample in samples]


def chi_square(counts):
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum()


# The seeds are fixed, so these tests do not flicker; of generators that are truly uniform one in
# 10^6 would fail each.
FALSE_ALARM = 1e-6


@pytest.mark.parametrize("views", [Shift(1), Shift(2), Shift(3)], ids=lambda v: v.name)
@pytest.mark.parametrize("axis", ["sample", "epoch", "seed"])
def test_views_are_uniform(views, axis):
    if axis == "sample":
        drawn = views.draw(3, 7, torch.arange(50_000))
    elif axis == "epoch":
        drawn = torch.cat([views.draw(3, epoch, torch.arange(100, 120)) for epoch in range(2500)])
    else:
        drawn = torch.cat(
            [views.draw(seed, 7, torch.arange(100, 120)) for seed in range(-1250, 1250)]
        )
    counts = np.bincount(drawn.numpy(), minlength=views.count)
    assert len(counts) == views.count
    assert chi_square(counts) < chi2.isf(FALSE_ALARM, views.count - 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 0, 0), (0, 1, 0)),
        ((0, 0, 0), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 1)),
        ((0, 1, 0), (1, 0, 0)),
    ],
    ids=["epochs", "seeds", "neighbours", "seed and epoch swapped"],
)
def test_draws_that_differ_in_one_part_are_independent(one, other):
    shift, index = Shift(2), torch.arange(60_000)
    (seed_a, epoch_a, offset_a), (seed_b, epoch_b, offset_b) = one, other
    pairs = shift.draw(seed_a, epoch_a, index + offset_a) * 25 + shift.draw(
        seed_b, epoch_b, index + offset_b
    )
    counts = np.bincount(pairs.numpy(), minlength=625)
    assert chi_square(counts) < chi2.isf(FALSE_ALARM, 624)


def test_views_are_equal_by_their_settings():
    assert Shift(2) == Shift(2)
    assert hash(Shift(2)) == hash(Shift(2))
    assert NoViews() == NoViews()
    assert len({Shift(1), Shift(2), Shift(2), NoViews(), NoViews()}) == 3
    assert Shift(1) != Shift(2)
    assert Shift(2) != NoViews()
    assert Shift(2) != "shifts of 2"

    class OtherShift(Shift):
        pass

    assert OtherShift(2) != Shift(2)


def test_names_and_counts():
    assert (NoViews().count, NoViews().plain, NoViews().name) == (1, 0, "none")
    assert (Shift().count, Shift().plain, Shift().name) == (25, 12, "shifts of 2")
    assert isinstance(Shift(), Views)


@pytest.mark.parametrize("pixels", [0, -1, 65, 1.5, 2.0, True, "2", None])
def test_bad_pixels(pixels):
    with pytest.raises(ConfigError, match=r"views\.pixels=.*from 1 to 64"):
        Shift(pixels)
