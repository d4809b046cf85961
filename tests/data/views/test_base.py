"""Views: what every family promises, and how views are drawn, compared and limited."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.views import IMAGES, POOL, SAMPLES, assert_uniform

import limbeck.data
from limbeck._base.errors import ConfigError
from limbeck.data import (
    Affine,
    Chain,
    Choice,
    Crop,
    Elastic,
    Flip,
    Mixup,
    NoViews,
    Shift,
    Views,
)
from limbeck.data.dataset import as_float
from limbeck.data.randomness import replayable_integers
from limbeck.data.views.base import ENDLESS

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


# Every family ------------------------------------------------------------------------------------


def test_every_public_family_is_in_the_list():
    public = {getattr(limbeck.data, name) for name in limbeck.data.__all__}
    families = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Views)}
    assert families - {Views} == {type(views) for views in FAMILIES}


@pytest.fixture(params=FAMILIES, ids=lambda views: f"{views.name}, {views.count}")
def views(request):
    return request.param


@pytest.fixture(params=[torch.uint8, torch.float32, torch.float64], ids=str)
def images(request):
    return IMAGES if request.param == torch.uint8 else IMAGES.to(request.param) / 255


def test_the_plain_view_leaves_an_input_as_it_is(views, images):
    sample, before = torch.arange(SAMPLES), images.clone()
    plain = torch.full((SAMPLES,), views.plain)
    assert 0 <= views.plain < views.count
    for result in (views.show(images, sample, plain, POOL), views.apply(images, plain, sample)):
        pixels = result if result.dtype == images.dtype else result * 255
        assert torch.equal(pixels, images.to(result.dtype))
    views.show(images, sample, views.draw(0, 0, sample), POOL)
    assert torch.equal(images, before), "the inputs themselves must stay as they are"


def test_shapes_and_dtypes(views, images):
    sample = torch.tensor([3, 39, 3])
    result = views.show(images, sample, views.draw(0, 0, sample), POOL)
    assert result.shape == (3, 3, 9, 11)
    if images.dtype == torch.uint8:
        assert result.dtype in (torch.uint8, torch.float32)
    else:
        assert result.dtype == images.dtype
    values = as_float(result)
    assert values.min() >= 0
    assert values.max() <= 1 + 1e-6
    empty = torch.zeros(0, dtype=torch.int64)
    assert views.show(images, empty, empty, POOL).shape == (0, 3, 9, 11)


def test_views_that_only_move_pixels_keep_bytes():
    sample = torch.arange(SAMPLES)
    for views in (NoViews(), Flip(), Shift(2), Crop(4, "reflect"), Chain([Flip(), Crop(2)])):
        assert views.show(IMAGES, sample, views.draw(0, 0, sample), POOL).dtype == torch.uint8


@settings(max_examples=30, deadline=None)
@given(data=st.data(), views=st.sampled_from(FAMILIES))
def test_a_view_is_bit_for_bit_the_same_in_any_batch(data, views):
    """As in a run of other seeds, another order or another batch size."""
    images = data.draw(st.sampled_from([IMAGES, IMAGES.float() / 255]))
    samples = data.draw(st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=60))
    sample = torch.tensor(samples)
    view = views.draw(data.draw(st.integers(0, 99)), data.draw(st.integers(0, 99)), sample)
    whole = views.show(images, sample, view, POOL)
    order = torch.tensor(data.draw(st.permutations(range(len(sample)))))
    assert torch.equal(views.show(images, sample[order], view[order], POOL), whole[order])
    cut = data.draw(st.integers(0, len(sample)))
    parts = []
    for part in (slice(cut), slice(cut, None)):
        parts.append(views.show(images, sample[part], view[part], POOL))
    assert torch.equal(torch.cat(parts), whole)
    row = data.draw(st.integers(0, len(sample) - 1))
    one = slice(row, row + 1)
    single = copy.deepcopy(views).show(images, sample[one], view[one], POOL)
    assert torch.equal(single, whole[one])
    strided = images.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(views.show(strided, sample, view, POOL), whole)


def test_a_view_does_not_depend_on_the_number_of_threads(views):
    sample = torch.arange(SAMPLES).repeat(4)
    view = views.draw(0, 0, torch.arange(len(sample)))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(views.show(IMAGES, sample, view, POOL))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_shows_the_same(views):
    sample = torch.arange(SAMPLES)
    view = views.draw(0, 0, sample)
    expected = views.show(IMAGES, sample, view, POOL)
    result = views.show(*(part.cuda() for part in (IMAGES, sample, view, POOL)))
    assert torch.equal(views.draw(0, 0, sample.cuda()).cpu(), view)
    tolerance = 0 if result.dtype == torch.uint8 else 1e-5
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=tolerance)


def test_draws_are_uniform_over_the_views(views):
    view = views.draw(3, 7, torch.arange(20_000))
    assert view.min() >= 0
    assert view.max() < views.count
    if views.count == 1:
        return
    if views.count <= 200:
        assert_uniform(view, views.count)
    else:
        assert_uniform(view * 64 // views.count, 64)


def test_samples_and_views_differ():
    image = torch.rand(1, 1, 16, 16).expand(30, 1, 16, 16)
    for views in (Affine(), Elastic(), Chain([Affine(), Elastic()])):
        by_sample = views.apply(image, torch.full((30,), 7), torch.arange(30))
        by_view = views.apply(image, torch.arange(1, 31), torch.full((30,), 7))
        for results in (by_sample, by_view):
            assert len(results.flatten(1).unique(dim=0)) == 30


def test_settings_distinguish_families():
    every = FAMILIES + OTHERS
    texts = [json.dumps(views.settings(), sort_keys=True) for views in every]
    assert len(set(texts)) == len(set(every)) == len(every)
    for views, text in zip(every, texts, strict=True):
        views.show(IMAGES, torch.arange(2), views.draw(0, 0, torch.arange(2)), POOL)
        for again in (copy.deepcopy(views), pickle.loads(pickle.dumps(views))):
            assert again == views
            assert hash(again) == hash(views)
            settings_text = json.dumps(again.settings(), sort_keys=True)
            assert settings_text == text, "the use of views does not change their settings"
        assert views != text


@pytest.mark.parametrize("shape", [(3, 16), (3, 4, 4), (2, 3, 1, 4, 4)])
@pytest.mark.parametrize("views", FAMILIES[1:-3], ids=lambda views: views.name)
def test_views_of_images_need_images(views, shape):
    plain = torch.full(shape[:1], views.plain)
    with pytest.raises(ConfigError, match=r"images \[N, C, H, W\], got inputs of shape"):
        views.apply(torch.zeros(shape), plain, torch.arange(shape[0]))


# Draws --------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(-(1 << 63), (1 << 64) - 1), epoch=st.integers(0, 1 << 40), data=st.data())
def test_a_draw_does_not_depend_on_the_batch(seed, epoch, data):
    samples = data.draw(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=30))
    shift, index = Shift(2), torch.tensor(samples)
    whole = shift.draw(seed, epoch, index)
    assert torch.equal(whole, replayable_integers(seed, epoch, index) % 25)
    cut = data.draw(st.integers(0, len(samples)))
    parts = [shift.draw(seed, epoch, part) for part in (index[:cut], index[cut:])]
    assert torch.equal(torch.cat(parts), whole)
    order = torch.tensor(data.draw(st.permutations(range(len(samples)))))
    assert torch.equal(shift.draw(seed, epoch, index[order]), whole[order])
    assert torch.equal(shift.draw(seed, epoch, index[None, :, None]), whole[None, :, None])


@pytest.mark.parametrize("views", [Shift(1), Shift(2), Shift(3)], ids=lambda views: views.name)
def test_views_are_uniform_over_samples_epochs_and_seeds(views):
    some, few = torch.arange(100, 200), range(150)
    by_epoch = [views.draw(3, epoch, some) for epoch in few]
    by_seed = [views.draw(seed, 7, some) for seed in range(-75, 75)]
    for drawn_views in (
        views.draw(3, 7, torch.arange(15_000)),
        *map(torch.cat, (by_epoch, by_seed)),
    ):
        assert_uniform(drawn_views, views.count)


@pytest.mark.parametrize(
    ("seed", "epoch", "offset", "other_epoch"),
    [(0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (1, 0, 0, 1)],
    ids=["epochs", "seeds", "neighbours", "seed and epoch swapped"],
)
def test_draws_that_differ_in_one_part_are_independent(seed, epoch, offset, other_epoch):
    shift, index = Shift(2), torch.arange(30_000)
    pairs = shift.draw(0, other_epoch, index) * 25 + shift.draw(seed, epoch, index + offset)
    assert_uniform(pairs, 625)


# Settings -----------------------------------------------------------------------------------------


def test_views_are_equal_by_their_settings():
    assert Shift(2) == Shift(2)
    assert hash(Shift(2)) == hash(Shift(2))
    assert NoViews() == NoViews()
    assert len({Shift(1), Shift(2), Shift(2), NoViews(), NoViews()}) == 3
    assert Shift(1) != Shift(2) != NoViews()
    assert Shift(2) != "shifts of 2"

    class OtherShift(Shift):
        pass

    assert OtherShift(2) != Shift(2)


@pytest.mark.parametrize(
    ("one", "other"),
    [(Affine(10), Affine(10.0)), (Elastic(34, 4), Elastic()), (Mixup(1), Mixup(1.0))],
)
def test_whole_numbers_and_floats_are_the_same_setting(one, other):
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("views", "kind"),
    [
        (NoViews(), "limbeck.data.views.NoViews"),
        (Chain([Flip()]), "limbeck.data.views.Chain"),
        (Shift(), "limbeck.data.crops.Shift"),
        (Affine(), "limbeck.data.distortions.Affine"),
        (Mixup(), "limbeck.data.mixup.Mixup"),
    ],
)
def test_kinds_stay_those_of_stores_of_version_0_1_0(views, kind):
    assert views.settings()["kind"] == kind


def test_the_settings_of_custom_views():
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


# Limits -------------------------------------------------------------------------------------------


def test_only_endless_families_can_be_limited():
    for views in (NoViews(), Flip(), Shift(2), Chain([Flip(), Shift(1)])):
        assert views.limited(3) is views
    for views in (Affine(), Elastic(), Chain([Flip(), Affine()]), Mixup()):
        limited = views.limited(16)
        assert views.count == ENDLESS
        assert (limited.count, limited.plain, limited.name) == (16, 0, views.name)
        assert limited.limited(9) is limited
        assert views.limited(16) == limited != views
        numbers = torch.arange(16)
        assert torch.equal(
            limited.show(IMAGES, numbers, numbers, POOL), views.show(IMAGES, numbers, numbers, POOL)
        )
        assert set(limited.draw(0, 0, torch.arange(2000)).tolist()) == set(range(16))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, ENDLESS])
def test_bad_limits_are_named(bad):
    with pytest.raises(ConfigError, match="whole number"):
        Affine().limited(bad)


def test_views_that_mix_nothing_have_no_pairs():
    copied: Views = copy.deepcopy(Shift(1))
    assert not copied.mixes
    with pytest.raises(NotImplementedError, match="mixes no samples"):
        copied.pair(POOL, POOL, POOL)
