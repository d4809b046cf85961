"""Texts as inputs of the demo: one, or two that belong together."""

from collections.abc import Mapping
from typing import Any

import torch

from limbeck._base.errors import DataError
from limbeck.data import Dataset
from limbeck.data.padding import cut_padding, lengths_of
from limbeck.deploy.demo.inputs import (
    DemoInput,
    Reader,
    example_rows,
    example_text,
    label_text,
    read_texts,
)

MAX_CHARACTERS, MAX_EXAMPLE = 100_000, 1500
"""Largest number of characters of a text, and of one to try."""


class TextForm:
    """A box for a text, or two boxes for a pair.

    Args:
        data: Dataset of texts.
    """

    def __init__(self, data: Dataset):
        assert data.tokenizer is not None
        assert data.padding is not None
        self._data, self._tokenizer, self._padding = data, data.tokenizer, data.padding
        self.readers: Mapping[str, Reader] = {"/text": self.read}

    def facts(self) -> dict[str, Any]:
        """Return the names of the boxes, and validation texts to try."""
        columns = list(self._data.text_columns)
        examples = []
        if len(columns) == 1:  # the texts of a pair cannot be told apart by their tokens
            examples = [self._example(row) for row in example_rows(self._data)]
        return {
            "kind": "text",
            "columns": columns,
            "max_characters": MAX_CHARACTERS,
            "examples": [example for example in examples if example["text"].strip()],
        }

    def read(self, body: bytes) -> DemoInput:
        """Read a request: a JSON list of a text, or of a pair.

        Raises:
            DataError: If it is something else, a text is too long, or it has no token.
        """
        texts = read_texts(body, len(self._data.text_columns))
        if max(map(len, texts)) > MAX_CHARACTERS:
            raise DataError(f"the text is longer than {MAX_CHARACTERS:,} characters")
        if not all(text.strip() for text in texts):
            raise DataError("the text is empty")
        parts = tuple(text.encode("utf-8", "replace").decode() for text in texts)
        (length,) = self._data.shape
        rows, is_cut = self._tokenizer.encode_texts([parts], length)
        ids = torch.from_numpy(rows)
        tokens = int(lengths_of(ids, self._padding)[0])
        if not tokens:
            raise DataError("the tokenizer finds no token in the text")
        facts = {"tokens": tokens, "is_cut": bool(is_cut[0])}
        return DemoInput(cut_padding(ids, self._padding), facts)

    def _example(self, row: int) -> dict[str, str]:
        text = example_text(self._data, row, MAX_EXAMPLE)
        return {"text": text, "label": label_text(self._data, row)}
