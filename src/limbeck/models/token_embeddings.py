"""Embeddings of tokens that a student takes from its teacher."""

from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck.models.normalized import model_name
from limbeck.models.output_map import OutputMap


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
