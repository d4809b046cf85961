"""Code blocks of the documentation, read from its Markdown source."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>.*)$")
_LANGUAGE = re.compile(r"^(\{code-block\} *)?(?P<language>[\w-]*)$")
_CAPTION = re.compile(r"^:caption: (?P<file>.+)$")
_SLOW = re.compile(r"^<!-- slow: .+ -->$")


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Args:
        page: Markdown file that holds the block.
        line: Line number of the first line of code, from 1.
        language: Language of the fence, such as ``python`` or ``bash``.
        code: Text of the block without its indentation.
        file: Name of the file that the block shows (its ``:caption:``), or None.
        is_slow: Whether a comment above the block marks it as slow.
    """

    page: Path
    line: int
    language: str
    code: str
    file: str | None
    is_slow: bool


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its first two rows."""
    text = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    table = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    assert table, heading
    lines = table[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def guide() -> list[Path]:
    """Return the pages written by hand; results and the log only quote commands that once ran."""
    pages = sorted(DOCS.rglob("*.md"))
    records = {DOCS / "results", DOCS / "_build"}
    return [page for page in pages if not records & set(page.parents) and page.name != "log.md"]


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the code blocks of a page in the given languages, in order."""
    return [block for block in _blocks(page) if block.language in languages]


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    is_slow = False
    number = 0
    while number < len(lines):
        comment = _SLOW.match(lines[number].strip())
        fence = _FENCE.match(lines[number])
        number += 1
        if comment:
            is_slow = True
        elif fence:
            end = _end(lines, number, fence["ticks"])
            yield _block(page, lines[number:end], number + 1, fence, is_slow=is_slow)
            number, is_slow = end + 1, False
        elif lines[number - 1].strip():
            is_slow = False


def _end(lines: list[str], start: int, ticks: str) -> int:
    for number in range(start, len(lines)):
        if lines[number].strip() == ticks:
            return number
    raise AssertionError(f"the code block before line {start} has no end")


def _block(
    page: Path, lines: list[str], line: int, fence: re.Match[str], *, is_slow: bool
) -> Block:
    language = _LANGUAGE.match(fence["info"].strip())
    file = None
    while lines and lines[0].strip().startswith(":"):
        caption = _CAPTION.match(lines[0].strip())
        file = caption["file"] if caption else file
        lines, line = lines[1:], line + 1
    indent = len(fence["indent"])
    code = "\n".join(text[indent:] for text in lines)
    name = language["language"] if language else fence["info"].strip()
    return Block(page, line, name, code, file, is_slow)


def commands(code: str) -> list[list[str]]:
    """Return the words of each command of a shell block, without comments and variables."""
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [_without_variables(line) for line in words if line]


def _without_variables(words: list[str]) -> list[str]:
    first = next(number for number, word in enumerate(words) if "=" not in word)
    return words[first:]
