"""What is checked of a teacher before anyone learns from it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck._base.errors import TeacherError
from limbeck.models import HuggingFace, LoadedModel, model_name

MOST_PADDED = 1024
"""Entries of a vocabulary beyond the data's that may be padding."""


def check_teacher(
    loaded: LoadedModel,
    blank: Tensor,
    answer_shape: Sequence[int],
    *,
    class_names: Sequence[str],
    where: str,
) -> None:
    """Check that a teacher fits the data: finite weights, same classes in the same order, and it
    can read the inputs.

    Args:
        loaded: the teacher.
        blank: one empty input, ``[1, *shape]``.
        answer_shape: of the logits of one input: ``[C]``, of text ``[T, C]``.
        class_names: of the data, in the order of the logits; of text the tokens by their ids.
        where: it came from, for the message.

    Raises:
        TeacherError: it does not.
    """
    for name, tensor in loaded.model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            broken = int((~tensor.isfinite()).sum())
            raise TeacherError(
                f"{where}: {broken} of {tensor.numel()} values of {name} are infinite or not a "
                "number. Its training "
                "diverged, or the file is damaged; take another teacher (teacher.from=...)."
            )
    kind, each = ("classes", "class") if len(answer_shape) == 1 else ("tokens", "token")
    answers = probe(loaded.model, blank, answer_shape, where=where)
    if answers != len(class_names):
        raise TeacherError(
            f"{where}: the teacher gives {answers} {kind}, the data has {len(class_names)}. Choose "
            "the data it was "
            "trained on (data=...), or another teacher (teacher.from=...)."
        )
    theirs = loaded.description.get("class_names")
    if theirs is not None and list(theirs) != list(class_names):
        raise TeacherError(f"{where}: {_difference(theirs, class_names, kind, each)}")
    check_vocabulary(loaded.model, class_names, where=where)


def check_vocabulary(model: nn.Module, tokens: Sequence[str], *, where: str) -> None:
    """Check that the tokens of a model which came with its tokenizer are those of the data, id by
    id.

    Args:
        model: any; of those without a tokenizer nothing is known.
        tokens: of the data, by id; the model may have more, which pad its vocabulary.
        where: it came from, for the message.

    Raises:
        TeacherError: they are not.
    """
    if not isinstance(model, HuggingFace):
        return
    theirs = model.vocabulary
    if theirs is None and model.padded > MOST_PADDED:
        raise TeacherError(
            f"{where}: the model has {len(tokens) + model.padded:,} tokens, the data "
            f"{len(tokens):,}, and no "
            "tokenizer.json beside its weights tells whether they are the same. Put it there, and "
            "encode the text with "
            "it (data.tokenizer=FOLDER)."
        )
    if theirs is not None and theirs[: len(tokens)] != list(tokens):
        raise TeacherError(
            f"{where}: {_difference(theirs[: len(tokens)], tokens, 'tokens', 'token')}"
        )


def _difference(theirs: Sequence[str], ours: Sequence[str], kind: str, each: str) -> str:
    """What tells a model's classes or tokens from those of the data, in a sentence and what to do
    about it.
    """
    alike = f"{kind.capitalize()} should be the same in the same order."
    if each == "token":
        alike += " Encode the text with the teacher's own tokenizer (data.tokenizer=FOLDER)."
    if len(theirs) != len(ours):
        return f"the teacher names {len(theirs)} {kind}, the data has {len(ours)}. {alike}"
    differ = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
    return f"the teacher's {each} {differ} is {theirs[differ]!r}, that of the data {ours[differ]!r}. {alike}"


@torch.no_grad()
def probe(model: nn.Module, blank: Tensor, answer_shape: Sequence[int], *, where: str) -> int:
    """Number of classes that a model answers for one empty input.

    Args:
        model: to ask.
        blank: the input, ``[1, *shape]``.
        answer_shape: what its logits should be, but for the number of classes: ``[C]``, of text
            ``[T, C]``.
        where: it came from, for the message.

    Raises:
        TeacherError: it cannot read such an input, or its answer is not ``[1, *answer_shape]``.
    """
    was_training = model.training
    first, shape = next(model.parameters(), None), list(blank.shape[1:])
    try:
        logits = model.eval()(blank if first is None else blank.to(first.device))
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise TeacherError(
            f"{where}: {model_name(model)} cannot read inputs of shape {shape} ({reason})."
        ) from None
    finally:
        model.train(was_training)
    wanted = (1, *answer_shape[:-1])
    if not isinstance(logits, Tensor) or logits.shape[:-1] != wanted:
        found = (
            f"shape {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        )
        raise TeacherError(
            f"{where}: {model_name(model)} answers one input with {found}; logits "
            f"[{', '.join(map(str, wanted))}, classes] were expected."
        )
    return logits.shape[-1]
