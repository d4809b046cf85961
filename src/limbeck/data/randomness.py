"""Random orders, and replayable random numbers.

Replayable numbers are pure functions of integers, as in a counter-based generator: the numbers of a
sample depend neither on other samples nor on the order of the draws. They are the same in every
process, on every device and for every batch size.
"""

import hashlib
from functools import cache

import torch
from torch import Tensor

_BITS_64 = 1 << 64
_NOT_NEGATIVE = (1 << 63) - 1


def random_order(count: int, seed: int) -> Tensor:
    """Draw a permutation of the numbers from 0 to ``count - 1``.

    Args:
        count: Number of elements.
        seed: Seed of the draw; the same seed gives the same order everywhere.

    Returns:
        int64 ``[count]``.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def split_position(name: str, seed: int) -> float:
    """Hash a name to a position from 0 to 1, uniform over names.

    Splits are ranges of positions, so that a sample stays in its split when others are added.

    Args:
        name: Name of a sample, such as the digest of an image.
        seed: Seed of the positions.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2.0**53  # 53 bits, as many as a float has


def replayable_bits(*parts: int | Tensor) -> Tensor:
    """Hash integers to 64 pseudo-random bits, the same on every device.

    Args:
        parts: Python integers and int64 tensors that broadcast against each other. At least one
            part is a tensor.

    Returns:
        int64 of the broadcast shape.

    References:
        Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014 (SplitMix64).
    """
    tensor = next(part for part in parts if isinstance(part, Tensor))
    bits = tensor.new_full((), _GOLDEN, dtype=torch.int64)
    for part in parts:
        if not isinstance(part, Tensor):
            part = _signed(part % _BITS_64)
        bits = _scramble((bits + part).add_(_GOLDEN))
    return bits


def replayable_integers(seed: int, epoch: int, index: Tensor) -> Tensor:
    """Hash a seed, an epoch and sample indices to integers from 0 to 2^63 - 1.

    Args:
        seed: Any integer.
        epoch: Any integer.
        index: Sample indices, int64 of any shape.

    Returns:
        int64 of the shape of ``index``.
    """
    return replayable_bits(seed, epoch, index) & _NOT_NEGATIVE


def integers_for(purpose: str, sample: Tensor, view: Tensor) -> Tensor:
    """Hash samples and views to integers from 0 to 2^63 - 1, independent for each purpose.

    Args:
        purpose: Name of the use of the integers.
        sample: Sample indices, int64.
        view: Views, int64 of a shape that broadcasts against ``sample``.

    Returns:
        int64 of the broadcast shape.
    """
    return replayable_bits(purpose_number(purpose), sample, view) & _NOT_NEGATIVE


@cache
def purpose_number(name: str) -> int:
    """Return a 64-bit number for a name, so that draws for different purposes are independent."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _signed(value: int) -> int:
    """Return the signed integer with the same 64 bits, as int64 tensors hold it."""
    return value - _BITS_64 if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _scramble(bits: Tensor) -> Tensor:
    """Apply the finaliser of SplitMix64 to int64, in place.

    ``>>`` keeps the sign of int64, so each shift is masked to be a logical one.
    """
    bits.bitwise_xor_((bits >> 30).bitwise_and_((1 << 34) - 1)).mul_(_FIRST)
    bits.bitwise_xor_((bits >> 27).bitwise_and_((1 << 37) - 1)).mul_(_SECOND)
    return bits.bitwise_xor_((bits >> 31).bitwise_and_((1 << 33) - 1))
