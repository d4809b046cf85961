"""The forms in which people have images: rows of a table of the docs, with a test for each."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "own-images.md"
TESTS = [
    ROOT / "tests" / "data" / "images" / f"test_{name}.py" for name in ("forms", "table_forms")
]


def form(row):
    """Mark the test of a row of the table, by the first cell of the row."""
    return lambda test: test


def rows_with_tests():
    """The rows that have a test, in the order of the tests."""
    source = "".join(file.read_text(encoding="utf-8") for file in TESTS)
    return re.findall(r'^@form\("(.*)"\)$', source, re.MULTILINE)


def rows_of_docs():
    """The first cells of the table in the docs."""
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition("## What is read")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
