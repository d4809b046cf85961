"""Replayable random numbers: SplitMix64, uniform and independent."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.randomness import (
    random_order,
    replayable_bits,
    replayable_integers,
    split_position,
)

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
ANY_SEED = st.integers(-(1 << 63), (1 << 64) - 1)


def finalise(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def expected_integer(*parts):
    """The same hash in Python's integers."""
    z = GOLDEN
    for part in parts:
        z = finalise(z + part + GOLDEN & MASK)
    return z & (MASK >> 1)


def test_the_finaliser_gives_the_published_sequence():
    """SplitMix64 from state 1234567: the state plus multiples of the golden ratio, finalised."""
    sequence = [finalise(1234567 + (step + 1) * GOLDEN & MASK) for step in range(3)]
    assert sequence == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(max_examples=60, deadline=None)
@given(seed=ANY_SEED, epoch=ANY_SEED, index=st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_equal_splitmix64(seed, epoch, index):
    integer = replayable_integers(seed, epoch, torch.tensor(index)).item()
    assert integer == expected_integer(seed, epoch, index)


def test_bits_are_uniform_and_independent_of_each_other():
    bits = replayable_bits(5, torch.arange(400)[:, None], torch.arange(50)).numpy().view(np.uint64)
    columns = [(bits.ravel() >> np.uint64(k) & np.uint64(1)).astype(np.float32) for k in range(64)]
    signs = np.stack(columns)
    assert np.abs(signs.mean(1) - 0.5).max() * 2 * bits.size**0.5 < 6
    correlations = np.corrcoef(signs)[np.triu_indices(64, 1)] * bits.size**0.5
    assert np.abs(correlations).max() < 6


def test_bits_broadcast_and_agree_with_the_integers():
    index = torch.arange(-5, 100)
    bits = replayable_bits(3, -1, index)
    assert torch.equal(bits & ((1 << 63) - 1), replayable_integers(3, -1, index))
    assert torch.equal(replayable_bits(torch.tensor(3), torch.tensor(-1), index), bits)
    table = replayable_bits(index[:, None], index)
    assert torch.equal(table[4], replayable_bits(int(index[4]), index))


def test_a_random_order_is_a_permutation_that_its_seed_decides():
    for count in (0, 1, 2, 1000):
        assert sorted(random_order(count, 3).tolist()) == list(range(count))
    assert torch.equal(random_order(50, 3), random_order(50, 3))
    assert not torch.equal(random_order(50, 3), random_order(50, 4))


def test_split_positions_are_uniform_and_change_with_the_seed():
    names = [f"{number:064x}" for number in range(4000)]
    first, second = ([split_position(name, seed) for name in names] for seed in (0, 1))
    assert all(0 <= position < 1 for position in first + second)
    counts = np.histogram(first, 10, (0, 1))[0]
    assert abs(counts - 400).max() < 80
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
