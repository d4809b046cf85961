"""Text in blocks of tokens: a file, a folder of files, or Python's own manual."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.checks import check_count, did_you_mean
from limbeck._base.copies import local_copy
from limbeck._base.errors import ConfigError
from limbeck._base.mapped_memory import check_in_memory
from limbeck.data.checks import SplitShares, absolute, require_folder
from limbeck.data.dataset import Dataset, Split
from limbeck.data.text.cache import Segments, TokenCache
from limbeck.data.text.files import python_topics, read_folder, read_text
from limbeck.data.text.library_tokenizer import load_tokenizer
from limbeck.data.text.long_text import LongText
from limbeck.data.text.segments import cut_segments
from limbeck.data.text.tokenizer import ByteTokenizer, Tokenizer
from limbeck.data.text.training import check_vocabulary

TOKENIZER_NAMES = ("bytes", "bpe")


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
    in_memory: bool | None = None,
    name: str | None = None,
) -> Dataset:
    """Load a text in blocks of tokens; the label at each position is the next token.

    The text is cut into 100 contiguous segments of equal length, fewer if it is short. Some of
    them become the validation split, some the test split. Each segment is tokenised separately, so
    no block crosses the end of a segment, and there is no padding.

    Args:
        path: Text file in UTF-8, gzipped or not; None for the topics of Python's own manual.
        tokenizer: ``bytes``, ``bpe`` (trained on the training split), the path of a
            ``tokenizer.json`` or of a folder that contains one, or a tokenizer.
        vocabulary: Largest number of entries of ``bpe``.
        block: Number T of tokens in a sample.
        val: Share of the text for validation.
        test: Share of the text for testing.
        split_seed: Seed of the splits.
        cache: Folder for the tokens; None for ``limbeck/tokens`` in the user's cache folder.
        in_memory: Whether text and tokens stay in memory. False to read them from the disk when
            they are needed; None for that if they would fill more than a quarter of the memory that
            is available.
        name: Name for tables and messages; None for the name of the file.

    Returns:
        Dataset with inputs and labels int32 ``[N, block]``, views of one memory-mapped array.

    Raises:
        ConfigError: If a setting is out of range, or if a package is missing.
        DataError: If the text or the tokenizer is missing, damaged or not as expected, or if the
            text is too short.

    Warns:
        LimbeckWarning: If the cache folder cannot be written to, or if the text gives fewer tokens
            than ``vocabulary``.
    """
    options = TextOptions(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        block=block,
        val=val,
        test=test,
        split_seed=split_seed,
        in_memory=in_memory,
    )
    if path is None:
        texts = {"train": LongText.of(python_topics())}
        return _make_dataset(texts, options, cache, name or "python-manual", "Python's manual")
    file = local_copy(str(path)).expanduser()  # Hydra parses a file name such as 0 as a number
    name = name or file.name.removesuffix(".gz")
    texts = {"train": read_text(file, in_memory=in_memory)}
    return _make_dataset(texts, options, cache, name, str(file))


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
    in_memory: bool | None = None,
    name: str | None = None,
) -> Dataset:
    """Load all text files below a folder as one text.

    The files are joined in the order of their paths, with a blank line between them. They may lie
    in folders ``train``, ``val`` and ``test``. If ``val`` or ``test`` is missing, it is cut from
    ``train``. The other arguments and the result are those of :func:`text_file`.

    Args:
        root: Folder of the files. Hidden files are skipped.
        pattern: Pattern of the file names to read, or several.
        name: Name for tables and messages; None for the name of the folder.

    Raises:
        ConfigError: If a setting is out of range, or if a package is missing.
        DataError: If files or the tokenizer are missing, damaged or not as expected (each bad file
            is named), if a text is in two given splits, or if the text is too short.

    Warns:
        LimbeckWarning: If files from which splits are cut are copies of each other, or as for
            :func:`text_file`.
    """
    options = TextOptions(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        block=block,
        val=val,
        test=test,
        split_seed=split_seed,
        in_memory=in_memory,
    )
    folder = require_folder(str(root))
    texts = read_folder(folder, pattern, in_memory=in_memory)
    return _make_dataset(texts, options, cache, name or absolute(folder).name, str(folder))


@dataclass(frozen=True, kw_only=True)
class TextOptions(SplitShares):
    """Settings for tokenising, cutting and splitting a text.

    Attributes:
        tokenizer: ``bytes``, ``bpe``, a file or folder, or a tokenizer.
        vocabulary: Largest number of entries of ``bpe``.
        block: Number T of tokens in a sample.
        in_memory: Whether the tokens stay in memory; None to decide by their size.

    Raises:
        ConfigError: If a setting is out of range.
    """

    tokenizer: str | Path | Tokenizer
    vocabulary: int
    block: int
    in_memory: bool | None

    def __post_init__(self) -> None:
        check_count("data.block", self.block)
        self.check_shares("the text")
        check_in_memory(self.in_memory)
        if self.tokenizer == "bpe":
            check_vocabulary(self.vocabulary)
        elif not isinstance(self.tokenizer, Tokenizer) and self.tokenizer not in TOKENIZER_NAMES:
            check_tokenizer_path(self.tokenizer)

    def build_tokenizer(self, segments: Segments, cache: TokenCache) -> Tokenizer:
        """Return the tokenizer; ``bpe`` is trained on the training segments.

        Args:
            segments: Segments of the text by split.
            cache: Cache of trained tokenizers.

        Raises:
            ConfigError: If the package ``tokenizers`` is missing.
            DataError: If the file of a tokenizer is missing or damaged.
        """
        if isinstance(self.tokenizer, Tokenizer):
            return self.tokenizer
        if self.tokenizer == "bytes":
            return ByteTokenizer()
        if self.tokenizer == "bpe":
            return cache.load_or_train_bpe(segments, self.vocabulary)
        return load_tokenizer(Path(self.tokenizer).expanduser())


def check_tokenizer_path(tokenizer: str | Path) -> None:
    """Check that a value is the name of a tokenizer, or looks like a path.

    Raises:
        ConfigError: If it does not.
    """
    if isinstance(tokenizer, (str, Path)) and str(tokenizer):
        path = Path(tokenizer).expanduser()
        if os.path.exists(path) or len(path.parts) > 1 or path.suffix:
            return
    hint = did_you_mean(str(tokenizer), TOKENIZER_NAMES)
    raise ConfigError(
        f"data.tokenizer={str(tokenizer)!r} should be bytes, bpe, or the path of a tokenizer.json "
        f"or of a folder that contains one.{hint}"
    )


def _make_dataset(
    texts: Mapping[str, LongText],
    options: TextOptions,
    cache: str | Path | None,
    name: str,
    where: str,
) -> Dataset:
    """Cut and tokenise texts, or load the tokens from the cache."""
    segments = cut_segments(
        texts,
        block=options.block,
        val=options.val,
        test=options.test,
        split_seed=options.split_seed,
    )
    folder = None if cache is None else str(cache)
    token_cache = TokenCache(folder, in_memory=options.in_memory)
    tokenizer = options.build_tokenizer(segments, token_cache)
    blocks = token_cache.blocks(segments, tokenizer, options.block, where)
    splits = {part: Split(rows[:, :-1], rows[:, 1:]) for part, rows in blocks.items()}
    data = Dataset.from_splits(
        name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=tokenizer.names,
        tokenizer=tokenizer,
    )
    data.has_own_val = "val" in texts
    return data
