"""What is checked of a teacher before anyone learns from it."""

from collections.abc import Sequence

import torch
from torch import nn

from limbeck.errors import TeacherError
from limbeck.models.checkpoint import LoadedModel, model_name


def check_teacher(loaded: LoadedModel, *, shape: Sequence[int], class_names: Sequence[str], where: str) -> None:
    """Check that a teacher fits the data: finite weights, same classes in the same order, and it can read the inputs.

    Raises:
        TeacherError: it does not.
    """
    for name, tensor in loaded.model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            broken = int((~tensor.isfinite()).sum())
            raise TeacherError(
                f"{where}: {broken} of {tensor.numel()} values of {name} are infinite or not a number. Its training "
                "diverged, or the file is damaged; take another teacher (teacher.from=...)."
            )
    answers = probe(loaded.model, shape, where=where)
    if answers != len(class_names):
        raise TeacherError(
            f"{where}: the teacher gives {answers} classes, the data has {len(class_names)}. Choose the data it was "
            "trained on (data=...), or another teacher (teacher.from=...)."
        )
    theirs = loaded.description.get("class_names")
    if theirs is not None and list(theirs) != list(class_names):
        if len(theirs) != len(class_names):
            raise TeacherError(
                f"{where}: the teacher names {len(theirs)} classes, the data has {len(class_names)}. Classes should be "
                "the same in the same order."
            )
        differ = next(i for i, (a, b) in enumerate(zip(theirs, class_names, strict=True)) if a != b)
        raise TeacherError(
            f"{where}: the teacher's class {differ} is {theirs[differ]!r}, that of the data {class_names[differ]!r}. "
            "Classes should be the same in the same order."
        )


@torch.no_grad()
def probe(model: nn.Module, shape: Sequence[int], *, where: str) -> int:
    """Number of classes that a model answers for one empty input of the given shape.

    Raises:
        TeacherError: it cannot read such an input, or its answer is not ``[1, C]``.
    """
    was_training = model.training
    first = next(model.parameters(), None)
    try:
        logits = model.eval()(torch.zeros(1, *shape, device=None if first is None else first.device))
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise TeacherError(
            f"{where}: {model_name(model)} cannot read inputs of shape {list(shape)} ({reason})."
        ) from None
    finally:
        model.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != 1:
        found = f"shape {list(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise TeacherError(
            f"{where}: {model_name(model)} answers one input with {found}; logits [1, classes] were expected."
        )
    return logits.shape[-1]
