"""Models of other libraries on texts of one class each, which are padded token ids."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from limbeck.data import Dataset
from limbeck.data.text.decoding import decode_texts
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.models.huggingface.classifier import with_mask
from limbeck.models.huggingface.texts import Texts
from limbeck.teacher.estimator import EstimatorTeacher, RegressionTeacher, rows_of

PROBE, FRAME_LENGTH = "a", 64
"""A short text, and more tokens than it has with those that a tokenizer adds."""


@dataclass(frozen=True)
class TextsOfTokens:
    """A function from token ids to texts.

    Attributes:
        tokenizer: Tokenizer of the texts.
    """

    tokenizer: Tokenizer

    def __call__(self, ids: Tensor) -> list[str]:
        """Return the texts of token ids ``[B, l]``."""
        return decode_texts(ids, self.tokenizer)


def texts_of(data: Dataset) -> Texts | None:
    """Return the texts that models of transformers read; None for other inputs.

    Args:
        data: Dataset of the study.
    """
    tokenizer = data.tokenizer
    if tokenizer is None or data.padding is None:
        return None
    return Texts(data.shape, tokenizer.padded_size, tokenizer.padding, tokenizer.separator)


def text_arguments(data: Dataset) -> dict[str, Any]:
    """Return the arguments that builders of models for texts may take; none for other inputs.

    Args:
        data: Dataset of the study.
    """
    texts = texts_of(data)
    if texts is None:
        return {}
    names = ("vocabulary", "padding", "separator")
    arguments: dict[str, Any] = {name: getattr(texts, name) for name in names}
    if data.kind.outputs == "vectors":
        before, after = frame_of(data)
        arguments["special"] = [*before, *after]
    return arguments


def frame_of(data: Dataset) -> tuple[list[int], list[int]]:
    """Return the token ids that the tokenizer of texts adds before and after a text.

    Args:
        data: Dataset of the study.
    """
    assert data.tokenizer is not None
    inner = data.tokenizer.encode(PROBE).tolist()
    rows, _ = data.tokenizer.encode_texts([(PROBE,)], FRAME_LENGTH)
    ids = [number for number in rows[0].tolist() if number != data.tokenizer.padding]
    for first in range(len(ids) - len(inner) + 1):
        if ids[first : first + len(inner)] == inner:
            return ids[:first], ids[first + len(inner) :]
    return [], []


def features_of(data: Dataset) -> Callable[[Tensor], Any]:
    """Return the function from inputs of a dataset to what estimators take: texts, or rows.

    Args:
        data: Dataset of the study.
    """
    if data.tokenizer is None or data.padding is None:
        return rows_of
    return TextsOfTokens(data.tokenizer)


def prepare_for_texts(model: nn.Module, data: Dataset) -> nn.Module:
    """Return a model that reads the texts of a dataset; for other datasets the model itself.

    A network of transformers gets a mask of the padding, an estimator the texts themselves.

    Args:
        model: Any model.
        data: Dataset of the study.

    Raises:
        ConfigError: If a network does not fit the texts.
    """
    texts = texts_of(data)
    if texts is None:
        return model
    if isinstance(model, (EstimatorTeacher, RegressionTeacher)):
        model.features = features_of(data)
    return with_mask(model, texts)
