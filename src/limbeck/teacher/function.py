"""A plain function from a batch to logits, as a teacher."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.models.output import without_wrapper
from limbeck.teacher.adapter import ProbedModel


class FunctionTeacher(ProbedModel):
    """A function as a teacher.

    Args:
        function: Function from inputs ``[B, ...]``, a tensor on the CPU, to logits ``[B, C]``: a
            tensor on any device, or an array. One logit per input, ``[B]`` or ``[B, 1]``, is that
            of the second of two classes.
    """

    def __init__(self, function: Callable[[Tensor], Any]):
        super().__init__(_name(function))
        self._function = (function,)  # in a tuple, because it may be a method of a module

    def description(self) -> str:
        """Name and module of the function."""
        (function,) = self._function
        module = getattr(function, "__module__", None)
        return f"{module}.{self.name}"

    def forward(self, x: Tensor) -> object:
        """Return the function's logits for inputs ``[B, ...]``.

        Raises:
            TeacherError: If the function raises an error.
        """
        (function,) = self._function
        inputs = x.detach().cpu()
        if inputs.dtype in (torch.float16, torch.bfloat16):
            inputs = inputs.float()
        try:
            output = without_wrapper(function(inputs))
        except Exception as error:  # a function of the user may raise anything
            reason = " ".join(str(error).split())[:200]
            raise TeacherError(
                f"The teacher {self.name} failed for inputs of shape {list(x.shape)} "
                f"({inputs.dtype}): "
                f"{type(error).__name__}: {reason}"
            ) from error
        if isinstance(output, (np.ndarray, list)):
            output = torch.as_tensor(np.asarray(output, dtype=np.float32))
        if not isinstance(output, Tensor):
            return output  # the error of what is no tensor is the same for all teachers
        if output.ndim == 1 and len(output) == len(x):
            output = output.unsqueeze(1)
        return output.to(x.device)


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return name.replace("<locals>.", "").replace("<lambda>", "lambda")
