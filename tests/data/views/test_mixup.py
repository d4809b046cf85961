"""Mixtures: weights, partners, images and labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest
from support.views import FALSE_ALARM, assert_uniform

from limbeck._base.errors import ConfigError
from limbeck.data import Affine, Chain, Flip, Mixup, NoViews, Shift, Split, TransferSet
from limbeck.data.batches import TrainBatches
from limbeck.data.dataset import as_float
from limbeck.data.transfer_set import mixing_pool

IMAGES = torch.randint(
    0, 256, (50, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
SAMPLES = 20_000
SPLIT = Split(IMAGES, torch.arange(50) % 7)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.4, 1.0, 8.0])
def test_weights_are_beta(alpha):
    sample = torch.arange(SAMPLES)
    views = Mixup(alpha)
    partner, weight = views.pair(sample, views.draw(0, 0, sample), torch.arange(1000))
    assert weight.dtype == torch.float32
    assert weight.min() >= 0
    assert weight.max() <= 1
    quantiles = beta.cdf(weight.double().numpy(), alpha, alpha)
    # Weights come from a table of 4096, so they are spread over its steps. Tiny ones of a tiny
    # alpha round to 0 or 1.
    steps = np.floor(quantiles * 4096) + np.random.default_rng(0).random(SAMPLES)
    middle = (weight > 1e-6) & (weight < 1 - 1e-6)
    low, high = beta.cdf([1e-6, 1 - 1e-6], alpha, alpha)
    assert (
        kstest(steps[middle.numpy()] / 4096, "uniform", args=(low, high - low)).pvalue > FALSE_ALARM
    )
    assert float(middle.float().mean()) == pytest.approx(high - low, abs=6 * 0.5 / SAMPLES**0.5)
    assert abs(np.corrcoef(partner.numpy(), weight.numpy())[0, 1]) * SAMPLES**0.5 < 6


def test_weights_are_the_quantiles_of_the_beta_distribution():
    middle = (np.arange(4096) + 0.5) / 4096
    for alpha in (0.2, 1.0, 3.0):
        np.testing.assert_allclose(
            Mixup(alpha)._weights, beta.ppf(middle, alpha, alpha), rtol=1e-6, atol=1e-7
        )


def test_partners_are_uniform_over_the_pool():
    sample, pool = torch.arange(20_000), torch.arange(5, 500, 9)
    views = Mixup()
    partner, _ = views.pair(sample, views.draw(0, 0, sample), pool)
    position = torch.full((500,), -1).index_copy(0, pool, torch.arange(len(pool)))
    assert_uniform(position[partner], len(pool))


def test_view_zero_is_the_sample_itself():
    sample = torch.arange(50)
    partner, weight = Mixup().pair(sample, torch.zeros_like(sample), torch.tensor([3]))
    assert torch.equal(partner, sample)
    assert (weight == 1).all()


@settings(max_examples=15, deadline=None)
@given(data=st.data(), alpha=st.sampled_from([0.2, 1.0]))
def test_a_mixture_is_the_weighted_mean_of_two_samples(data, alpha):
    sample = torch.tensor(data.draw(st.lists(st.integers(0, 49), min_size=1, max_size=20)))
    pool = torch.tensor(
        data.draw(st.lists(st.integers(0, 49), min_size=1, max_size=20, unique=True))
    )
    views = Mixup(alpha)
    view = views.draw(data.draw(st.integers(0, 99)), 0, sample)
    partner, weight = views.pair(sample, view, pool)
    assert set(partner.tolist()) <= set(pool.tolist())
    result, pixels = views.show(IMAGES, sample, view, pool), IMAGES.double().numpy() / 255
    share = weight.double().numpy()[:, None, None, None]
    np.testing.assert_allclose(
        result, share * pixels[sample] + (1 - share) * pixels[partner], atol=1e-6
    )
    floats = torch.randn(50, 3)  # not only images
    mixed = views.show(floats, sample, view, pool)
    expected = weight[:, None] * floats[sample] + (1 - weight[:, None]) * floats[partner]
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize(
    "inner", [Flip(), Shift(1), Affine(), Chain([Flip(), Shift(2)])], ids=lambda v: v.name
)
def test_both_samples_have_views_of_their_own(inner):
    views, sample, pool = Mixup(1.0, inner), torch.arange(50), torch.arange(50)
    view = views.draw(1, 2, sample)
    partner, weight = views.pair(sample, view, pool)
    again = Mixup(1.0, inner)
    first = as_float(again._show_inner(IMAGES, sample, view, pool))
    second = as_float(again._show_inner(IMAGES, partner, view, pool))
    share = weight.view(-1, 1, 1, 1)
    assert torch.equal(views.show(IMAGES, sample, view, pool), share * first + (1 - share) * second)
    plain = (first == as_float(IMAGES)).flatten(1).all(1)
    assert plain.float().mean() < 0.8, "most are not plain"


def test_partner_and_weight_are_independent():
    sample, views = torch.arange(20_000), Mixup(1.0)
    partner, weight = views.pair(sample, views.draw(0, 0, sample), torch.arange(16))
    for cell in ((weight * 4096).floor().long() % 16, (weight * 16).floor().long()):
        assert_uniform(partner * 16 + cell, 256)


def test_the_views_of_the_two_samples_are_independent():
    views, inner_views = Mixup(1.0, Shift(1)), []

    def record(inputs, rows, view, pool):
        inner_views.append(view)
        return inputs[rows % 50]

    views.views.show = record
    sample = torch.arange(20_000)
    views.show(IMAGES, sample, views.draw(0, 0, sample), sample)
    first, second = inner_views
    assert_uniform(first * 9 + second, 81)


def batches(index, labels, views, **options):
    options = {"seeds": [3, 8], "batch_size": 8, "epoch": lambda: 2, **options}
    return list(TrainBatches(SPLIT, index, labels, views=views, **options))


def test_a_batch_has_the_partners_labels_and_the_weights():
    index, labels = TransferSet(30).select(SPLIT)
    views = Mixup(1.0, Flip())
    for batch in batches(index, labels, views):
        partner, weight = views.pair(batch.sample.flatten(), batch.view.flatten(), index)
        assert torch.equal(batch.mixed.labels, SPLIT.labels[partner].view_as(batch.y))
        assert torch.equal(batch.mixed.weight, weight.view_as(batch.y))
        assert torch.equal(batch.y, SPLIT.labels[batch.sample])
        assert batch.mixed.labels.dtype == torch.int64
        expected = views.show(IMAGES, batch.sample.flatten(), batch.view.flatten(), index)
        assert torch.equal(batch.x.flatten(0, 1), expected), "a stored teacher sees the same"
        assert set(partner.tolist()) <= set(index.tolist()), "partners are in the transfer set"


def test_views_that_mix_nothing_add_nothing():
    assert all(
        batch.mixed is None
        for batch in batches(torch.arange(50), SPLIT.labels, Chain([Flip(), Shift(1)]))
    )


def test_labelled_samples_keep_their_labels_in_mixtures():
    index, labels = TransferSet(30, 9).select(SPLIT)
    all_batches = batches(index, labels, Mixup(1.0))
    y = torch.cat([batch.y for batch in all_batches], dim=1)
    other = torch.cat([batch.mixed.labels for batch in all_batches], dim=1)
    assert ((y != -100) & (other != -100)).sum(1).tolist() == [9, 9]
    table = torch.full((50,), -100).index_copy(0, index, labels)
    for batch in all_batches:
        partner, _ = Mixup(1.0).pair(
            batch.sample.flatten(), batch.view.flatten(), mixing_pool(index, labels)
        )
        assert torch.equal(batch.mixed.labels.flatten(), table[partner])


def test_the_pool_of_partners():
    index, labels = torch.tensor([4, 6, 9]), torch.tensor([1, -100, 0])
    assert mixing_pool(index, labels).tolist() == [4, 9]
    assert mixing_pool(index, torch.full((3,), -100)).tolist() == [4, 6, 9]


def test_single_inputs_have_the_plain_view_only():
    plain = torch.zeros(3, dtype=torch.int64)
    assert torch.equal(Mixup().apply(IMAGES[:3], plain, plain), IMAGES[:3].float() / 255)
    with pytest.raises(ConfigError, match=r"Use show\(\) instead of apply\(\)"):
        Mixup().apply(IMAGES[:3], torch.tensor([0, 5, 0]), plain)
    with pytest.raises(ConfigError, match="is too large for images"):
        Mixup(views=Shift(6)).apply(IMAGES[:3], plain, plain)


def test_names_of_mixtures():
    assert Mixup().name == Mixup(views=NoViews()).name == "mixup"
    assert Mixup(views=Chain([Shift(1), Flip()])).name == "mixup of shifts of 1 + flips"


@pytest.mark.parametrize("alpha", [0, -1, 101, float("nan"), True, "0.2", None])
def test_a_bad_alpha_is_named(alpha):
    with pytest.raises(ConfigError, match=r"views\.alpha=.* should be a number from 0\.001 to 100"):
        Mixup(alpha)


@pytest.mark.parametrize("views", [Mixup(), "flip", Flip])
def test_views_that_mix_samples_are_refused(views):
    with pytest.raises(ConfigError, match=r"views\.views=.* do not mix samples themselves"):
        Mixup(views=views)
