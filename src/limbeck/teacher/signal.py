"""The teacher's signal: its answers to a batch, computed by models or looked up in a store.

A signal is not a module: it never enters a student's module tree, its checkpoint or its optimizer.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.freed_memory import keep_freed_memory
from limbeck.data.inputs import Inputs, ModelInputs, call, fit_to_model, tensors_of
from limbeck.losses.divergences import upcast
from limbeck.losses.sparse import SparseTargets
from limbeck.losses.tasks import Outputs
from limbeck.models import model_name
from limbeck.models.output import logits_of
from limbeck.teacher.probabilities import two_logits

COMBINE = ("probabilities", "logits")
VALUES = "values"
"""The combination of outputs that are no logits of classes: their mean."""
LABELS = "labels"
"""The combination of logits of several labels: the logit of the mean probability."""
MAX_NAMES = 4
"""Maximum number of parts in the name of an ensemble."""
MAX_DEVICE_BYTES = 2 << 30
"""Maximum size of stored answers that are moved to an accelerator; larger ones stay on the CPU."""


class TeacherSignal(ABC):
    """A teacher's answers to a batch: raw logits, or the part of them that a store keeps.

    They are never softened: the temperature belongs to the loss.

    Attributes:
        models: Models that compute the answers; empty if they are stored.
        is_stored: Whether the answers are stored, and were checked before.
    """

    models: Sequence[nn.Module] = ()
    is_stored: bool = False

    @abstractmethod
    def __call__(
        self, x: ModelInputs, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """Answer a batch.

        Args:
            x: Inputs as the student sees them, ``[..., B, *shape]``; or several inputs from a
                loader of a user, ``[B, ...]`` each.
            sample: Row numbers of the samples in the training split, int64 ``[..., B]``; None
                outside a study.
            view: View of each sample, int64 ``[..., B]``; None outside a study.

        Returns:
            float32 logits ``[..., B, C]`` (float64 from a model in float64) without gradient, or
            ``[..., B, T, C]`` for blocks of tokens. If a store keeps K of the classes, targets
            ``[..., B, K]`` or ``[..., B, T, K]``.
        """


class LiveTeacher(TeacherSignal):
    """One or several frozen models that answer each batch.

    Args:
        models: Models that return logits ``[B, C]`` for inputs ``[B, *shape]``, or ``[B, T, C]``
            for token ids ``[B, T]``. They are put into eval mode; their weights and buffers never
            change. A single logit ``[B, 1]`` is that of the second of two classes.
        combine: Combination of several answers: ``probabilities`` is the log of the mean
            probability (arithmetic mean), ``logits`` the mean of the logits (geometric mean of the
            probabilities at every temperature). ``values`` is the mean of outputs that are values
            (regression), of which one is not a logit of two classes; ``labels`` is the logit of the
            mean probability of each of several labels.

    Raises:
        ConfigError: If there is no model, or the combination is unknown.
    """

    def __init__(self, models: nn.Module | Sequence[nn.Module], *, combine: str = "probabilities"):
        self.models = [models] if isinstance(models, nn.Module) else list(models)
        if not self.models:
            raise ConfigError("A teacher needs at least one model.")
        if combine not in (*COMBINE, VALUES, LABELS):
            raise ConfigError(
                f"teacher.combine={combine!r} is unknown; choose one of {', '.join(COMBINE)}."
            )
        self.combine = combine

    @property
    def name(self) -> str:
        """Names of the members, such as ``3 x MLP`` or ``ConvNet + MLP``."""
        counts = Counter(model_name(model) for model in self.models)
        names = [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]
        if len(names) > MAX_NAMES:
            names[MAX_NAMES - 1 :] = [f"{len(names) - MAX_NAMES + 1} more"]
        return " + ".join(names)

    def __call__(
        self, x: ModelInputs, sample: Tensor | None = None, view: Tensor | None = None
    ) -> Tensor:
        """Return logits for a batch, see :class:`TeacherSignal`."""
        if isinstance(x, Inputs):
            return self.answer(x)
        batch_dims = 1 if sample is None else sample.ndim
        return self.answer(x.flatten(0, batch_dims - 1)).unflatten(0, x.shape[:batch_dims])

    def prepare(self, device: torch.device) -> None:
        """Move the members to a device and put them into eval mode."""
        keep_freed_memory()
        for model in self.models:
            first = next(model.parameters(), None)
            if first is not None and first.device != device:
                model.to(device)
            if any(module.training for module in model.modules()):
                model.eval()

    @torch.no_grad()
    def answer(self, x: ModelInputs) -> Tensor:
        """Compute logits.

        Args:
            x: Inputs ``[B, *shape]``, or token ids ``[B, T]`` for a language model; or several
                inputs.

        Returns:
            Logits ``[B, C]``, or ``[B, T, C]`` for a language model.

        Raises:
            TeacherError: If a member returns no logits, or the members differ in the number of
                classes.
        """
        first = tensors_of(x)[0]
        self.prepare(first.device)
        logits = []
        for model in self.models:
            outputs = call(model, fit_to_model(x, model))
            output = logits_of(outputs, len(first), "teacher", TeacherError)
            if output.shape[-1] == 1 and self.combine in COMBINE:
                output = two_logits(output)
            logits.append(upcast(output))
        if len(logits) == 1:
            return logits[0]
        if len({answer.shape for answer in logits}) > 1:
            raise TeacherError(
                f"The members of the teacher output {[answer.shape[-1] for answer in logits]} "
                "classes. All members need the same number of classes."
            )
        return combine_outputs(torch.stack(logits), self.combine)


def combine_for(outputs: Outputs, combine: str) -> str:
    """Return the combination of the outputs of several models.

    Args:
        outputs: Kind of the outputs.
        combine: Setting ``teacher.combine``: ``probabilities`` or ``logits``.
    """
    if outputs == "labels" and combine == "probabilities":
        return LABELS
    return combine if outputs == "classes" else VALUES


def combine_outputs(stacked: Tensor, combine: str) -> Tensor:
    """Combine the outputs of M models, ``[M, ..., C]``, see :class:`LiveTeacher`."""
    if combine in ("logits", VALUES):
        return stacked.mean(0)
    if combine == LABELS:
        applies, others = F.logsigmoid(stacked), F.logsigmoid(-stacked)
        return applies.logsumexp(0) - others.logsumexp(0)
    log_members = torch.log(torch.tensor(float(len(stacked))))
    return torch.log_softmax(stacked, -1).logsumexp(0) - log_members


class JoinedTeachers(TeacherSignal):
    """One teacher for each part of the seeds of a cohort.

    Args:
        parts: Teacher of each part, and its number of seeds.
    """

    def __init__(self, parts: Sequence[tuple[TeacherSignal, int]]):
        self.teachers = [teacher for teacher, _ in parts]
        self.sizes = [size for _, size in parts]
        self.models = [model for teacher in self.teachers for model in teacher.models]
        self.is_stored = all(teacher.is_stored for teacher in self.teachers)

    def __call__(
        self, x: ModelInputs, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """Return the answers to a batch, see :class:`TeacherSignal`. The first dimension is S."""
        assert isinstance(x, Tensor)  # a study has one input
        assert sample is not None
        assert view is not None
        batches = (values.split(self.sizes) for values in (x, sample, view))
        answers = [
            teacher(*batch)
            for teacher, batch in zip(self.teachers, zip(*batches, strict=True), strict=True)
        ]
        return join_answers(answers)


class StoredTeacher(TeacherSignal):
    """Answers computed once, looked up by sample and view.

    Args:
        records: Stored answers ``[N, V, ...]``: logits ``[N, V, C]`` or ``[N, V, T, C]`` in any
            floating dtype, or records that ``decode`` reads. They may be memory-mapped.
        rows: Row of the training split for each answer, int64 ``[N]``; None if the answers cover
            the whole split in order.
        samples: Size of the training split; needed only with ``rows``.
        decode: Function that converts records ``[..., B, ...]`` to answers.
    """

    is_stored = True

    def __init__(
        self,
        records: Tensor,
        *,
        rows: Tensor | None = None,
        samples: int = 0,
        decode: Callable[[Tensor], Tensor | SparseTargets] = upcast,
    ):
        self.records = records
        self.decode = decode
        self._index: Tensor | None = None
        if rows is not None:
            # the index of a row without an answer is past the end of the records
            self._index = torch.full((max(samples, int(rows.max()) + 1),), len(records))
            self._index[rows] = torch.arange(len(rows))

    def __call__(
        self, x: ModelInputs, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """Return the answers to a batch, see :class:`TeacherSignal`.

        Raises:
            TeacherError: If the batch has no rows and views, or a sample has no answer.
        """
        if sample is None or view is None or isinstance(x, Inputs):
            raise TeacherError(
                "Stored answers need each sample's row and view; a plain (x, y) batch has none."
            )
        if self.records.device != x.device and self.records.nbytes <= MAX_DEVICE_BYTES:
            self.records = self.records.to(x.device)
        device = self.records.device
        index = self._index_of(sample.to(device))
        if self.records.shape[1] == 1:  # several times faster than indexing by rows and views
            batch = self.records[:, 0].index_select(0, index.flatten()).unflatten(0, index.shape)
        else:
            batch = self.records[index, view.to(device)]
        return self.decode(batch.to(x.device))

    def _index_of(self, sample: Tensor) -> Tensor:
        """Return the index of each sample among the records."""
        if self._index is None:
            return sample
        self._index = self._index.to(sample.device)
        index = self._index[sample]
        if index.device.type != "cpu":
            return index  # a check would wait for the device; an index past the end fails there
        missing = index == len(self.records)
        if bool(missing.any()):
            row = int(sample[missing][0])
            raise TeacherError(
                f"The store has no answer for training sample {row}: it holds "
                f"{len(self.records)} samples of {len(self._index)}. This is a bug in limbeck; "
                "use store=off."
            )
        return index


def join_answers(answers: Sequence[Tensor | SparseTargets]) -> Tensor | SparseTargets:
    """Join the answers of several teachers along the first dimension."""
    dense = [part for part in answers if isinstance(part, Tensor)]
    if dense:
        return torch.cat(dense)
    sparse = [part for part in answers if isinstance(part, SparseTargets)]
    tails = [part.tail for part in sparse if part.tail is not None]
    return SparseTargets(
        torch.cat([part.ids for part in sparse]),
        torch.cat([part.log_p for part in sparse]),
        torch.cat(tails) if tails else None,
        sparse[0].classes,
    )
