"""Made-up reviews with one class each, for datasets of texts."""

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

GOOD = ["fine", "great", "superb", "warm", "bright", "clever"]
BAD = ["poor", "dull", "awful", "cold", "weak", "broken", "slow"]
FILLER = ["the", "film", "was", "a", "story", "about", "friends", "and", "dogs", "in", "town"]
Row = tuple[str, str]


def make_reviews(count: int, seed: int = 0) -> list[Row]:
    """Return texts that differ from each other, with the labels ``good`` and ``bad`` in turn."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        words = [draw.choice(FILLER) for _ in range(draw.randint(3, 12))]
        words += draw.choices(GOOD if number % 2 else BAD, k=2)
        draw.shuffle(words)
        rows.append((f"{' '.join(words)} {number}", "good" if number % 2 else "bad"))
    return rows


def write_csv(
    file: Path, rows: Iterable[Sequence[str]], header: Sequence[str] = ("text", "label")
) -> Path:
    """Write a CSV file, and return its path."""
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file
