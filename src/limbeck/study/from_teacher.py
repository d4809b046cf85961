"""Students that start from their teacher: from some of its layers, or its embeddings."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from limbeck.models.blocks import TEACHER, TOKEN_VECTORS

ARGUMENT = "teacher"
"""Name of the argument of a builder that takes the model of the teacher."""


@dataclass(frozen=True)
class StudentOfTeacher:
    """A builder of students, with the teacher that they start from.

    Attributes:
        builder: Function that builds the untrained student; takes the argument ``teacher``.
        teacher: Function that returns the model of the teacher for the seed of a student.
    """

    builder: Callable[..., nn.Module]
    teacher: Callable[[int], nn.Module]

    def __call__(self, **arguments: Any) -> nn.Module:
        """Build the student of any seed."""
        return self.for_seed(0)(**arguments)

    def for_seed(self, seed: int) -> Callable[..., nn.Module]:
        """Return the builder of the student of a seed."""
        return partial(self.builder, **{ARGUMENT: self.teacher(seed)})


def starts_from_teacher(builder: Callable[..., nn.Module]) -> bool:
    """Whether students of a builder start from their teacher.

    The builder has an argument ``teacher``. If it also has an argument ``init``, as limbeck's
    models, that has to be ``teacher`` or ``token_vectors``.

    Args:
        builder: Function that builds the untrained student.
    """
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return False
    if ARGUMENT not in parameters:
        return False
    return "init" not in parameters or parameters["init"].default in (TEACHER, TOKEN_VECTORS)
