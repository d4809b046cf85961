"""Tiny students for texts, and random texts for them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.models import BagOfEmbeddings, TextCNN, TextEncoder

VOCABULARY, PADDING, LENGTH, CLASSES = 31, 30, 12, 3
TEXT_MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bag": (BagOfEmbeddings, {"width": 16, "hidden": [8]}),
    "text_cnn": (TextCNN, {"width": 16, "channels": 8}),
    "encoder": (TextEncoder, {"width": 16}),
}
"""Class and sizes of each student, by the name of its choice."""


def build_text_model(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """Build a tiny student with the weights of a seed."""
    kind, sizes = TEXT_MODELS[name]
    torch.manual_seed(seed)
    return kind((LENGTH,), CLASSES, vocabulary=VOCABULARY, padding=PADDING, **{**sizes, **options})


def random_texts(lengths: Sequence[int], seed: int = 0) -> Tensor:
    """Return random texts of given lengths as token ids, int64 ``[N, LENGTH]``."""
    ids = torch.randint(PADDING, (len(lengths), LENGTH), generator=torch.manual_seed(seed))
    ids[torch.arange(LENGTH) >= torch.tensor(lengths)[:, None]] = PADDING
    return ids
