"""Inputs to predict."""

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Text(str):
    """A text to classify, in place of the path of a file."""


class Sample(NamedTuple):
    """One input to predict.

    Attributes:
        file: File that contains it.
        line: Number of its line in a table; None for a file of one input.
        array: The input, ``[...]``; None if it cannot be read.
        error: Reason why it cannot be read, or empty.
        id: Name of the sample in a table, or empty.
    """

    file: Path
    line: int | None
    array: np.ndarray | None
    error: str
    id: str = ""
