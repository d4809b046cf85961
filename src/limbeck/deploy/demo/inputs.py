"""Inputs of the demo: what the page shows for entering one, and how a request is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from limbeck._base.errors import DataError
from limbeck._base.printable import MAX_NAME, cut
from limbeck._base.reading import parse_json
from limbeck._base.runtime.printable import printable
from limbeck.data import Dataset
from limbeck.data.text.decoding import decode_texts

EXAMPLES = 12


class FieldError(DataError):
    """A field of a form has a value that cannot be used.

    Args:
        message: Reason why the value cannot be used.
        number: Number of the field.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


@dataclass(frozen=True)
class DemoInput:
    """One input of the models.

    Attributes:
        inputs: Batch of one input, ``[1, ...]``.
        facts: Facts that the page shows about it.
    """

    inputs: Tensor
    facts: Mapping[str, Any] = field(default_factory=dict)


Reader = Callable[[bytes], DemoInput]
"""Function from the content of a request to an input. It raises ``DataError`` or
``RuntimeFailure`` for what it cannot read.
"""


class InputForm(Protocol):
    """A way to enter inputs of one kind."""

    @property
    def readers(self) -> Mapping[str, Reader]:
        """Functions that read the content of a request, by path."""

    def facts(self) -> dict[str, Any]:
        """Return what the page has to know, with ``kind``, the name of its script."""


def example_rows(data: Dataset, number: int = EXAMPLES) -> list[int]:
    """Choose rows of the validation split that cover as many classes as possible."""
    labels = data.val.labels
    if not data.kind.has_classes:
        count = min(number, len(labels))
        return [round(row) for row in np.linspace(0, len(labels) - 1, count)]
    rows_of_class = [(labels == label).nonzero().flatten() for label in range(data.classes)]
    rows: list[int] = []
    for turn in range(number):
        for class_rows in rows_of_class:
            if turn < len(class_rows) and len(rows) < number:
                rows.append(int(class_rows[turn]))
    return rows


def example_text(data: Dataset, row: int, length: int) -> str:
    """Return the first characters of a text of the validation split, without special tokens."""
    assert data.tokenizer is not None
    (text,) = decode_texts(data.val.inputs[row : row + 1], data.tokenizer)
    return text[:length]


def label_text(data: Dataset, row: int) -> str:
    """Return the label of a row of the validation split as a text; embeddings have none."""
    if data.kind.outputs == "vectors":
        return ""
    label = data.val.labels[row]
    names = [cut(name, MAX_NAME) for name in data.class_names]
    if data.kind.has_classes:
        return names[int(label)]
    if data.kind.outputs == "labels":
        return ", ".join(names[k] for k in label.nonzero().flatten().tolist()) or "no label"
    pairs = zip(names, label.tolist(), strict=True)
    return ", ".join(f"{name} {value:.4g}" for name, value in pairs)


def read_texts(body: bytes, count: int) -> list[str]:
    """Read a JSON list of texts.

    Raises:
        DataError: If the content is something else.
    """
    try:
        texts = parse_json(body.decode())
    except ValueError as error:
        raise DataError(f"the request is not valid JSON ({printable(error)})") from None
    is_list = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not is_list or len(texts) != count:
        raise DataError(f"expected a list of texts, {count} in number")
    return texts
