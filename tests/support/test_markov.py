"""The text of known entropy has the entropy that the helper states."""

import numpy as np
import pytest

from support.markov import markov_text, stationary


@pytest.mark.parametrize(("symbols", "seed"), [(2, 0), (5, 1), ("abc xyz\n", 2)])
def test_a_markov_chain_has_the_stated_entropy(symbols, seed):
    """Against the text itself: nats per symbol under its own counts of pairs."""
    content, entropy, transitions = markov_text(symbols=symbols, length=100_000, seed=seed)
    letters = sorted(set(content))
    count = len(transitions)
    assert (len(letters), len(content)) == (count, 100_000)
    weights = stationary(transitions)
    assert weights @ transitions == pytest.approx(weights)
    number_of = {letter: number for number, letter in enumerate(letters)}
    chain = np.array([number_of[letter] for letter in content])
    pairs = np.bincount(chain[:-1] * count + chain[1:], minlength=count**2).reshape(count, count)
    shares = pairs / pairs.sum(1, keepdims=True)
    occurring = pairs > 0
    empirical = -(pairs[occurring] * np.log(shares[occurring])).sum() / pairs.sum()
    assert entropy == pytest.approx(empirical, abs=0.01)
    assert 0 < entropy < np.log(count)
