"""Text of known entropy: no model of it has a lower loss, and a perfect one reaches it."""

import string
from bisect import bisect
from itertools import accumulate

import numpy as np


def markov_text(symbols="abcdefgh", length=100_000, seed=0):
    """Draw text of a first-order Markov chain whose symbols are single bytes.

    Args:
        symbols: Characters of the text, or their number.
        length: Number of characters.
        seed: Seed of the transitions and of the text.

    Returns:
        The text; the entropy rate in nats per symbol (Shannon 1948: the entropy of each row of the
        transition matrix, weighted by the stationary distribution); and the transition matrix
        ``[S, S]``, whose row i holds the probabilities of what follows symbol i.
    """
    letters = string.ascii_letters[:symbols] if isinstance(symbols, int) else symbols
    assert len(set(letters)) == len(letters) >= 2
    assert letters.isascii()
    random = np.random.default_rng(seed)
    transitions = random.dirichlet(np.full(len(letters), 0.5), len(letters)) + 1e-3
    transitions /= transitions.sum(1, keepdims=True)
    entropies = -(transitions * np.log(transitions)).sum(1)
    entropy_rate = float(stationary(transitions) @ entropies)
    limits = [list(accumulate(row))[:-1] for row in transitions.tolist()]
    state = int(random.choice(len(letters), p=stationary(transitions)))
    chain = [state]
    for number in random.random(length - 1).tolist():
        state = bisect(limits[state], number)
        chain.append(state)
    return "".join(letters[state] for state in chain), entropy_rate, transitions


def stationary(transitions):
    """Return the distribution p with p P = p and a sum of 1."""
    count = len(transitions)
    system = np.vstack([transitions.T - np.eye(count), np.ones(count)])
    return np.linalg.lstsq(system, np.eye(count + 1)[-1], rcond=None)[0]
