"""Cutting of text into segments, each of which belongs to one split."""

from collections.abc import Mapping
from itertools import pairwise

from limbeck.data.randomness import split_position
from limbeck.data.text.long_text import LongText, Segment

SEGMENTS = 100
MAX_SEGMENT_BYTES = 4 << 20
"""Number of segments of a text, unless it is short, and largest size of one: a text of more than
400 MiB has more segments, since a whole one is in memory while it is tokenised."""
BYTES_PER_POSITION = 8
"""Smallest number of bytes in a segment per position of a block, so that a segment yields 8 blocks
of bytes, or about 2 blocks of longer tokens."""
MAX_CONTINUATION = 3
"""Largest number of bytes of a character of UTF-8 after the first one."""


def cut_segments(
    texts: Mapping[str, LongText], *, block: int, val: float, test: float, split_seed: int
) -> dict[str, list[Segment]]:
    """Cut each text into segments of equal length and assign them to the splits.

    A text yields 100 segments, fewer if it is short, and more if they would have more than 4 MiB.

    Args:
        texts: Text of each split in UTF-8: ``train``, and ``val`` and ``test`` unless they are
            cut from ``train``.
        block: Number T of tokens in a sample.
        val: Share of the segments of ``train`` for validation; at least one segment.
        test: Share of the segments of ``train`` for the test; at least one segment.
        split_seed: Seed of the splits.

    Returns:
        Segments of ``train``, ``val`` and ``test``, in the order of the text.
    """
    shares = {"test": test, "val": val}
    missing = [part for part in shares if part not in texts]
    segments = {}
    for part, text in texts.items():
        minimum = 1 + len(missing) if part == "train" else 1
        segments[part] = _cut(text, block, minimum)
    whole = segments["train"]
    order = sorted(range(len(whole)), key=lambda number: split_position(str(number), split_seed))
    part_of = dict.fromkeys(order, "train")
    for position, part in enumerate(missing, 1):
        reserved = 1 + len(missing) - position  # one for training and for each later split
        count = min(max(1, round(shares[part] * len(whole))), len(order) - reserved)
        part_of |= dict.fromkeys(order[:count], part)
        order = order[count:]
    for part in ("train", *missing):
        segments[part] = [piece for number, piece in enumerate(whole) if part_of[number] == part]
    return {part: segments[part] for part in ("train", "val", "test")}


def _cut(text: LongText, block: int, minimum: int) -> list[Segment]:
    """Cut a text into at least ``minimum`` segments of equal length, to within a character."""
    usual = min(SEGMENTS, len(text) // (BYTES_PER_POSITION * block))
    count = max(minimum, usual, -(-len(text) // MAX_SEGMENT_BYTES))
    bounds = [_next_character(text, number * len(text) // count) for number in range(count + 1)]
    return [Segment(text, first, last) for first, last in pairwise(bounds)]


def _next_character(text: LongText, position: int) -> int:
    """Return the offset of the next character, skipping continuation bytes of UTF-8."""
    following = text.read(position, position + MAX_CONTINUATION)
    for byte in following:
        if byte & 0xC0 != 0x80:
            break
        position += 1
    return position
