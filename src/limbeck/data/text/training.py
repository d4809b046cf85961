"""Training of tokenizers: byte-level BPE."""

from collections.abc import Iterable, Iterator

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.data.text.library_tokenizer import BPETokenizer, import_tokenizers

VOCABULARY_RANGE = (257, 1 << 17)
"""Smallest and largest vocabulary to train: all bytes and one pair, and more than tokenizers in
practice have."""
PADDING, SEPARATOR = "[PAD]", "[SEP]"
SPECIAL_TOKENS = (PADDING, SEPARATOR)
_PIECE = 4096


def check_vocabulary(vocabulary: int) -> int:
    """Check the number of entries of a vocabulary to train, and return it.

    Raises:
        ConfigError: If it is out of range.
    """
    low, high = VOCABULARY_RANGE
    if not low <= check_count("data.vocabulary", vocabulary) <= high:
        raise ConfigError(
            f"data.vocabulary={vocabulary} should be from {low} (256 bytes and one pair) to "
            f"{high}. For bytes alone set data.tokenizer=bytes."
        )
    return vocabulary


def train_bpe(pieces: Iterable[str], vocabulary: int) -> BPETokenizer:
    """Train a byte-level BPE, which repeatedly merges the most frequent pair of tokens.

    The same text gives the same tokenizer. A pair has to occur twice, so a short text yields fewer
    entries.

    Args:
        pieces: Pieces of the text to learn from.
        vocabulary: Largest number of entries, including the 256 bytes.

    Raises:
        ConfigError: If ``tokenizers`` is not installed, or if ``vocabulary`` is out of range.

    References:
        Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units",
        2016.
    """
    check_vocabulary(vocabulary)
    library = import_tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_short_pieces(pieces), trainer)
    return BPETokenizer(tokenizer.to_str())


def train_text_bpe(texts: Iterable[str], vocabulary: int) -> BPETokenizer:
    """Train a byte-level BPE for texts that are classified.

    Unlike that of a language model it ignores case and the form of Unicode characters, and a word
    at the beginning of a text is the same token as elsewhere. ``[SEP]`` stands between the texts of
    a pair.

    Args:
        texts: Texts to learn from.
        vocabulary: Largest number of entries, including the 256 bytes and two special tokens.

    Raises:
        ConfigError: If ``tokenizers`` is not installed, or if ``vocabulary`` is out of range.
    """
    check_vocabulary(vocabulary)
    library = import_tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    normalizers = library.normalizers
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_short_pieces(texts), trainer)
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single="$A",
        pair=f"$A {SEPARATOR} $B",
        special_tokens=[(SEPARATOR, tokenizer.token_to_id(SEPARATOR))],
    )
    return BPETokenizer(tokenizer.to_str())


def _short_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """Cut pieces of text into short ones.

    The trainer's time for a word grows with the square of its length, and a text without spaces is
    a single word.
    """
    for piece in pieces:
        for first in range(0, len(piece), _PIECE):
            yield piece[first : first + _PIECE]
