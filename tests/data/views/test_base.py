"""Views: how they are drawn, compared and limited."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.views import IMAGES, POOL, assert_uniform

from limbeck._base.errors import ConfigError
from limbeck.data import Affine, Chain, Elastic, Flip, Mixup, NoViews, Shift, Views
from limbeck.data.randomness import replayable_integers
from limbeck.data.views.base import ENDLESS

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
