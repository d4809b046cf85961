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

    def forward(self, *inputs: Tensor, **by_name: Tensor) -> object:
        """Return the function's logits for one input ``[B, ...]``, or several.

        Raises:
            TeacherError: If the function raises an error.
        """
        (function,) = self._function
        first = [*inputs, *by_name.values()][0]
        arguments = [_on_cpu(x) for x in inputs]
        options = {name: _on_cpu(x) for name, x in by_name.items()}
        try:
            output = without_wrapper(function(*arguments, **options))
        except Exception as error:  # a function of the user may raise anything
            reason = " ".join(str(error).split())[:200]
            raise TeacherError(
                f"The teacher {self.name} failed for inputs of shape {list(first.shape)} "
                f"({first.dtype}): {type(error).__name__}: {reason}"
            ) from error
        if isinstance(output, (np.ndarray, list)):
            output = torch.as_tensor(np.asarray(output, dtype=np.float32))
        if not isinstance(output, Tensor):
            return output  # the error of what is no tensor is the same for all teachers
        if output.ndim == 1 and len(output) == len(first):
            output = output.unsqueeze(1)
        return output.to(first.device)

    def compute(self, x: Tensor) -> object:
        """Return the function's logits for one input, see :meth:`forward`."""
        return self.forward(x)


def _on_cpu(x: Tensor) -> Tensor:
    """Return an input on the CPU, in a type that NumPy has."""
    x = x.detach().cpu()
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return name.replace("<locals>.", "").replace("<lambda>", "lambda")
