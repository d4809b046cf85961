"""Nearest validation texts of the demo of embeddings, by the vectors of each model."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.data.padding import cut_padding
from limbeck.deploy.demo.inputs import example_text
from limbeck.deploy.models_of_run import RunModel
from limbeck.evaluation.vectors import NEIGHBOURS
from limbeck.losses.vectors import unit

BATCH, MAX_TEXTS, MAX_CHARACTERS = 64, 1000, 300
"""Texts of a batch, texts that are searched, and the characters of each that the page shows."""


class Neighbours:
    """A search among validation texts.

    Args:
        models: Models of embeddings.
        data: Dataset of texts.
    """

    def __init__(self, models: Sequence[RunModel], data: Dataset):
        self._ids = data.val.inputs[:MAX_TEXTS]
        assert data.padding is not None
        self._padding = data.padding
        self._count = min(NEIGHBOURS, len(self._ids) - 1)
        self._texts = [example_text(data, row, MAX_CHARACTERS) for row in range(len(self._ids))]
        with torch.inference_mode():
            self._vectors = [self._vectors_of(model) for model in models]

    def _vectors_of(self, model: RunModel) -> Tensor:
        batches = [cut_padding(ids, self._padding) for ids in self._ids.split(BATCH)]
        return unit(torch.cat([model.logits(as_float(ids)) for ids in batches]).cpu().float())

    def facts(self) -> dict[str, Any]:
        """Return the texts, and how many of them an answer has."""
        return {"texts": self._texts, "neighbours": self._count}

    def of(self, inputs: Tensor, vectors: Sequence[Tensor]) -> list[list[list[float]]]:
        """Find the texts nearest to a text by the cosine; the text itself is not among them.

        Args:
            inputs: Token ids of the text, ``[1, l]``.
            vectors: Vector of the text by each model, ``[D]``.

        Returns:
            For each model, number and cosine of each neighbour, the nearest first.
        """
        ids = inputs[0].to(self._ids.dtype)
        whole = torch.full((self._ids.shape[1],), self._padding, dtype=self._ids.dtype)
        whole[: len(ids)] = ids
        is_same = self._ids.eq(whole).all(1)
        answers = []
        for own, vector in zip(self._vectors, vectors, strict=True):
            cosines = own @ unit(vector[None].cpu().float())[0]
            nearest = cosines.masked_fill(is_same, -torch.inf).topk(self._count)
            pairs = zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
            answers.append(
                [[row, round(cosine, 4)] for row, cosine in pairs if math.isfinite(cosine)]
            )
        return answers
