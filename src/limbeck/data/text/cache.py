"""Cache of tokens: blocks in a memory-mapped file, keyed by text, tokenizer and block size.

A file has one row of ``block + 1`` tokens for each block: those of the training split first, then
validation and test. The first ``block`` tokens of a row are the inputs and the last ``block`` the
labels, so both are views of it.
"""

import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor

from limbeck._base import cache
from limbeck._base.errors import SHORTAGES, DataError, LimbeckWarning, ResourceError
from limbeck._base.mapped_memory import MAPPED_FILES, fits_memory
from limbeck._base.open_folder import OpenFolder, PlantedFileError
from limbeck._base.progress import StageProgress
from limbeck.data.text.library_tokenizer import BPETokenizer
from limbeck.data.text.long_text import Segment
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.data.text.training import train_bpe

_OTHER_FOLDER = "Set another folder with data.cache=DIR"

FORMAT = 1
HEADER_BYTES = 512
SLOW = 1 << 23
"""Smallest size of a text, in bytes, for which progress is shown (about two seconds of work)."""
_SAMPLE = 1 << 16
_PART_BYTES = 1 << 24
_LOSSY = (
    "Bits per byte need a lossless tokenizer: a byte-level one, or data.tokenizer=bytes or bpe. "
    "A tokenizer that normalises characters loses information."
)
Content = TypeVar("Content")
Segments = Mapping[str, Sequence[Segment]]
"""Segments of text by split; no block crosses the boundary between two segments."""
Write = Callable[[BinaryIO], object]
Parse = Callable[[np.ndarray], Content]


class DamagedError(Exception):
    """A file of the cache is damaged, and has to be computed again."""


class TokenCache:
    """A folder of trained tokenizers and of tokens.

    If the folder cannot be written to, both stay in memory, with a warning, unless the tokens are
    too large for it.

    Args:
        folder: Folder of the cache; None for the default one.
        in_memory: Whether tokens stay in memory; None to decide by their size.
    """

    def __init__(self, folder: str | Path | None = None, *, in_memory: bool | None = None):
        self.in_memory = in_memory
        self.folder: Path | None = None
        if folder is not None:
            self.folder = Path(folder).expanduser()
            return
        try:
            self.folder = cache.TOKENS.default_folder
        except ResourceError:
            _warn("There is no home folder for the tokens", stacklevel=5)

    def load_or_train_bpe(self, segments: Segments, vocabulary: int) -> BPETokenizer:
        """Train a byte-level BPE on the training split, or load it from the cache.

        See :func:`limbeck.data.text.training.train_bpe`.

        Warns:
            LimbeckWarning: If the text gives fewer entries than ``vocabulary``.
        """
        training = segments["train"]
        description = [FORMAT, "bpe", vocabulary, _digest_of({"train": training})]

        def write(file: BinaryIO) -> None:
            total = sum(map(len, training))
            progress = StageProgress(enabled=total >= SLOW)
            with progress.stage("training the tokenizer", total) as advance:
                tokenizer = train_bpe(_texts(training, advance), vocabulary)
            write_tokenizer(file, tokenizer)

        tokenizer = self.entry(f"{_key(description)}.bpe", write, parse_tokenizer)
        if tokenizer.size < vocabulary:
            warnings.warn(
                f"The training text yields a vocabulary of {tokenizer.size:,} tokens, fewer than "
                f"data.vocabulary={vocabulary}.",
                LimbeckWarning,
                stacklevel=5,
            )
        return tokenizer

    def blocks(
        self, segments: Segments, tokenizer: Tokenizer, block: int, where: str
    ) -> dict[str, Tensor]:
        """Return the blocks of each split with their next token, int32 ``[N, block + 1]``.

        A segment of n tokens gives floor((n - 1) / block) blocks. The remaining tokens are left
        out, so there is no padding and no block crosses the end of a segment.

        Args:
            segments: Segments of the text by split.
            tokenizer: Lossless tokenizer.
            block: Number of tokens of a sample, T.
            where: Origin of the text, for messages.

        Raises:
            DataError: If the tokenizer does not reproduce the text, or a split has no block.
        """
        description = [FORMAT, "blocks", block, tokenizer.digest, _digest_of(segments)]
        return self.entry(
            f"{_key(description)}.tokens",
            lambda file: _write_blocks(file, segments, tokenizer, block, where),
            lambda content: _parse_blocks(content, block),
            size=sum(len(piece) for pieces in segments.values() for piece in pieces),
        )

    def entry(self, name: str, write: Write, parse: Parse[Content], *, size: int = 0) -> Content:
        """Return the content of a file in the folder, after writing it if necessary.

        Args:
            name: Name of the file, which contains a digest of what it is made from.
            write: Function that writes the content to an open file.
            parse: Function from the bytes of the file to its content; raises a
                :class:`DamagedError` if they are damaged.
            size: Least number of bytes that the content may take.

        Raises:
            ResourceError: If the file cannot be written, and the content should not or could not
                stay in memory instead.
        """
        if self.folder is not None:
            try:
                return _read_or_write(self.folder / name, write, parse, self.in_memory)
            except OSError as error:
                reason = f"{self.folder} cannot hold the tokens ({error.strerror or error})"
                _, advice = SHORTAGES.get(error.errno or 0, ("", _OTHER_FOLDER))
                if self.in_memory is False or not fits_memory(size):
                    raise ResourceError(
                        f"{reason}, which do not fit into memory. {advice}."
                    ) from None
                _warn(reason, advice, stacklevel=6)
                self.folder = None
        memory = io.BytesIO()
        write(memory)
        return parse(np.frombuffer(memory.getbuffer(), np.uint8))


def _warn(reason: str, advice: str = _OTHER_FOLDER, *, stacklevel: int) -> None:
    warnings.warn(
        f"{reason}. They stay in memory, and the next run computes them again. {advice}.",
        LimbeckWarning,
        stacklevel=stacklevel,
    )


def _read_or_write(
    path: Path, write: Write, parse: Parse[Content], in_memory: bool | None
) -> Content:
    def read(folder: OpenFolder) -> Content | None:
        try:
            with folder.read(path.name) as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return None
                content = MAPPED_FILES.map(file, in_memory=in_memory, path=path)
                return parse(np.frombuffer(content, np.uint8))
        except (FileNotFoundError, PlantedFileError, DamagedError):
            return None

    def write_file(folder: OpenFolder) -> None:
        if folder.contains(path.name):
            StageProgress().say(f"{path} is damaged and will be computed again.")
        folder.replace(path.name, write)

    def remove_leftovers(folder: OpenFolder) -> None:
        folder.remove_temporary_files(path.name)

    return cache.read_or_write(path.parent, path.name, read, write_file, remove_leftovers)


def _key(description: Sequence[object]) -> str:
    return cache.key_of(json.dumps(description))


def _digest_of(segments: Segments) -> str:
    """Compute the SHA-256 of the segments: their splits, lengths and bytes."""
    digest = hashlib.sha256()
    for part, pieces in segments.items():
        for piece in pieces:
            digest.update(f"{part} {len(piece)} ".encode())
            digest.update(piece.read())
    return digest.hexdigest()


def _texts(pieces: Sequence[Segment], advance: Callable[[int], object]) -> Iterator[str]:
    """Yield the segments as text, and report the bytes read."""
    done = 0
    for piece in pieces:
        yield piece.read().decode()
        done += len(piece)
        advance(done)


def write_tokenizer(file: BinaryIO, tokenizer: BPETokenizer) -> None:
    """Write a tokenizer with its checksum."""
    content = tokenizer.definition.encode()
    file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def parse_tokenizer(content: np.ndarray) -> BPETokenizer:
    """Return the tokenizer in a file of the cache.

    Raises:
        DamagedError: If it is damaged.
    """
    digest, _, definition = content.tobytes().partition(b"\n")
    if hashlib.sha256(definition).hexdigest().encode() != digest:
        raise DamagedError
    try:
        return BPETokenizer(definition)
    except DataError:  # another version of the library wrote it
        raise DamagedError from None


def _write_blocks(
    file: BinaryIO, segments: Segments, tokenizer: Tokenizer, block: int, where: str
) -> None:
    """Write header and rows, with one segment at a time in memory."""
    digest = hashlib.sha256()
    rows = dict.fromkeys(segments, 0)
    longest = dict.fromkeys(segments, 0)
    total = sum(len(piece) for pieces in segments.values() for piece in pieces)
    tokens = done = 0
    _check_sample(segments["train"][0], tokenizer, where)
    file.write(bytes(HEADER_BYTES))
    progress = StageProgress(enabled=total >= SLOW)
    with progress.stage(f"tokenising {total:,} bytes", total) as advance:
        for part, pieces in segments.items():
            for piece in pieces:
                ids = _encode(piece, tokenizer, where)
                blocks = _rows(ids, block)
                content = blocks.astype("<i4").tobytes()
                file.write(content)
                digest.update(content)
                rows[part] += len(blocks)
                longest[part] = max(longest[part], len(ids))
                tokens += len(ids)
                done += len(piece)
                advance(done)
    _check_rows(rows, longest, tokens, block, where)
    file.seek(0)
    file.write(_header(list(rows.values()), block, digest))


def _rows(ids: np.ndarray, block: int) -> np.ndarray:
    """Cut a segment into blocks with their next token: ``[(n - 1) // block, block + 1]``."""
    count = max(0, (len(ids) - 1) // block)
    inputs = ids[: count * block].reshape(count, block)
    following = ids[block::block][:count, None]
    return np.concatenate([inputs, following], axis=1)


def _header(rows: Sequence[int], block: int, digest: Any) -> bytes:
    """Create the header: padded JSON with a digest of the tokens and the other entries."""
    whole = digest.copy()
    whole.update(json.dumps([FORMAT, block, *rows]).encode())
    content = {"format": FORMAT, "block": block, "rows": list(rows), "sha256": whole.hexdigest()}
    return json.dumps(content).encode().ljust(HEADER_BYTES)


def _parse_blocks(content: np.ndarray, block: int) -> dict[str, Tensor]:
    """Return the rows of each split, after checking their digest."""
    header, body = content[:HEADER_BYTES].tobytes(), content[HEADER_BYTES:]
    try:
        train, val, test = (int(number) for number in json.loads(header)["rows"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise DamagedError from None
    if len(body) != 4 * (block + 1) * (train + val + test):
        raise DamagedError
    if _header([train, val, test], block, digest_of_map(body)) != header:
        raise DamagedError
    rows = torch.from_numpy(body.view("<i4").reshape(-1, block + 1))
    parts = rows.split([train, val, test])
    return dict(zip(("train", "val", "test"), parts, strict=True))


def digest_of_map(content: np.ndarray) -> "hashlib._Hash":
    """Return the SHA-256 of bytes that may be mapped from a file, and need not stay in memory."""
    digest = hashlib.sha256()
    for first in range(0, len(content), _PART_BYTES):
        digest.update(content[first : first + _PART_BYTES].data)
        MAPPED_FILES.release()
    return digest


def _encode(piece: Segment, tokenizer: Tokenizer, where: str) -> np.ndarray:
    """Encode a segment, and check that the tokens cover all of its bytes."""
    ids = tokenizer.encode(piece.read().decode())
    surplus = int(tokenizer.lengths[ids].sum()) - len(piece)
    # Some tokenizers add a space before a text. It does not matter, since the first token is never
    # a label.
    if surplus not in (0, 1):
        raise DataError(
            f"{where}: a segment of {len(piece):,} bytes became tokens of "
            f"{len(piece) + surplus:,} bytes. {_LOSSY}"
        )
    return ids


def _check_sample(piece: Segment, tokenizer: Tokenizer, where: str) -> None:
    sample = piece.read(_SAMPLE).decode(errors="ignore")
    decoded = tokenizer.decode(tokenizer.encode(sample))
    if decoded in (sample, f" {sample}"):  # see _encode
        return
    same = 0
    while same < len(decoded) and sample[same] == decoded[same]:
        same += 1
    raise DataError(
        f"{where}: the tokenizer does not reproduce the text: {sample[same : same + 20]!r} became "
        f"{decoded[same : same + 20]!r}. {_LOSSY}"
    )


def _check_rows(
    rows: Mapping[str, int], longest: Mapping[str, int], tokens: int, block: int, where: str
) -> None:
    """Check that every split has a block."""
    empty = [part for part, count in rows.items() if count == 0]
    if not empty:
        return
    max_block = min(longest.values()) - 1
    remedy = "Provide more text."
    if max_block >= 1:
        remedy = f"Set data.block={max_block} or lower, or provide more text."
    raise DataError(
        f"{where}: {tokens:,} tokens are too few for blocks of data.block={block} and the "
        f"following token in every split; {empty[0]} has no segment of {block + 1} tokens. {remedy}"
    )
