"""A text of one or several files, of which a large one is read from the disk piece by piece."""

import bisect
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from limbeck._base.errors import DataError
from limbeck._base.runtime.files import open_file

SEPARATOR = b"\n\n"
PIECE_BYTES = 1 << 22
"""Number of bytes that are read at once."""


@dataclass(frozen=True)
class TextPart:
    """The text of a file, in UTF-8.

    Attributes:
        size: Number of bytes.
        digest: SHA-256 of the text; empty if it is not needed.
        is_blank: Whether it is only white space.
        content: The text; None if it stays on the disk.
        path: Path of its file; None if there is none.
        offset: Number of bytes in the file before the text.
        version: Size and time of the last change of the file.
    """

    size: int
    digest: bytes = b""
    is_blank: bool = False
    content: bytes | None = None
    path: Path | None = None
    offset: int = 0
    version: tuple[int, int] | None = None

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Create a part from a text in memory."""
        return cls(len(content), content=content)

    def read(self, first: int, last: int) -> bytes:
        """Return the bytes from ``first`` to ``last``.

        Raises:
            DataError: If the file has changed since it was checked, or cannot be read.
        """
        if self.content is not None:
            return self.content[first:last]
        assert self.path is not None
        try:
            with open_file(self.path) as file:
                has_changed = version_of(file.fileno()) != self.version
                file.seek(self.offset + first)
                content = file.read(last - first)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{self.path} cannot be read ({reason}).") from None
        if has_changed or len(content) < last - first:
            raise DataError(f"{self.path} was changed while it was read. Start again.")
        return content


def version_of(descriptor: int) -> tuple[int, int]:
    """Return the size of an open file and the time of its last change."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


class LongText:
    """The text of several files, with a blank line between them.

    Args:
        parts: Text of each file; empty ones are left out.
    """

    def __init__(self, parts: Sequence[TextPart]):
        self._parts: list[TextPart] = []
        for part in parts:
            if part.size:
                self._parts += [TextPart.of(SEPARATOR), part] if self._parts else [part]
        self._starts = [0, *itertools.accumulate(part.size for part in self._parts)]

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Create a text from bytes in memory."""
        return cls([TextPart.of(content)])

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def is_blank(self) -> bool:
        """Whether it is empty, or only white space."""
        return all(part.is_blank or part.content == SEPARATOR for part in self._parts)

    def read(self, first: int = 0, last: int | None = None) -> bytes:
        """Return the bytes from ``first`` to ``last``; None for the end.

        Raises:
            DataError: If a file has changed since it was checked, or cannot be read.
        """
        last = len(self) if last is None else min(last, len(self))
        pieces = []
        number = bisect.bisect_right(self._starts, first) - 1
        while first < last:
            start, end = self._starts[number], self._starts[number + 1]
            pieces.append(self._parts[number].read(first - start, min(last, end) - start))
            first, number = end, number + 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def lines(self) -> Iterator[str]:
        """Yield the lines, without their ends.

        Raises:
            DataError: If a file has changed since it was checked, or cannot be read.
        """
        rest = b""
        for first in range(0, len(self), PIECE_BYTES):
            piece = rest + self.read(first, first + PIECE_BYTES)
            end = piece.rfind(b"\n") + 1
            yield from piece[:end].decode().splitlines()
            rest = piece[end:]
        yield from rest.decode().splitlines()


@dataclass(frozen=True)
class Segment:
    """A piece of a text.

    Attributes:
        text: The text.
        first: Number of its first byte.
        last: Number of the byte after its last one.
    """

    text: LongText
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def read(self, most: int | None = None) -> bytes:
        """Return the bytes, or the first ones.

        Args:
            most: Largest number of bytes; None for all.
        """
        last = self.last if most is None else min(self.last, self.first + most)
        return self.text.read(self.first, last)
