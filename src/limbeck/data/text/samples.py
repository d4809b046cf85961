"""Datasets of texts with one label or several each: splits, copies, tokens."""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck._base.mapped_memory import check_in_memory
from limbeck.data.checks import SplitShares, join_some
from limbeck.data.copies import copies_in
from limbeck.data.dataset import Dataset, Split
from limbeck.data.parts import PARTS, TRAIN, VAL, check_labels, cut_parts, number_groups
from limbeck.data.randomness import split_position
from limbeck.data.tables.targets import Targets
from limbeck.data.text.cache import TokenCache
from limbeck.data.text.datasets import check_tokenizer_path
from limbeck.data.text.library_tokenizer import load_tokenizer
from limbeck.data.text.rows import load_or_encode, load_or_train_tokenizer
from limbeck.data.text.text_list import Selection
from limbeck.data.text.tokenizer import ByteTokenizer, Text, Tokenizer
from limbeck.data.text.training import check_vocabulary

_WORDS = re.compile(r"\w+")
MAX_LENGTH = 8192
"""Largest number of tokens of a text."""


@dataclass(frozen=True)
class TextSamples:
    """Texts with their labels.

    Attributes:
        where: File or folder of the texts, for messages.
        texts: Texts, or pairs of them.
        targets: Labels of the texts.
        parts: Split of each text. A split without texts is cut from the training texts.
        ids: Name of each text.
        groups: Group of each text, all of whose texts are in one split; empty without groups.
        columns: Column of the texts, or two columns of pairs.
    """

    where: Path
    texts: Sequence[Text]
    targets: Targets
    parts: list[int]
    ids: list[str]
    groups: list[str]
    columns: tuple[str, ...] = ("text",)


@dataclass(frozen=True, kw_only=True)
class TextSampleOptions(SplitShares):
    """Settings for tokenising, splitting and naming a dataset of texts.

    Attributes:
        tokenizer: ``bpe``, ``bytes``, a file or folder, or a tokenizer.
        vocabulary: Largest number of entries of ``bpe``.
        length: Largest number of tokens of a text.
        cache: Folder for the tokens; None for that in the user's cache folder.
        in_memory: Whether the tokens stay in memory; None to decide by their size.
        name: Name of the dataset.

    Raises:
        ConfigError: If a setting is out of range.
    """

    tokenizer: str | Path | Tokenizer
    vocabulary: int
    length: int
    cache: str | Path | None
    in_memory: bool | None
    name: str

    def __post_init__(self) -> None:
        self.check_shares("the texts")
        check_in_memory(self.in_memory)
        if check_count("data.length", self.length) > MAX_LENGTH:
            raise ConfigError(f"data.length={self.length} should be at most {MAX_LENGTH:,}.")
        if self.tokenizer == "bpe":
            check_vocabulary(self.vocabulary)
        elif not isinstance(self.tokenizer, Tokenizer) and self.tokenizer != "bytes":
            check_tokenizer_path(self.tokenizer)

    def build_tokenizer(self, texts: Sequence[Text], cache: TokenCache) -> Tokenizer:
        """Return the tokenizer; ``bpe`` is trained on the training texts.

        Raises:
            ConfigError: If the package ``tokenizers`` is missing.
            DataError: If the file of a tokenizer is missing or damaged.
        """
        if isinstance(self.tokenizer, Tokenizer):
            return self.tokenizer
        if self.tokenizer == "bytes":
            return ByteTokenizer()
        if self.tokenizer == "bpe":
            return load_or_train_tokenizer(texts, self.vocabulary, cache)
        return load_tokenizer(Path(self.tokenizer).expanduser())


def build_text_dataset(samples: TextSamples, options: TextSampleOptions) -> Dataset:
    """Cut the missing splits, and tokenise the texts through the cache.

    Args:
        samples: Texts with their labels.
        options: Settings.

    Raises:
        ConfigError: If the length leaves no room for a text, or a package is missing.
        DataError: If a text is empty, a class has a single text, or a split is empty.

    Warns:
        LimbeckWarning: If copies of a text have different labels or are in several splits, or if
            texts are cut.
    """
    _check_samples(samples)
    copies, positions = _copies_and_positions(samples, options.split_seed)
    if samples.targets.kind.outputs != "vectors":
        _warn_of_labels(samples, copies)
    parts = cut_parts(samples.parts, positions, options, samples.where, "texts")
    groups = number_groups(samples.groups, parts, samples.where)
    _warn_of_copies(samples, parts, copies)
    rows_of = {
        name: np.flatnonzero(np.asarray(parts) == part)
        for name, part in sorted(PARTS.items(), key=lambda item: -item[1])
    }
    texts = {name: Selection(samples.texts, rows) for name, rows in rows_of.items()}
    folder = None if options.cache is None else str(options.cache)
    cache = TokenCache(folder, in_memory=options.in_memory)
    tokenizer = options.build_tokenizer(texts["train"], cache)
    tokens = load_or_encode(texts, tokenizer, options.length, cache)
    if tokens.cut:
        warnings.warn(
            f"{samples.where}: {tokens.cut:,} of {len(samples.texts):,} texts are longer than "
            f"{options.length} tokens, and only their beginning is used. Set a larger data.length "
            "to use more of them.",
            LimbeckWarning,
            stacklevel=3,
        )
    splits = {}
    for name, rows in rows_of.items():
        ids = np.array([samples.ids[row] for row in rows], dtype=object)
        empty = (tokens.splits[name][:, 0] == tokenizer.padding).numpy()
        if empty.any():
            raise DataError(
                f"{samples.where}: the tokenizer finds no token in {join_some(list(ids[empty]))}. "
                "Remove these texts, or choose another data.tokenizer."
            )
        labels = samples.targets.labels[rows]
        of_split = None if groups is None else groups[rows]
        splits[name] = Split(tokens.splits[name], labels, ids, groups=of_split)
    names, kind = samples.targets.names, samples.targets.kind
    check_labels(splits, names, kind, samples.where, "texts")
    data = Dataset.from_splits(
        options.name,
        splits["train"],
        splits["val"],
        splits["test"],
        class_names=names,
        tokenizer=tokenizer,
        task=kind.name,
    )
    data.text_columns = samples.columns
    data.has_own_val = VAL in samples.parts
    return data


def _check_samples(samples: TextSamples) -> None:
    """Check that no text is empty, and that no class has a single text."""
    empty = []
    for name, text in zip(samples.ids, samples.texts, strict=True):
        if not all(part and not part.isspace() for part in text):
            empty.append(name)
    if empty:
        raise DataError(
            f"{samples.where}: {len(empty)} texts are empty: {join_some(empty)}. Fill them in, or "
            "remove them."
        )
    targets = samples.targets
    counts = Counter(targets.labels.tolist() if targets.kind.has_classes else ())
    single = [targets.names[label] for label, count in sorted(counts.items()) if count == 1]
    if single:
        raise DataError(
            f"{samples.where}: {len(single)} classes have a single text, which cannot be in "
            f"training and in the test: {join_some(single)}. Add texts, or remove these."
        )


def _copies_and_positions(
    samples: TextSamples, split_seed: int
) -> tuple[list[tuple[int, int]], list[float]]:
    """Return the copies among texts, see :func:`copies_in`, and the positions of all texts."""
    digests, positions = bytearray(), []
    for row, text in enumerate(samples.texts):
        digest = _digest_of(text)
        digests += bytes.fromhex(digest)
        positions.append(
            split_position(samples.groups[row] if samples.groups else digest, split_seed)
        )
    return copies_in(np.frombuffer(digests, np.uint8).reshape(-1, 32)), positions


def _digest_of(text: Text) -> str:
    """Return the digest of the words of a text, so that copies differ in nothing else.

    Case, white space and punctuation are ignored, unless there is nothing else.
    """
    words = ["\0".join(_WORDS.findall(part.casefold())) or part for part in text]
    return hashlib.sha256("\0\0".join(words).encode("utf-8", "replace")).hexdigest()


def _warn_of_labels(samples: TextSamples, copies: Sequence[tuple[int, int]]) -> None:
    """Warn if copies of a text have different labels."""
    pairs: dict[int, str] = {}
    for other, row in copies:
        if other not in pairs and samples.targets.differ(other, row):
            names = [samples.targets.describe(one) for one in (other, row)]
            ids = f"{samples.ids[other]} = {samples.ids[row]}"
            pairs[other] = f"{ids} ({' and '.join(names)})"
    if pairs:
        texts = "1 text has" if len(pairs) == 1 else f"{len(pairs)} texts have"
        warnings.warn(
            f"{samples.where}: {texts} copies with another label, so no model can be right about "
            f"all of them: {join_some(list(pairs.values()))}. All copies are used.",
            LimbeckWarning,
            stacklevel=4,
        )


def _warn_of_copies(
    samples: TextSamples, parts: Sequence[int], copies: Sequence[tuple[int, int]]
) -> None:
    """Warn of texts of the other splits that are also in training."""
    rows_of: dict[int, list[int]] = {}
    for first, row in copies:
        rows_of.setdefault(first, [first]).append(row)
    divided = []
    for rows in rows_of.values():
        if any(parts[row] == TRAIN for row in rows):
            divided += [row for row in rows if parts[row] != TRAIN]
    in_training: Mapping[int, list[str]] = {part: [] for part in PARTS.values()}
    for row in sorted(divided):
        in_training[parts[row]].append(samples.ids[row])
    for split, part in PARTS.items():
        if names := in_training[part]:
            warnings.warn(
                f"{samples.where}: {len(names)} texts of {split} are also in training, but "
                f"for case and punctuation: {join_some(names)}. Remove them from one of the two, "
                "or the results are better than on new texts.",
                LimbeckWarning,
                stacklevel=4,
            )
