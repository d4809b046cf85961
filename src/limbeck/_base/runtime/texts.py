"""Texts as inputs of a model: from the command line, text files and CSV files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .cells import list_some
from .errors import SHORTAGES, InputError, RuntimeFailure, one_line
from .files import open_file
from .samples import Sample
from .table_rows import open_table, rows_with_id
from .tokenizer import Encode

TEXT_SUFFIX = ".txt"
"""Suffix of files that contain one text."""
MAX_TEXT_FILE_BYTES = 64 << 20
MULTIPLE = 8
"""Lengths of batches of texts are multiples of it."""


def read_text_file(file: Path) -> str:
    """Read a file that contains one text in UTF-8.

    Raises:
        InputError: If it cannot be read, is too large or is no text.
    """
    try:
        with open_file(file) as stream:
            content = stream.read(MAX_TEXT_FILE_BYTES + 1)
        if len(content) > MAX_TEXT_FILE_BYTES:
            raise ValueError(f"larger than {MAX_TEXT_FILE_BYTES >> 20} MiB")
        return content.decode("utf-8-sig").strip()
    except FileNotFoundError:
        raise InputError(f"{file} (missing)") from None
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        raise InputError(f"{file} ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{file} (no text in UTF-8: {one_line(error)})") from None


def read_texts(
    texts: Sequence[str],
    files: Sequence[Path],
    columns: Sequence[str],
    encode: Encode,
    id_column: str | None = None,
) -> Iterator[Sample]:
    """Encode texts, files of one text each (``.txt``) and the rows of CSV files.

    Args:
        texts: Texts of the command line, each a sample.
        files: Files to read.
        columns: Name of the column of the texts, or names of two columns of pairs.
        encode: Function from a text, or the texts of a pair, to token ids.
        id_column: Column of the names of the samples; None for none. A file may lack it.

    Raises:
        InputError: If a table is damaged or lacks a column.
        RuntimeFailure: If the model reads pairs, and there is a single text.
    """
    singles = [file for file in files if file.suffix.lower() == TEXT_SUFFIX]
    if len(columns) > 1 and (texts or singles):
        raise RuntimeFailure(
            f"The model reads pairs of texts. Put them into a CSV file with the columns "
            f"{list_some(columns)}."
        )
    tables = {file: open_table(file, columns) for file in files if file not in singles}
    for number, text in enumerate(texts, 1):
        yield _encode_sample([text], Path("text"), number, encode)
    for file in files:
        if file in tables:
            for line, cells, name in rows_with_id(tables[file], columns, id_column):
                yield _encode_sample(cells, file, line, encode)._replace(id=name)
            continue
        try:
            text = read_text_file(file)
        except InputError as error:
            yield Sample(file, None, None, str(error))
        else:
            yield _encode_sample([text], file, None, encode)


def _encode_sample(parts: Sequence[str], file: Path, line: int | None, encode: Encode) -> Sample:
    """Encode one text, or a pair."""
    place = str(file) if line is None else f"{file}, line {line}"
    try:
        if not all(part.strip() for part in parts):
            raise ValueError("an empty text")
        ids = encode([part.encode("utf-8", "replace").decode() for part in parts])
        if not ids:
            raise ValueError("the tokenizer finds no token in it")
        return Sample(file, line, np.array(ids, np.int32), "")
    except ValueError as error:
        return Sample(file, line, None, f"{place} ({one_line(error)})")


def pad_texts(arrays: Sequence[np.ndarray], length: int, padding: int) -> np.ndarray:
    """Stack token ids to a batch, padded to the longest text.

    Args:
        arrays: Token ids of each text, ``[T]``.
        length: Largest number of tokens of a text.
        padding: Token id of the padding.

    Returns:
        Token ids, int32 ``[N, T]``.
    """
    longest = max(map(len, arrays))
    width = min(length, -(-longest // MULTIPLE) * MULTIPLE)
    rows = np.full((len(arrays), width), padding, np.int32)
    for row, ids in zip(rows, arrays, strict=True):
        row[: len(ids)] = ids
    return rows
