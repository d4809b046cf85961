"""What exports with libraries need: the model on raw inputs, silence, and short reasons."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from torch import Tensor, nn

from limbeck.data.dataset import as_float
from limbeck.models.output import without_wrapper

MAX_REASON_LENGTH = 500
"""Maximum length of another library's message inside an error message."""


class FromRawInputs(nn.Module):
    """A model that takes raw inputs of the dataset: image bytes, floats or token ids.

    Args:
        model: Model on floats or token ids.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> object:
        """Compute the outputs ``[N, classes]`` of inputs as in the dataset, ``[N, ...]``."""
        return without_wrapper(self.model(as_float(inputs)))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress logs, warnings and standard output of a library."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def cause_of(error: BaseException) -> str:
    """Return the class and the first line of an error's root cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0].strip()}"[:MAX_REASON_LENGTH]
