"""Lists of texts, of which many are in a temporary file instead of in memory."""

import json
import math
import tempfile
from array import array
from collections.abc import Sequence
from typing import IO, overload

import numpy as np

from limbeck._base.errors import ResourceError, shortage_error
from limbeck._base.mapped_memory import SHARE, available_memory
from limbeck.data.text.tokenizer import Text

OBJECT_BYTES = 64
"""Approximate size of an empty string in memory."""


class TextList(Sequence[Text]):
    """A list of texts, or of pairs of them, that moves to a temporary file when it is large.

    Args:
        in_memory: Whether the texts stay in memory; None for at most a quarter of the available
            memory.
    """

    def __init__(self, *, in_memory: bool | None = None):
        self._texts: list[Text] = []
        self._file: IO[bytes] | None = None
        self._ends = array("q", [0])
        self._size = 0
        self._most = math.inf if in_memory else 0.0
        if in_memory is None:
            self._most = SHARE * available_memory()

    @property
    def is_on_disk(self) -> bool:
        """Whether the texts are in a temporary file."""
        return self._file is not None

    def append(self, text: Text) -> None:
        """Add a text.

        Raises:
            ResourceError: If the temporary file cannot be written.
        """
        if self._file is not None:
            self._write([text])
            return
        self._texts.append(text)
        self._size += sum(OBJECT_BYTES + len(part) for part in text)
        if self._size > self._most:
            self._write(self._texts)
            self._texts = []

    def _write(self, texts: Sequence[Text]) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the list
            for text in texts:
                content = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
                self._file.write(content)
                self._ends.append(self._ends[-1] + len(content))
        except OSError as error:
            raise shortage_error(error) or ResourceError(
                f"The texts cannot be written to a temporary file ({error.strerror or error}). "
                "Name another folder with TMPDIR=DIR, or set data.in_memory=true."
            ) from None

    def __len__(self) -> int:
        return len(self._texts) if self._file is None else len(self._ends) - 1

    @overload
    def __getitem__(self, number: int) -> Text: ...

    @overload
    def __getitem__(self, number: slice) -> list[Text]: ...

    def __getitem__(self, number: int | slice) -> Text | list[Text]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if self._file is None:
            return self._texts[number]
        if not 0 <= number < len(self):
            raise IndexError(number)
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return tuple(json.loads(self._file.read(end - start).decode("utf-8", "surrogatepass")))


class Selection(Sequence[Text]):
    """Some texts of a list, in an order of their own.

    Args:
        texts: List of texts.
        rows: Numbers of the texts in the list.
    """

    def __init__(self, texts: Sequence[Text], rows: Sequence[int] | np.ndarray):
        self._texts, self._rows = texts, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, number: int) -> Text: ...

    @overload
    def __getitem__(self, number: slice) -> list[Text]: ...

    def __getitem__(self, number: int | slice) -> Text | list[Text]:
        if isinstance(number, slice):
            return [self._texts[row] for row in self._rows[number]]
        return self._texts[self._rows[number]]
