"""Chains and choices of views."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.views import IMAGES, SAMPLES, assert_uniform

from limbeck._base.errors import ConfigError
from limbeck.data import Affine, Chain, Choice, Flip, Mixup, NoViews, Shift
from limbeck.data.dataset import as_float
from limbeck.data.views.base import ENDLESS


class Some(NoViews):
    """A family of any number of views."""

    def __init__(self, count, plain):
        self.count, self.plain_view = count, plain

    @property
    def plain(self):
        return self.plain_view


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=4), data=st.data())
def test_a_chain_of_enumerable_parts_counts_in_mixed_radix(counts, data):
    plain = [data.draw(st.integers(0, count - 1)) for count in counts]
    chain = Chain([Some(count, view) for count, view in zip(counts, plain, strict=True)])
    assert chain.count == np.prod(counts)
    view = torch.arange(chain.count)
    parts = chain.split(view, torch.zeros_like(view))
    assert np.array_equal(np.ravel_multi_index([part.numpy() for part in parts], counts), view)
    assert [int(part[chain.plain]) for part in parts] == plain


def test_a_chain_applies_one_part_after_the_other():
    chain, sample = Chain([Flip(), Shift(1)]), torch.arange(18)
    results = chain.apply(IMAGES[sample], sample, sample)
    for view in range(18):
        image = IMAGES[view : view + 1]
        if view >= 9:
            image = image.flip(-1)
        expected = Shift(1).apply(image, torch.tensor([view % 9]), sample[:1])
        assert torch.equal(results[view : view + 1], expected)


def test_an_endless_chain_draws_its_parts_from_sample_and_view():
    chain = Chain([Shift(1), Affine(), Affine()])
    assert (chain.count, chain.plain, Chain([Flip()] * 31).count) == (ENDLESS, 0, ENDLESS)
    sample = torch.arange(20_000)
    view = chain.draw(0, 0, sample)
    shift, first, second = chain.split(view, sample)
    assert_uniform(shift, 9)
    assert len(set(first.tolist())) > 19_900
    assert not torch.equal(first, second)
    plain = chain.split(torch.zeros_like(view), sample)
    assert [set(part.tolist()) for part in plain] == [{4}, {0}, {0}]
    few = sample[:SAMPLES]
    expected = Shift(1).apply(IMAGES, shift[few], few)
    expected = Affine().apply(expected, first[few], few)
    expected = Affine().apply(expected, second[few], few)
    assert torch.equal(chain.apply(IMAGES, view[few], few), expected)


def test_a_choice_uses_one_part_for_each_view_and_each_part_as_often():
    choice, sample = Choice([Shift(1), Affine()]), torch.arange(20_000)
    view = choice.draw(0, 0, sample)
    part = choice.part_of(view, sample)
    assert_uniform(part, 2)
    few = sample[:SAMPLES]
    results = choice.apply(IMAGES, view[few], few)
    is_shifted = torch.zeros(SAMPLES, dtype=torch.bool)
    for number in range(9):
        shifted = as_float(Shift(1).apply(IMAGES, torch.full((SAMPLES,), number), few))
        is_shifted |= (shifted == results).flatten(1).all(1)
    assert torch.equal(is_shifted, part[few] == 0)


@pytest.mark.parametrize("parts", [[], None, Flip(), [Flip(), "shift"], [Flip(), None]])
def test_a_chain_needs_a_list_of_views(parts):
    with pytest.raises(ConfigError, match=r"views\.parts=.* a list of views, at least 1"):
        Chain(parts)


@pytest.mark.parametrize("parts", [[], [Flip()], None, [Flip(), "shift"]])
def test_a_choice_needs_a_list_of_two_views(parts):
    with pytest.raises(ConfigError, match=r"views\.parts=.* a list of views, at least 2"):
        Choice(parts)


@pytest.mark.parametrize("family", [Chain, Choice])
def test_views_that_mix_samples_cannot_be_combined(family):
    with pytest.raises(ConfigError, match=r"mixup mixes samples .* views=mixup .* views\.views"):
        family([Flip(), Mixup()])
