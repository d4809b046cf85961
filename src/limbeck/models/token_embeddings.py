"""Embeddings of tokens that a student takes from its teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.normalized import model_name
from limbeck.models.output_map import OutputMap

SMOOTHING = 1e-4
"""Probability of a token whose weight is one half."""


def teacher_embeddings(teacher: nn.Module | None, vocabulary: int, width: int) -> Tensor:
    """Return the embeddings of the tokens in a teacher, in as many dimensions as a student has.

    With fewer dimensions they are the first principal components.

    Args:
        teacher: Teacher with the token ids of the student.
        vocabulary: Number of token ids, with that of the padding.
        width: Number of dimensions, D.

    Returns:
        ``[vocabulary, D]``, with a mean of 0 and a standard deviation of 1 over all values.

    Raises:
        ConfigError: If the teacher has no embeddings of these tokens, or fewer dimensions.
    """
    table = _table_of(teacher, vocabulary)
    if width > table.shape[1]:
        raise ConfigError(
            f"width={width} is more than the {table.shape[1]} dimensions of the teacher's "
            f"embeddings. Set width={table.shape[1]} or less, or init=null."
        )
    table = table - table.mean(0)
    if width < table.shape[1]:
        _, directions = torch.linalg.eigh((table.T @ table).double())  # in ascending order
        table = table @ directions[:, -width:].flip(1).float()
    return table / table.std().clamp(min=1e-12)


@dataclass(frozen=True)
class TokenVectors:
    """Vectors of single tokens in fewer dimensions.

    Attributes:
        table: Weighted principal components of the vectors, ``[vocabulary, D]``, with a standard
            deviation of 1 over all values.
        directions: Directions of the components in the space of the teacher, ``[D, dimensions]``.
    """

    table: Tensor
    directions: Tensor

    def layer(self, hidden: Sequence[int]) -> nn.Linear:
        """Return the layer from a mean of the table to the space of the teacher.

        Args:
            hidden: Widths of hidden layers, of which there may be none.

        Raises:
            ConfigError: If there are some.
        """
        if hidden:
            raise ConfigError(
                f"init=token_vectors is for a bag without hidden layers, not hidden={list(hidden)}."
            )
        width, dimensions = self.directions.shape
        layer = nn.Linear(width, dimensions)
        with torch.no_grad():
            layer.weight.copy_(self.directions.T)
            layer.bias.zero_()
        return layer


def token_vectors(
    teacher: nn.Module | None, vocabulary: int, width: int, dimensions: int
) -> TokenVectors:
    r"""Return the vectors that a sentence encoder gives each token alone, in fewer dimensions.

    Their first principal components are weighted by :math:`a / (a + p_k)`, a = 0.0001. The
    probability p of a token is estimated by Zipf's law from its id k, since vocabularies are
    sorted by frequency: :math:`p_k \propto 1 / (k + 2)`. The mean of a text's tokens is then a
    static embedding of it, without any training.

    Args:
        teacher: Sentence encoder with the token ids of the student.
        vocabulary: Number of token ids, with that of the padding.
        width: Number of components, D.
        dimensions: Number of dimensions of the teacher's vectors.

    Raises:
        ConfigError: If the teacher is no sentence encoder, or has fewer dimensions.

    References:
        Tulkens and van Dongen, "Model2Vec: Fast State-of-the-Art Static Embeddings", 2024. Arora,
        Liang and Ma, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", 2017.
    """
    model: Any = teacher
    if not hasattr(model, "token_vectors"):
        name = "none" if teacher is None else model_name(teacher)
        raise ConfigError(
            f"init=token_vectors takes vectors of a sentence encoder, but the teacher is {name}. "
            "Set teacher.from to the folder of one, or init=null."
        )
    vectors = model.token_vectors().double()
    if len(vectors) != vocabulary or vectors.shape[1] != dimensions or width > dimensions:
        raise ConfigError(
            f"init=token_vectors: the teacher has vectors of {len(vectors):,} tokens in "
            f"{vectors.shape[1]} dimensions, but a table of {vocabulary:,} tokens in {width} "
            f"dimensions is needed. Set student.width={vectors.shape[1]} or less."
        )
    vectors = vectors - vectors.mean(0)
    _, directions = torch.linalg.eigh(vectors.T @ vectors)  # in ascending order
    directions = directions[:, -width:].flip(1)
    probability = 1 / torch.arange(2, vocabulary + 2, dtype=torch.float64)
    probability = probability / probability.sum()
    table = (vectors @ directions) * (SMOOTHING / (SMOOTHING + probability))[:, None]
    table = table / table.std().clamp(min=1e-12)
    return TokenVectors(table.float(), directions.T.float())


def _table_of(teacher: nn.Module | None, vocabulary: int) -> Tensor:
    """Return the embeddings of a teacher, float32 ``[vocabulary, D]``."""
    if teacher is None:
        raise ConfigError("init=teacher needs a teacher, but there is none.")
    model: Any = teacher.net if isinstance(teacher, OutputMap) else teacher
    tokens = getattr(model, "tokens", None)
    if hasattr(model, "token_embeddings"):
        table = model.token_embeddings()
    elif isinstance(tokens, nn.Embedding):
        table = tokens.weight
    else:
        raise ConfigError(
            f"init=teacher takes the embeddings of tokens, but the teacher, {model_name(teacher)}, "
            "has none. Use teacher=huggingface_classifier or teacher=encoder, or init=null."
        )
    if len(table) != vocabulary:
        raise ConfigError(
            f"init=teacher: the teacher has embeddings of {len(table):,} tokens, but the data has "
            f"{vocabulary:,}."
        )
    result: Tensor = table.detach().cpu().float()
    return result
