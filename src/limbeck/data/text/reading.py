"""Reading and checking of one text file in UTF-8, plain or gzipped."""

import codecs
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from limbeck._base.errors import DataError
from limbeck._base.reading import decompress
from limbeck._base.runtime.files import open_file
from limbeck._base.signals import check_interrupt
from limbeck.data.text.long_text import TextPart, version_of

CHUNK = 1 << 20
"""Number of bytes that are checked at once."""
_GZIP = b"\x1f\x8b"


def read_part(path: Path, *, in_memory: bool = True) -> TextPart:
    """Read and check a text file in UTF-8, without a byte order mark.

    Args:
        path: Path of the file, gzipped or not, as detected from its content.
        in_memory: Whether the text stays in memory. That of a gzipped file does in any case.

    Raises:
        DataError: If the file is missing, damaged or not text in UTF-8.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise DataError(f"{path} is neither a file nor a folder; expected a text.")
        with open_file(path) as file:
            version = version_of(file.fileno())
            is_gzip = file.peek(2)[:2] == _GZIP
            if in_memory or is_gzip:
                content = file.read()
                return _check_content(decompress(content) if is_gzip else content, path)
            check = TextCheck(path)
            for chunk in _chunks_of(file):
                check.add(chunk)
            check.finish()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged ({error}). Download it again.") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    size = check.size - check.offset
    digest = check.digest.digest()
    return TextPart(size, digest, check.is_blank, None, path, check.offset, version)


def _chunks_of(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        check_interrupt()
        yield chunk


def _check_content(content: bytes, path: Path) -> TextPart:
    """Check a text in memory."""
    check = TextCheck(path)
    for first in range(0, len(content), CHUNK):
        check.add(content[first : first + CHUNK])
    check.finish()
    content = content.removeprefix(codecs.BOM_UTF8)
    return TextPart(len(content), check.digest.digest(), check.is_blank, content)


class TextCheck:
    """Check that bytes are valid UTF-8 without NUL characters.

    Args:
        path: Path of the file, for messages.

    Attributes:
        size: Number of bytes so far.
        offset: Number of bytes of a byte order mark.
        digest: SHA-256 of the text without it.
        is_blank: Whether it is only white space so far.
    """

    def __init__(self, path: Path):
        self.path = path
        self.size = self.offset = 0
        self.digest = hashlib.sha256()
        self.is_blank = True
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def add(self, chunk: bytes) -> None:
        """Check the next bytes; the first ones are at least three, unless there are no more.

        Raises:
            DataError: If they are not UTF-8, or contain NUL characters.
        """
        text = chunk
        if self.size == 0:
            if chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise DataError(
                    f"{self.path} is text in UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 "
                    "-t UTF-8 FILE > NEW."
                )
            text = chunk.removeprefix(codecs.BOM_UTF8)
            self.offset = len(chunk) - len(text)
        if (offset := chunk.find(0)) >= 0:
            raise DataError(
                f"{self.path} is not text: byte {self.size + offset:,} is 0, as in binary files. "
                "Choose a text file in UTF-8."
            )
        self._decode(chunk, final=False)
        self.size += len(chunk)
        self.digest.update(text)
        self.is_blank = self.is_blank and (not text or text.isspace())

    def finish(self) -> None:
        """Check that no character is cut off at the end.

        Raises:
            DataError: If one is.
        """
        self._decode(b"", final=True)

    def _decode(self, chunk: bytes, *, final: bool) -> None:
        pending = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(chunk, final=final)
        except UnicodeDecodeError as error:
            offset = self.size - pending + error.start
            raise DataError(
                f"{self.path} is not text in UTF-8: byte {offset:,} is "
                f"0x{error.object[error.start]:02x} ({error.reason}). If it is text in another "
                "encoding, convert it: iconv -f LATIN1 -t UTF-8 FILE > NEW."
            ) from None
