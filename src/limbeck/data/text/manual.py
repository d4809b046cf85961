"""The help topics that ship with Python, as paragraphs with their topic."""

import re
from collections import Counter

from limbeck._base.errors import DataError

MIN_WORDS, MAX_CHARACTERS, MIN_PARAGRAPHS = 6, 250, 25
"""Smallest number of words and largest number of characters of a paragraph; smallest topic."""
_WORDS = re.compile(r"\w+")
_BLANK_LINE = re.compile(r"\n\s*\n")


def read_topics() -> dict[str, str]:
    """Return the texts that ``help('LAMBDAS')`` shows, by topic.

    Raises:
        DataError: If this Python lacks them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "This Python lacks its manual (pydoc_data.topics). Choose a text with data.path=FILE."
        ) from None
    return topics


def manual_paragraphs() -> list[tuple[str, str]]:
    """Return the paragraphs of the manual's longer topics, each with its topic.

    Paragraphs that several topics have in common are left out.
    """
    topics = {name: _paragraphs(text) for name, text in sorted(read_topics().items())}
    counts = Counter(words for texts in topics.values() for words in set(map(_words_of, texts)))
    rows = []
    for name, texts in topics.items():
        own = [text for text in dict.fromkeys(texts) if counts[_words_of(text)] == 1]
        if len(own) >= MIN_PARAGRAPHS:
            rows += [(text, name) for text in own]
    return rows


def _paragraphs(text: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in _BLANK_LINE.split(text)]
    short = [part for part in paragraphs if len(part) <= MAX_CHARACTERS]
    return [part for part in short if part.count(" ") + 1 >= MIN_WORDS]


def _words_of(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))
