"""Text data sets: a file, a folder of files, or Python's own manual, cut into blocks of tokens."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.checks import check_count, check_seed, closest
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Dataset, Split
from limbeck.data.images.files import existing_folder
from limbeck.data.text.cache import Stretches, TokenCache
from limbeck.data.text.files import python_topics, read_folder, read_text
from limbeck.data.text.splits import stretches_of
from limbeck.data.text.tokenizer import ByteTokenizer, Tokenizer, check_vocabulary, load_tokenizer

WORDS = ("bytes", "bpe")


def text_file(
    path: str | Path | None = None,
    *,
    tokenizer: str | Path | Tokenizer = "bytes",
    vocabulary: int = 4096,
    block: int = 128,
    val: float = 0.05,
    test: float = 0.05,
    split_seed: int = 0,
    cache: str | Path | None = None,
    name: str | None = None,
) -> Dataset:
    """A text in blocks of tokens; the label at each position is the next token.

    The text is cut into 100 contiguous stretches of equal length, fewer where it is short; some of
    them are the validation split, some the test. Each is tokenised by itself, so no block goes over
    a seam, and none is padded.

    Args:
        path: a file in UTF-8, gzipped or not; None for the topics of Python's own manual.
        tokenizer: ``bytes``, ``bpe`` (trained on the training split), ``tokenizer.json`` or a
            folder that holds it.
        vocabulary: most entries of ``bpe``.
        block: T, tokens of a sample.
        val: share of the text for validation.
        test: share of the text for the test.
        split_seed: another seed gives other splits.
        cache: the folder that keeps the tokens; None for ``limbeck/tokens`` in the user's cache
            folder.
        name: for tables; None for the file's.

    Returns:
        Inputs and labels int32 ``[N, block]``, views of one memory-mapped array.

    Raises:
        ConfigError: a setting is out of range, or a package is missing.
        DataError: the text or the tokenizer is missing, damaged or not what it should be, or the
            text is too short.

    Warns:
        LimbeckWarning: the cache folder cannot be written to, or the text gives fewer tokens than
            ``vocabulary``.
    """
    how = HowToBlock(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        block=block,
        val=val,
        test=test,
        split_seed=split_seed,
    )
    if path is None:
        return _dataset(
            {"train": python_topics()}, how, cache, name or "python-manual", "Python's manual"
        )
    file = Path(str(path)).expanduser()  # a command line makes a number of 0
    return _dataset(
        {"train": read_text(file)}, how, cache, name or file.name.removesuffix(".gz"), str(file)
    )


def text_folder(
    root: str | Path,
    *,
    pattern: str | Iterable[str] = ("*.txt", "*.txt.gz"),
    tokenizer: str | Path | Tokenizer = "bytes",
    vocabulary: int = 4096,
    block: int = 128,
    val: float = 0.05,
    test: float = 0.05,
    split_seed: int = 0,
    cache: str | Path | None = None,
    name: str | None = None,
) -> Dataset:
    """All text files below a folder as one text, in the order of their paths, with a blank line
    between them.

    The files may lie in folders ``train``, ``val`` and ``test``; if one of the last two is missing,
    it is cut from ``train``.

    Args:
        root: the folder. Hidden files are skipped.
        pattern: names of the files wanted; one or several.
        tokenizer: as for :func:`text`, and all that follow.
        vocabulary: most entries of ``bpe``.
        block: T, tokens of a sample.
        val: share of the text for validation.
        test: share of the text for the test.
        split_seed: another seed gives other splits.
        cache: the folder that keeps the tokens.
        name: for tables; None for the folder's.

    Returns:
        Inputs and labels int32 ``[N, block]``, views of one memory-mapped array.

    Raises:
        ConfigError: a setting is out of range, or a package is missing.
        DataError: as for :func:`text`; each bad file is named. Or a file is in two of the given
            splits.
    """
    how = HowToBlock(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        block=block,
        val=val,
        test=test,
        split_seed=split_seed,
    )
    place = existing_folder(str(root))
    return _dataset(
        read_folder(place, pattern), how, cache, name or place.resolve().name, str(place)
    )


@dataclass(frozen=True, kw_only=True)
class HowToBlock:
    """How a text is tokenised, cut and split.

    Attributes:
        tokenizer: ``bytes``, ``bpe``, a file or folder, or a tokenizer.
        vocabulary: most entries of ``bpe``.
        block: T, tokens of a sample.
        val: share of the text for validation.
        test: share of the text for the test.
        split_seed: another seed gives other splits.
    """

    tokenizer: str | Path | Tokenizer
    vocabulary: int
    block: int
    val: float
    test: float
    split_seed: int

    def __post_init__(self) -> None:
        check_count("data.block", self.block)
        for key, share in (("val", self.val), ("test", self.test)):
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
                raise ConfigError(
                    f"data.{key}={share!r} should be a share of the text, above 0 and below 1."
                )
        if self.val + self.test >= 1:
            raise ConfigError(
                f"data.val={self.val} and data.test={self.test} leave no text to train with."
            )
        check_seed("data.split_seed", self.split_seed)
        if self.tokenizer == "bpe":
            check_vocabulary(self.vocabulary)
        elif not isinstance(self.tokenizer, Tokenizer) and self.tokenizer not in WORDS:
            _check_tokenizer(self.tokenizer)

    def made(self, stretches: Stretches, cache: TokenCache) -> Tokenizer:
        """The tokenizer; ``bpe`` is trained on the training stretches."""
        if isinstance(self.tokenizer, Tokenizer):
            return self.tokenizer
        if self.tokenizer == "bytes":
            return ByteTokenizer()
        if self.tokenizer == "bpe":
            return cache.trained_tokenizer(stretches, self.vocabulary)
        return load_tokenizer(Path(self.tokenizer).expanduser())


def _check_tokenizer(tokenizer: str | Path) -> None:
    """What is neither a word nor a place is a misspelt word or a wrong one."""
    if isinstance(tokenizer, (str, Path)) and str(tokenizer):
        place = Path(tokenizer).expanduser()
        if os.path.exists(place) or len(place.parts) > 1 or place.suffix:
            return
    near = closest(str(tokenizer), WORDS)
    raise ConfigError(
        f"data.tokenizer={str(tokenizer)!r} should be bytes, bpe, or the path of tokenizer.json or "
        "of a folder that "
        f"holds it{f'; did you mean {near}?' if near else '.'}"
    )


def _dataset(
    texts: Mapping[str, bytes], how: HowToBlock, cache: str | Path | None, name: str, where: str
) -> Dataset:
    """Cut, tokenise, or find it done, and make splits of the blocks."""
    stretches = stretches_of(
        texts, block=how.block, val=how.val, test=how.test, split_seed=how.split_seed
    )
    kept = TokenCache(None if cache is None else str(cache))
    tokenizer = how.made(stretches, kept)
    rows = kept.blocks(stretches, tokenizer, how.block, where)
    splits = {part: Split(found[:, :-1], found[:, 1:]) for part, found in rows.items()}
    return Dataset.from_splits(
        name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=tokenizer.names,
        tokenizer=tokenizer,
    )
