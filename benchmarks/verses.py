"""Write the verses of the King James Version as a CSV file, for the studies of docs/results.

``python benchmarks/verses.py king_james.txt.gz verses.csv``; lines of the input are
``Ge1:1 In the beginning ...``. The columns are the verse, its book (66), the section of its book
(8) and its chapter, for ``data.group=chapter``: neighbouring verses tell one story.
"""

import argparse
import csv
import gzip
import re
from itertools import groupby
from pathlib import Path

LINE = re.compile(r"(?P<book>[1-3]?[A-Za-z]+)(?P<chapter>\d+):\d+ (?P<verse>.+)")
SECTIONS = {
    "law": 5,
    "history": 12,
    "poetry": 5,
    "major prophets": 5,
    "minor prophets": 12,
    "gospels and Acts": 5,
    "letters": 21,
    "Revelation": 1,
}
"""Number of books of each section, in the order of the books."""


def rows(lines: list[str]) -> list[dict[str, str]]:
    """Return verse, book, section and chapter of each line."""
    matches = [LINE.fullmatch(line.strip()) for line in lines]
    verses = [match for match in matches if match is not None]

    sections = [name for name, books in SECTIONS.items() for _ in range(books)]
    books = [book for book, _ in groupby(match["book"] for match in verses)]
    if len(books) != len(sections):
        raise SystemExit(f"expected {len(sections)} books in their order, got {len(books)}")
    section = dict(zip(books, sections, strict=True))

    return [
        {
            "verse": match["verse"],
            "book": match["book"],
            "section": section[match["book"]],
            "chapter": match["book"] + match["chapter"],
        }
        for match in verses
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="the verses, one per line, gzipped")
    parser.add_argument("csv", type=Path, help="the file to write")
    options = parser.parse_args()

    with gzip.open(options.text, "rt", encoding="utf-8") as file:
        verses = rows(file.readlines())
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["verse", "book", "section", "chapter"])
        writer.writeheader()
        writer.writerows(verses)
    print(f"{options.csv}: {len(verses):,} verses")


if __name__ == "__main__":
    main()
