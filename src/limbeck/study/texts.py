"""Models of other libraries on texts of one class each, which are padded token ids."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from limbeck.data import Dataset
from limbeck.data.text.decoding import decode_texts
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.models.huggingface.classifier import with_mask
from limbeck.teacher.estimator import EstimatorTeacher, RegressionTeacher, rows_of


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
    if data.tokenizer is None or data.padding is None:
        return model
    if isinstance(model, (EstimatorTeacher, RegressionTeacher)):
        model.features = features_of(data)
    return with_mask(model, data.shape, data.tokenizer.padded_size, data.padding)
