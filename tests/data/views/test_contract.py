"""What every family of views promises, whatever it shows."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from limbeck._base.errors import ConfigError
from limbeck.data import Affine, Chain, Choice, Crop, Elastic, Flip, Mixup, NoViews, Shift
from limbeck.data.dataset import as_float
from limbeck.data.views.base import ENDLESS, Views, replayable_bits, replayable_integers

FAMILIES = [
    NoViews(),
    Flip(),
    Shift(1),
    Crop(2),
    Crop(4, "reflect"),
    Crop(3, "edge"),
    Affine(),
    Elastic(),
    Elastic().limited(16),
    Chain([Flip(), Crop(2)]),
    Chain([Affine(), Elastic()]),
    Chain([Shift(1), Affine()]),
    Chain([Elastic().limited(4), Flip()]),
    Chain([Affine(), Elastic()]).limited(16),
    Choice([Shift(1), Chain([Affine(), Elastic()])]),
    Choice([Flip(), Crop(2)]).limited(8),
    Mixup(),
    Mixup(0.4, Chain([Affine(), Flip()])),
    Mixup(1.0, Shift(2)).limited(8),
]
OTHERS = [
    Crop(3),
    Crop(2, "reflect"),
    Shift(2),
    Affine(degrees=5),
    Affine(scale=0.2),
    Affine().limited(16),
    Elastic(alpha=20),
    Elastic(sigma=5),
    Chain([Crop(2), Flip()]),
    Chain([Elastic(), Affine()]),
    Chain([Affine(), Elastic(sigma=5)]),
    Choice([Shift(2), Chain([Affine(), Elastic()])]),
    Choice([Crop(2), Flip()]),
    Mixup(0.3),
    Mixup(0.2, Flip()),
    Mixup(0.4, Chain([Affine(), Shift(1)])),
]
SAMPLES = 40
IMAGES = torch.randint(
    0, 256, (SAMPLES, 3, 9, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
POOL = torch.arange(0, SAMPLES, 3)


@pytest.fixture(params=FAMILIES, ids=lambda v: f"{v.name}, {v.count}")
def views(request):
    return request.param


@pytest.fixture(params=[torch.uint8, torch.float32, torch.float64], ids=str)
def images(request):
    return IMAGES if request.param == torch.uint8 else IMAGES.to(request.param) / 255


def test_the_plain_view_leaves_an_input_as_it_is(views, images):
    sample, before = torch.arange(SAMPLES), images.clone()
    plain = torch.full((SAMPLES,), views.plain)
    assert 0 <= views.plain < views.count
    for shown in (views.show(images, sample, plain, POOL), views.apply(images, plain, sample)):
        assert torch.equal(
            shown if shown.dtype == images.dtype else shown * 255, images.to(shown.dtype)
        )
    views.show(images, sample, views.draw(0, 0, sample), POOL)
    assert torch.equal(images, before), "the inputs themselves must stay as they are"


def test_shapes_and_dtypes(views, images):
    sample = torch.tensor([3, 39, 3])
    shown = views.show(images, sample, views.draw(0, 0, sample), POOL)
    assert shown.shape == (3, 3, 9, 11)
    assert shown.dtype == images.dtype or (
        images.dtype == torch.uint8 and shown.dtype == torch.float32
    )
    shown = as_float(shown)
    assert shown.min() >= 0
    assert shown.max() <= 1 + 1e-6
    empty = torch.zeros(0, dtype=torch.int64)
    assert views.show(images, empty, empty, POOL).shape == (0, 3, 9, 11)


def test_views_that_only_move_pixels_keep_bytes():
    sample = torch.arange(SAMPLES)
    for views in (NoViews(), Flip(), Shift(2), Crop(4, "reflect"), Chain([Flip(), Crop(2)])):
        assert views.show(IMAGES, sample, views.draw(0, 0, sample), POOL).dtype == torch.uint8


@settings(max_examples=25, deadline=None)
@given(data=st.data(), which=st.sampled_from(FAMILIES))
def test_a_view_is_bit_for_bit_the_same_in_any_batch(data, which):
    """As in a run of other seeds, another order or another batch size."""
    images = data.draw(st.sampled_from([IMAGES, IMAGES.float() / 255]))
    sample = torch.tensor(
        data.draw(st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=200))
    )
    view = which.draw(data.draw(st.integers(0, 99)), data.draw(st.integers(0, 99)), sample)
    whole = which.show(images, sample, view, POOL)
    order = torch.tensor(data.draw(st.permutations(range(len(sample)))))
    assert torch.equal(which.show(images, sample[order], view[order], POOL), whole[order])
    cut = data.draw(st.integers(0, len(sample)))
    parts = [
        which.show(images, sample[part], view[part], POOL)
        for part in (slice(cut), slice(cut, None))
    ]
    assert torch.equal(torch.cat(parts), whole)
    one = data.draw(st.integers(0, len(sample) - 1))
    alone = copy.deepcopy(which).show(images, sample[one : one + 1], view[one : one + 1], POOL)
    assert torch.equal(alone[0], whole[one])
    strided = images.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(which.show(strided, sample, view, POOL), whole)


def test_a_view_does_not_depend_on_the_number_of_threads(views):
    sample = torch.arange(SAMPLES).repeat(10)
    view = views.draw(0, 0, torch.arange(len(sample)))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(views.show(IMAGES, sample, view, POOL))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_shows_the_same(views):
    sample = torch.arange(SAMPLES)
    view = views.draw(0, 0, sample)
    expected = views.show(IMAGES, sample, view, POOL)
    found = views.show(*(part.cuda() for part in (IMAGES, sample, view, POOL)))
    assert torch.equal(views.draw(0, 0, sample.cuda()).cpu(), view)
    torch.testing.assert_close(
        found.cpu(), expected, rtol=0, atol=0 if found.dtype == torch.uint8 else 1e-5
    )


def test_samples_and_views_differ():
    image = torch.rand(1, 1, 16, 16).expand(30, 1, 16, 16)
    for views in (Affine(), Elastic(), Chain([Affine(), Elastic()])):
        by_sample = views.apply(image, torch.full((30,), 7), torch.arange(30))
        by_view = views.apply(image, torch.arange(1, 31), torch.full((30,), 7))
        for shown in (by_sample, by_view):
            assert len({tuple(one.flatten().tolist()) for one in shown}) == 30


def test_only_endless_families_can_be_limited():
    for views in (NoViews(), Flip(), Shift(2), Chain([Flip(), Shift(1)])):
        assert views.limited(3) is views
    for views in (Affine(), Elastic(), Chain([Flip(), Affine()]), Mixup()):
        assert views.count == ENDLESS
        limited = views.limited(16)
        assert (limited.count, limited.plain, limited.name) == (16, 0, views.name)
        assert limited.limited(9) is limited
        assert views.count == ENDLESS
        assert limited != views
        assert limited == views.limited(16)
        sample, view = torch.arange(16), torch.arange(16)
        assert torch.equal(
            limited.show(IMAGES, sample, view, POOL), views.show(IMAGES, sample, view, POOL)
        )
        assert set(limited.draw(0, 0, torch.arange(2000)).tolist()) == set(range(16))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, ENDLESS])
def test_bad_limits(bad):
    with pytest.raises(ConfigError, match="whole number"):
        Affine().limited(bad)


def test_settings_tell_families_apart():
    every = FAMILIES + OTHERS
    texts = [json.dumps(views.settings(), sort_keys=True) for views in every]
    assert len(set(texts)) == len(set(every)) == len(every)
    for views, text in zip(every, texts, strict=True):
        views.show(IMAGES, torch.arange(2), views.draw(0, 0, torch.arange(2)), POOL)
        for again in (copy.deepcopy(views), pickle.loads(pickle.dumps(views))):
            assert again == views
            assert hash(again) == hash(views)
            assert json.dumps(again.settings(), sort_keys=True) == text, (
                "using views does not change their settings"
            )
        assert views != text


def test_equal_views_have_equal_hashes_whatever_their_numbers_are_written_as():
    for one, other in (
        (Affine(10), Affine(10.0)),
        (Elastic(34, 4), Elastic()),
        (Mixup(1), Mixup(1.0)),
    ):
        assert one == other
        assert hash(one) == hash(other)


def test_settings_of_ones_own_views():
    class Tinted(NoViews):
        def __init__(self, tint, table):
            self.tint, self.table, self._cache = tint, table, object()

    one, other = Tinted((1, 2), torch.arange(3)), Tinted((1, 2), torch.arange(4))
    assert one == Tinted([1, 2], torch.arange(3))
    assert one != other
    assert one != Tinted((1, 3), torch.arange(3))
    assert json.loads(json.dumps(one.settings()))["tint"] == [1, 2]
    json.dumps(Tinted(float("inf"), float("nan")).settings(), allow_nan=False)
    assert Tinted({"a": np.ones(2)}, None) == Tinted({"a": np.ones(2)}, None)


def chi_square(counts):
    expected = counts.sum() / counts.size
    return ((counts - expected) ** 2 / expected).sum()


# The seeds are fixed, so these tests do not flicker; of generators that are truly uniform one in
# 10^6 would fail each.
FALSE_ALARM = 1e-6


def test_draws_are_uniform_over_the_views(views):
    drawn = views.draw(3, 7, torch.arange(50_000)).numpy()
    assert drawn.min() >= 0
    assert drawn.max() < views.count
    if views.count == 1:
        return
    cells = min(views.count, 64)
    counts = np.bincount(drawn * cells // views.count, minlength=cells)
    if views.count > cells and views.count < ENDLESS:  # cells of unequal size
        counts = np.bincount(drawn, minlength=views.count)
    assert chi_square(counts) < chi2.isf(FALSE_ALARM, counts.size - 1)


def test_bits_are_even_and_independent_of_each_other():
    bits = replayable_bits(5, torch.arange(400)[:, None], torch.arange(50)).numpy().view(np.uint64)
    share = np.array([(bits >> np.uint64(k) & np.uint64(1)).mean() for k in range(64)])
    assert np.abs(share - 0.5).max() * 2 * bits.size**0.5 < 6
    signs = np.stack(
        [(bits.ravel() >> np.uint64(k) & np.uint64(1)).astype(float) for k in range(64)]
    )
    correlations = np.corrcoef(signs)[np.triu_indices(64, 1)] * bits.size**0.5
    assert np.abs(correlations).max() < 6


def test_bits_are_those_of_the_draws():
    index = torch.arange(-5, 100)
    assert torch.equal(
        replayable_bits(3, -1, index) & ((1 << 63) - 1), replayable_integers(3, -1, index)
    )
    assert torch.equal(
        replayable_bits(torch.tensor(3), torch.tensor(-1), index), replayable_bits(3, -1, index)
    )
    assert torch.equal(
        replayable_bits(index[:, None], index)[4], replayable_bits(int(index[4]), index)
    )


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=5), data=st.data())
def test_a_chain_of_enumerable_parts_counts_in_mixed_radix(counts, data):
    class Some(NoViews):
        def __init__(self, count, plain):
            self.count, self.at = count, plain

        @property
        def plain(self):
            return self.at

    plain = [data.draw(st.integers(0, count - 1)) for count in counts]
    chain = Chain([Some(count, at) for count, at in zip(counts, plain, strict=True)])
    assert chain.count == np.prod(counts)
    view = torch.arange(chain.count)
    parts = chain.split(view, torch.zeros_like(view))
    assert np.array_equal(
        np.ravel_multi_index([part.numpy() for part in parts], counts), view.numpy()
    )
    assert [int(part[chain.plain]) for part in parts] == plain


def test_a_chain_shows_one_part_after_the_other():
    chain, sample = Chain([Flip(), Shift(1)]), torch.arange(18)
    shown = chain.apply(IMAGES[sample], sample, sample)
    for view in range(18):
        image = IMAGES[view : view + 1]
        flipped = image.flip(-1) if view >= 9 else image
        expected = Shift(1).apply(flipped, torch.tensor([view % 9]), sample[:1])
        assert torch.equal(shown[view : view + 1], expected)


def test_an_endless_chain_draws_its_parts_from_sample_and_view():
    chain = Chain([Shift(1), Affine(), Affine()])
    assert (chain.count, chain.plain, Chain([Flip()] * 31).count) == (ENDLESS, 0, ENDLESS)
    sample = torch.arange(20_000)
    view = chain.draw(0, 0, sample)
    shift, first, second = chain.split(view, sample)
    assert chi_square(np.bincount(shift.numpy(), minlength=9)) < chi2.isf(FALSE_ALARM, 8)
    assert len(set(first.tolist())) > 19_900
    assert not torch.equal(first, second)
    plain = chain.split(torch.zeros_like(view), sample)
    assert [set(part.tolist()) for part in plain] == [{4}, {0}, {0}]
    moved = Shift(1).apply(IMAGES, shift[:SAMPLES], sample[:SAMPLES])
    bent = Affine().apply(
        Affine().apply(moved, first[:SAMPLES], sample[:SAMPLES]), second[:SAMPLES], sample[:SAMPLES]
    )
    assert torch.equal(chain.apply(IMAGES, view[:SAMPLES], sample[:SAMPLES]), bent)


@pytest.mark.parametrize("bad", [[], None, Flip(), [Flip(), "shift"], [Flip(), None]])
def test_bad_chains(bad):
    with pytest.raises(ConfigError, match=r"views\.parts=.* should be a list of views"):
        Chain(bad)


def test_a_chain_mixes_no_samples():
    with pytest.raises(ConfigError, match="mixes samples; make the others its own"):
        Chain([Flip(), Mixup()])


@pytest.mark.parametrize("shape", [(3, 16), (3, 4, 4), (2, 3, 1, 4, 4)])
@pytest.mark.parametrize(
    "views", [v for v in FAMILIES if not isinstance(v, (NoViews, Mixup))], ids=lambda v: v.name
)
def test_images_are_needed(views, shape):
    with pytest.raises(ConfigError, match=r"images \[N, C, H, W\]; found inputs of shape"):
        views.apply(torch.zeros(shape), torch.full(shape[:1], views.plain), torch.arange(shape[0]))


def test_all_are_views(views):
    assert isinstance(views, Views)
    assert views.mixes == isinstance(views, Mixup)
    if not views.mixes:
        with pytest.raises(NotImplementedError, match="mixes no samples"):
            views.pair(POOL, POOL, POOL)


def test_a_choice_shows_each_view_by_one_part_and_each_part_as_often():
    choice, sample = Choice([Shift(1), Affine()]), torch.arange(20_000)
    view = choice.draw(0, 0, sample)
    part = choice.part_of(view, sample)
    assert chi_square(np.bincount(part.numpy(), minlength=2)) < chi2.isf(FALSE_ALARM, 1)
    shown = choice.apply(IMAGES, view[:SAMPLES], sample[:SAMPLES])
    moves = [Shift(1).apply(IMAGES, torch.full((SAMPLES,), v), sample[:SAMPLES]) for v in range(9)]
    shifted = torch.stack([(as_float(moved) == shown).flatten(1).all(1) for moved in moves]).any(0)
    assert torch.equal(shifted, part[:SAMPLES] == 0)


@pytest.mark.parametrize("bad", [[], [Flip()], None, [Flip(), "shift"]])
def test_bad_choices(bad):
    with pytest.raises(
        ConfigError, match=r"views\.parts=.* should be a list of views, at least two"
    ):
        Choice(bad)


def test_a_choice_mixes_no_samples():
    with pytest.raises(ConfigError, match="mixes samples; make the others its own"):
        Choice([Flip(), Mixup()])
