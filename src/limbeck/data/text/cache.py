"""Tokens of a text, made once: blocks in a memory-mapped file, keyed by the text, its tokenizer and
the block.

A file has one row of ``block + 1`` tokens for each block, those of training first, then validation
and test. The first ``block`` tokens of a row are the inputs and the last ``block`` the labels, so
both are views of it.
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
from filelock import FileLock
from torch import Tensor

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck._base.files import write_atomically
from limbeck._base.progress import StageProgress
from limbeck.data.text.tokenizer import BPETokenizer, Tokenizer, train_bpe

FORMAT = 1
HEADER = 512
SLOW = 1 << 23
"""Bytes of text from which on progress is shown: what tokenizers read in about two seconds."""
_SAMPLE = 1 << 16
_LOSSY = (
    "Bits per byte need a tokenizer without loss: a byte-level one, or data.tokenizer=bytes or "
    "bpe. Tokenizers that "
    "normalise characters lose those that are not normal."
)
_Kept = TypeVar("_Kept")
Stretches = Mapping[str, Sequence[memoryview]]


def default_folder() -> Path | None:
    """``tokens`` in ``$LIMBECK_CACHE``, or ``limbeck/tokens`` in the user's cache folder; None for
    want of a home.
    """
    own, cache = os.environ.get("LIMBECK_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser() / "tokens"
    if cache and Path(cache).is_absolute():
        return Path(cache) / "limbeck" / "tokens"
    try:
        return Path.home() / ".cache" / "limbeck" / "tokens"
    except RuntimeError:
        return None


class _DamagedError(OSError):
    """A file of the cache is not what it should be."""


class TokenCache:
    """A folder of trained tokenizers and of tokens; where it cannot be written, both are kept in
    memory.

    Args:
        folder: None for the default.
    """

    def __init__(self, folder: str | Path | None = None):
        self.folder = default_folder() if folder is None else Path(folder).expanduser()
        if self.folder is None:
            self._warn("There is no home folder to keep tokens in", stacklevel=5)

    def _warn(self, what: str, *, stacklevel: int) -> None:
        self.folder = None
        warnings.warn(
            f"{what}; they stay in memory and are made again by the next run. Name another folder "
            "with data.cache=DIR.",
            LimbeckWarning,
            stacklevel=stacklevel,
        )

    def trained_tokenizer(self, stretches: Stretches, vocabulary: int) -> BPETokenizer:
        """A byte-level BPE of the training stretches, see
        :func:`limbeck.data.text.tokenizer.train_bpe`.

        Warns:
            LimbeckWarning: the text gives fewer entries.
        """
        training = stretches["train"]
        key = _digest([FORMAT, "bpe", vocabulary, _digest_of({"train": training})])

        def write(file: BinaryIO) -> None:
            total = sum(map(len, training))
            with StageProgress(enabled=total >= SLOW).stage(
                "training the tokenizer", total
            ) as advance:
                trained = train_bpe(_told(training, advance), vocabulary)
            content = trained.definition.encode()
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)

        def parse(content: np.ndarray) -> BPETokenizer:
            digest, _, definition = content.tobytes().partition(b"\n")
            if hashlib.sha256(definition).hexdigest().encode() != digest:
                raise _DamagedError("its digest is another")
            try:
                return BPETokenizer(definition)
            except DataError as error:  # one of another version of the library
                raise _DamagedError(str(error)) from None

        found = self._kept(f"{key}.bpe", write, parse)
        if found.size < vocabulary:
            warnings.warn(
                f"The training text gives a vocabulary of {found.size:,} tokens; "
                f"data.vocabulary={vocabulary} asked "
                "for more.",
                LimbeckWarning,
                stacklevel=5,
            )
        return found

    def blocks(
        self, stretches: Stretches, tokenizer: Tokenizer, block: int, where: str
    ) -> dict[str, Tensor]:
        """The blocks of each split with the token behind each, int32 ``[N, block + 1]``.

        A stretch of n tokens gives floor((n - 1) / block) blocks; what fills none is left out, so
        there is no padding and no block goes over a seam.

        Args:
            stretches: of the text, by split.
            tokenizer: has to give the text back.
            block: T, tokens of a sample.
            where: the text comes from, for messages.

        Raises:
            DataError: the tokenizer does not give the text back, or a split has no block.
        """
        key = _digest([FORMAT, "blocks", block, tokenizer.digest, _digest_of(stretches)])
        return self._kept(
            f"{key}.tokens",
            lambda file: _write_blocks(file, stretches, tokenizer, block, where),
            lambda content: _parse_blocks(content, block),
        )

    def _kept(
        self, name: str, write: Callable[[BinaryIO], object], parse: Callable[[np.ndarray], _Kept]
    ) -> _Kept:
        """What a file of the folder holds, written first if need be."""
        if self.folder is not None:
            try:
                return _file_or_new(self.folder / name, write, parse)
            except OSError as error:
                self._warn(
                    f"{self.folder} cannot hold the tokens ({error.strerror or error})",
                    stacklevel=6,
                )
        memory = io.BytesIO()
        write(memory)
        return parse(np.frombuffer(memory.getbuffer(), np.uint8))


def _file_or_new(
    path: Path, write: Callable[[BinaryIO], object], parse: Callable[[np.ndarray], _Kept]
) -> _Kept:
    """Parse a file that is whole and never changes, or write it while other processes wait."""

    def found() -> _Kept | None:
        try:
            if path.stat().st_size:
                return parse(np.memmap(path, np.uint8, mode="c"))
        except (FileNotFoundError, _DamagedError):
            pass
        return None

    def write_to(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    if (kept := found()) is not None:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # the text may be private
    with FileLock(path.with_suffix(".lock")):
        if (kept := found()) is not None:
            return kept
        if path.exists():
            StageProgress().say(f"{path} is damaged; it is made anew.")
        write_atomically(path, write_to)
    return parse(np.memmap(path, np.uint8, mode="c"))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _digest_of(stretches: Stretches) -> str:
    """SHA-256 of the stretches: their splits, their seams and their bytes."""
    found = hashlib.sha256()
    for part, pieces in stretches.items():
        for piece in pieces:
            found.update(f"{part} {len(piece)} ".encode())
            found.update(piece)
    return found.hexdigest()


def _told(pieces: Sequence[memoryview], advance: Callable[[int], object]) -> Iterator[str]:
    """The texts of some stretches, one by one, and how far it has come."""
    done = 0
    for piece in pieces:
        yield str(piece, "utf-8")
        done += len(piece)
        advance(done)


def _write_blocks(
    file: BinaryIO, stretches: Stretches, tokenizer: Tokenizer, block: int, where: str
) -> None:
    """Header and rows. One stretch at a time is in memory."""
    digest = hashlib.sha256()
    rows: dict[str, int] = {}
    longest: dict[str, int] = {}
    total = sum(len(piece) for pieces in stretches.values() for piece in pieces)
    tokens = done = 0
    _check_sample(stretches["train"][0], tokenizer, where)
    file.write(bytes(HEADER))
    with StageProgress(enabled=total >= SLOW).stage(
        f"tokenising {total:,} bytes", total
    ) as advance:
        for part, pieces in stretches.items():
            rows[part] = longest[part] = 0
            for piece in pieces:
                ids = _encode(piece, tokenizer, where)
                found = _rows(ids, block)
                content = found.astype("<i4").tobytes()
                file.write(content)
                digest.update(content)
                rows[part] += len(found)
                longest[part] = max(longest[part], len(ids))
                tokens, done = tokens + len(ids), done + len(piece)
                advance(done)
    _check_rows(rows, longest, tokens, block, where)
    file.seek(0)
    file.write(_header(list(rows.values()), block, digest))


def _rows(ids: np.ndarray, block: int) -> np.ndarray:
    """Blocks of a stretch, each with the token behind it: ``[floor((n - 1) / block), block + 1]``."""
    count = max(0, (len(ids) - 1) // block)
    inputs = ids[: count * block].reshape(count, block)
    return np.concatenate([inputs, ids[1:][block - 1 :: block][:count, None]], axis=1)


def _header(rows: Sequence[int], block: int, digest: Any) -> bytes:
    """JSON, filled with spaces; the digest of the tokens goes on over the rest of it."""
    found = digest.copy()
    found.update(json.dumps([FORMAT, block, *rows]).encode())
    content = {"format": FORMAT, "block": block, "rows": list(rows), "sha256": found.hexdigest()}
    return json.dumps(content).encode().ljust(HEADER)


def _parse_blocks(content: np.ndarray, block: int) -> dict[str, Tensor]:
    """The rows of each split, if not a bit of them has changed."""
    head, body = content[:HEADER].tobytes(), content[HEADER:]
    try:
        train, val, test = (int(number) for number in json.loads(head)["rows"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise _DamagedError("its header is none") from None
    whole = len(body) == 4 * (block + 1) * (train + val + test)
    if not whole or _header([train, val, test], block, hashlib.sha256(body.data)) != head:
        raise _DamagedError("its digest is another")
    rows = torch.from_numpy(body.view("<i4").reshape(-1, block + 1))
    return dict(zip(("train", "val", "test"), rows.split([train, val, test]), strict=True))


def _encode(piece: memoryview, tokenizer: Tokenizer, where: str) -> np.ndarray:
    """The ids of a stretch, which should stand for all its bytes."""
    ids = tokenizer.encode(str(piece, "utf-8"))
    more = int(tokenizer.lengths[ids].sum()) - len(piece)
    if more not in (
        0,
        1,
    ):  # 1: some put a space before a text; that token is no label, so it counts nowhere
        raise DataError(
            f"{where}: a stretch of {len(piece):,} bytes became tokens of {len(piece) + more:,} "
            f"bytes. {_LOSSY}"
        )
    return ids


def _check_sample(piece: memoryview, tokenizer: Tokenizer, where: str) -> None:
    sample = bytes(piece[:_SAMPLE]).decode(errors="ignore")
    back = tokenizer.decode(tokenizer.encode(sample))
    if back != sample:
        at = next(
            (n for n, (one, other) in enumerate(zip(sample, back, strict=False)) if one != other),
            len(back),
        )
        raise DataError(
            f"{where}: the tokenizer does not give the text back: {sample[at : at + 20]!r} became "
            f"{back[at : at + 20]!r}. {_LOSSY}"
        )


def _check_rows(
    rows: Mapping[str, int], longest: Mapping[str, int], tokens: int, block: int, where: str
) -> None:
    """Every split needs a block."""
    lacking = [part for part, count in rows.items() if count == 0]
    if lacking:
        most = min(longest.values()) - 1
        remedy = f"Set data.block={most} or lower, or give" if most >= 1 else "Give"
        raise DataError(
            f"{where}: {tokens:,} tokens are too few for blocks of data.block={block} and the "
            "token behind each in "
            f"every split; {lacking[0]} has no stretch of {block + 1} tokens. {remedy} more text."
        )
