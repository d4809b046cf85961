"""Predict with one model on batches, and score it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.batch_forms import BatchNames, Key, Names
from limbeck.data.batch_reader import BatchReader
from limbeck.data.batches import EvaluationBatches, own_inputs
from limbeck.data.batches import teacher_inputs as inputs_of_teacher
from limbeck.data.checks import check_finite
from limbeck.data.dataset import Split
from limbeck.data.inputs import ModelInputs, call, fit_to_model, map_inputs, tensors_of
from limbeck.data.loaders import check_labels, dtype_fault, name_in_batch
from limbeck.evaluation.metrics import classification_metrics
from limbeck.evaluation.number_scorer import NumberScorer
from limbeck.evaluation.text import TokenScores, concatenate_scores, score_batch, token_metrics
from limbeck.losses.base import UNLABELLED, check_several_classes
from limbeck.losses.tasks import TASKS, check_task
from limbeck.models.eval_mode import eval_mode
from limbeck.models.output import logits_of

Answer = Callable[[ModelInputs], Tensor]
"""Function from a batch of inputs to logits."""


def predict(model: nn.Module, inputs: Iterable[ModelInputs]) -> Tensor:
    """Compute the logits of a model in eval mode.

    Args:
        model: Model on any device and of any precision. The training mode of each submodule is
            restored.
        inputs: Batches of inputs.

    Returns:
        Logits ``[N, C]`` in float32 on the CPU.

    Raises:
        ConfigError: If there is no batch, or the model returns no logits.
        DataError: If an input is infinite or NaN, or if the model refuses integers.
    """
    with answers_of(model) as answer:
        logits = [answer(x) for x in inputs]
    if not logits:
        raise ConfigError("The loader returned no batch.")
    return torch.cat(logits)


def predict_split(model: nn.Module, split: Split) -> Tensor:
    """Compute the logits ``[N, C]`` of a model for a split, in batches for evaluation."""
    batches = EvaluationBatches(split, models=[model])
    return predict(model, (batch.x[0] for batch in batches))


@contextmanager
def answers_of(model: nn.Module, role: str = "model") -> Iterator[Answer]:
    """Set eval mode, and yield a function from inputs to logits, float32 on the CPU.

    Args:
        model: Model on any device and of any precision. The training mode of each submodule is
            restored afterwards.
        role: Role of the model for messages: ``model`` or ``teacher``.
    """
    shapes: list[torch.Size] = []

    # not inference_mode: a model may later be trained on tensors that a loader caches
    @torch.no_grad()
    def answer(inputs: ModelInputs) -> Tensor:
        first = tensors_of(inputs)[0]
        output = logits_of(_outputs(model, inputs), len(first), role).float().cpu()
        if not bool(output.isfinite().all()):
            for values in tensors_of(inputs):
                check_finite(values, partial(name_in_batch, len(shapes)))
        if shapes and output.shape[1:] != shapes[0][1:]:
            raise ConfigError(
                f"The {role} returned logits of shape {list(output.shape)} for batch {len(shapes)} "
                f"but {list(shapes[0])} for the first; expected the same number of logits for "
                "every input."
            )
        shapes.append(output.shape)
        return output

    with eval_mode(model):
        yield answer


def _outputs(model: nn.Module, inputs: ModelInputs) -> Any:
    weight = next(model.parameters(), None)
    if weight is not None:
        device = weight.device
        inputs = map_inputs(inputs, lambda values: values.to(device))
    try:
        return call(model, fit_to_model(inputs, model))
    except RuntimeError as error:
        for values in tensors_of(inputs):
            fault = dtype_fault(values, error)
            if fault is not None:
                raise fault from None
        raise


def evaluate(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    teacher: nn.Module | None = None,
    ordinal: bool = False,
    text_bytes: int | None = None,
    inputs: Names | None = None,
    labels: Key | None = None,
    teacher_inputs: Names | None = None,
    task: str = "classes",
) -> dict[str, Any]:
    """Score a model on a loader with the metrics of a report.

    Args:
        model: Model with logits ``[B, C]``, or ``[B, T, C]`` for text, on any device; for a
            regression values ``[B, D]``. The training mode of each submodule is restored.
        loader: Batches of inputs and integer labels ``[B]``, or ``[B, T]`` for text, as for
            :func:`limbeck.train`; -100 for samples or positions to ignore. For a regression, or
            several labels of 0 and 1, numbers ``[B, D]``.
        teacher: Teacher to compare the model with.
        ordinal: Whether the classes are grades in their order.
        text_bytes: Number of bytes of the text that the labels encode, for ``bits_per_byte``.
        inputs: Key or position of the input in a batch, as for :func:`limbeck.train`.
        labels: Key or position of the labels in a batch.
        teacher_inputs: Key or position of the teacher's input, if it has another.
        task: Kind of target: ``classes``, ``regression``, where squared errors are in units of the
            variance of these labels, or ``multi_label``, where F1 is at a probability of 0.5.

    Returns:
        ``total``, ``correct``, ``errors`` (counts), ``accuracy``, ``nll`` (nats) and ``ece``. With
        a teacher also ``agreement`` and ``kl_to_teacher`` (nats); for grades ``kappa``; for text
        ``perplexity``, and ``bits_per_byte`` if the number of bytes is known. For a regression
        ``total`` and ``squared_error``, ``r_squared``, ``mae`` and ``rmse``; for several labels
        ``label_errors``, ``mean_average_precision``, ``f1_micro`` and ``f1_macro``.

    Raises:
        ConfigError: If the loader has no batch, the model has a single logit, or one of both is no
            module.
        DataError: If a batch has another form, if a label is out of range, if no sample is
            labelled, or if an input is infinite or NaN.
    """
    _check_module(model, "model")
    if teacher is not None:
        _check_module(teacher, "teacher")
    kind = TASKS[check_task(task)]
    names = BatchNames(inputs, labels, teacher_inputs)
    reader = BatchReader(names, model, teacher, has_classes=kind.has_classes)
    ordinal = ordinal or kind.name == "ordinal"
    scorer = _Scorer() if kind.has_classes else NumberScorer(kind)
    with ExitStack() as stack:
        answer = stack.enter_context(answers_of(model))
        teacher_answer: Answer | None = None
        if teacher is not None:
            teacher_answer = stack.enter_context(answers_of(teacher, "teacher"))
        for batch in map(reader.read, loader):
            logits = answer(own_inputs(batch))
            other = None if teacher_answer is None else teacher_answer(inputs_of_teacher(batch))
            scorer.add(logits, batch.y[0].cpu(), other)
    return scorer.metrics(ordinal=ordinal, text_bytes=text_bytes)


def _check_module(model: object, role: str) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"The {role} should be a torch.nn.Module; got {type(model).__name__}. Models of other "
            "libraries are scored by a limbeck.Study whose teacher they are."
        )


class _Scorer:
    """Scores of the labelled predictions of a loader.

    The logits of a text are too large to keep, so each token is reduced to a few numbers.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.logits: list[Tensor] = []
        self.teacher: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.tokens: list[TokenScores] = []

    def add(self, logits: Tensor, y: Tensor, teacher: Tensor | None) -> None:
        """Add a batch.

        Raises:
            ConfigError: If the model has a single logit.
            DataError: If labels do not fit the logits.
        """
        check_several_classes(logits.shape[-1], "model")
        if y.shape != logits.shape[:-1]:
            raise DataError(
                f"The loader has labels of shape {list(y.shape)} for logits of shape "
                f"{list(logits.shape)}; expected {list(logits.shape[:-1])}, an integer for each "
                "row of logits."
            )
        if teacher is not None and teacher.shape != logits.shape:
            raise DataError(
                f"The teacher returned logits of shape {list(teacher.shape)}, the model of shape "
                f"{list(logits.shape)}; expected the same classes."
            )
        first = self.samples
        check_labels(y, logits.shape[-1], lambda row: f"Sample {first + row} of the loader")
        self.samples += len(y)
        is_labelled = y != UNLABELLED
        logits, y = logits[is_labelled], y[is_labelled]
        other = None if teacher is None else teacher[is_labelled]
        if is_labelled.ndim > 1:
            self.tokens.append(score_batch(logits, y, other))
            return
        self.logits.append(logits)
        self.labels.append(y)
        if other is not None:
            self.teacher.append(other)

    def metrics(self, *, ordinal: bool, text_bytes: int | None) -> dict[str, Any]:
        """Return the metrics of all batches, without those that are not defined."""
        if not self.samples:
            raise ConfigError("The loader returned no batch.")
        total = sum(len(y) for y in self.labels) + sum(len(part.nll) for part in self.tokens)
        if not total:
            raise DataError(
                f"All labels of the loader are {UNLABELLED}; expected some to compare with."
            )
        if self.tokens:
            values = asdict(token_metrics(concatenate_scores(self.tokens), text_bytes or 1))
            if text_bytes is None:
                del values["bits_per_byte"]
            has_teacher = self.tokens[0].kl is not None
        else:
            teacher = torch.cat(self.teacher) if self.teacher else None
            logits, y = torch.cat(self.logits), torch.cat(self.labels)
            values = asdict(classification_metrics(logits, y, teacher, ordinal=ordinal))
            has_teacher = teacher is not None
        if not has_teacher:
            del values["agreement"], values["kl_to_teacher"]
        return {"total": total, "correct": total - int(values["errors"]), **values}
