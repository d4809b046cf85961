"""A text cut into stretches, each of which belongs to one split as a whole."""

from collections.abc import Mapping
from itertools import pairwise

from limbeck.data.images.cache import place

MOST_STRETCHES = 100
BYTES_A_POSITION = 8
"""A stretch has so many bytes at least for each position of a block: 8 blocks of bytes, about 2 of
longer tokens.
"""


def stretches_of(
    texts: Mapping[str, bytes], *, block: int, val: float, test: float, split_seed: int
) -> dict[str, list[memoryview]]:
    """Cut texts into 100 stretches of equal length each, fewer where they are short, and give these
    to the splits.

    Args:
        texts: UTF-8, by split: ``train``, and ``val`` and ``test`` unless these are to be cut from
            it.
        block: T, tokens of a sample.
        val: share of the stretches of ``train`` for validation, at least one.
        test: share of them for the test, at least one.
        split_seed: which ones.

    Returns:
        The stretches of ``train``, ``val`` and ``test``, in the order of the text; no bytes are
        copied.
    """
    missing = {part: share for part, share in (("test", test), ("val", val)) if part not in texts}
    cut = {
        part: _cut(text, block, 1 + len(missing) * (part == "train"))
        for part, text in texts.items()
    }
    count, split = len(cut["train"]), dict(cut)
    order = sorted(range(count), key=lambda number: place(str(number), split_seed))
    side = dict.fromkeys(order, "train")
    for done, (part, share) in enumerate(missing.items(), 1):
        waiting = len(missing) - done  # each of them needs a stretch, and so does training
        number = min(max(1, round(share * count)), len(order) - 1 - waiting)
        side |= dict.fromkeys(order[:number], part)
        order = order[number:]
    for part in ("train", *missing):
        split[part] = [piece for number, piece in enumerate(cut["train"]) if side[number] == part]
    return {part: split[part] for part in ("train", "val", "test")}


def _cut(text: bytes, block: int, least: int) -> list[memoryview]:
    """A text in stretches of equal length, to a character."""
    count = max(least, min(MOST_STRETCHES, len(text) // (BYTES_A_POSITION * block)))
    seams = [_character(text, number * len(text) // count) for number in range(count + 1)]
    view = memoryview(text)
    return [view[first:last] for first, last in pairwise(seams)]


def _character(text: bytes, at: int) -> int:
    """Where the next character begins."""
    while at < len(text) and text[at] & 0xC0 == 0x80:
        at += 1
    return at
