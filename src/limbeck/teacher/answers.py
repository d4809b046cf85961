"""Check of a teacher's answers while students learn from them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck._base.errors import DataError, LimbeckError, TeacherError
from limbeck.data.batches import Batch
from limbeck.data.labels import are_tokens, predictions_per_sample
from limbeck.data.loaders import name_in_batch
from limbeck.losses.base import UNLABELLED

RECORD = 6
"""Number of values of a record."""


class AnswerCheck:
    """Check that the answers of a live teacher are distributions.

    A logit of -inf excludes a class. A NaN, a logit of +inf, or -inf for every class makes the loss
    NaN, which would look like a student that diverged.

    On one CPU process such an answer is an error at once. Elsewhere the first one is recorded where
    it was computed, so that no step waits for an accelerator or fails in one process alone, and
    :meth:`check_record` reads the record after the epoch.

    Args:
        finite_loss: Name of a soft loss that needs finite logits for all classes; None if -inf is
            valid.
    """

    def __init__(self, finite_loss: str | None = None):
        self.finite_loss = finite_loss
        self._batch = -1
        self._record: Tensor | None = None

    def reset(self) -> None:
        """Begin a new epoch."""
        self._batch = -1

    def state_dict(self) -> dict[str, Any]:
        """Number of the last batch, and the record in CPU memory."""
        return {
            "batch": self._batch,
            "record": None if self._record is None else self._record.cpu(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Continue after the batch of :meth:`state_dict`."""
        self._batch = state["batch"]
        record = state["record"]
        self._record = None if record is None else record.to(device)

    def add(self, logits: Tensor, batch: Batch, first: int = 0) -> None:
        """Check the answers to a batch, or to a part of its positions.

        Args:
            logits: Logits of the teacher, ``[..., C]``.
            batch: Batch that they answer.
            first: Number of the first position of a part.

        Raises:
            TeacherError: If an answer is no distribution.
            DataError: If the input is the cause.
        """
        if first == 0:
            self._batch += 1
        raises_at_once = logits.device.type == "cpu" and not _shares_batches()
        if raises_at_once and math.isfinite(float(logits.sum())):
            return  # the usual case, in a single pass
        if logits.numel() == 0:  # a process without a sample of the last batch
            if self._record is None:
                self._record = logits.new_zeros(RECORD, dtype=torch.long)
            return
        invalid = ~torch.isfinite(logits.amax(-1)).flatten()
        if self.finite_loss:
            invalid |= ~torch.isfinite(logits.amin(-1)).flatten()
        if are_tokens(batch.y):  # text, of which no loss uses the ignored positions
            invalid &= batch.y.flatten()[first : first + len(invalid)] != UNLABELLED
        if raises_at_once:
            if bool(invalid.any()):
                raise self._error(self._describe(invalid, batch, first).tolist())
            return
        record = self._describe(invalid, batch, first)
        if self._record is not None:
            record = torch.where(self._record[0] > 0, self._record, record)
        self._record = record

    def check_record(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Raise the error of the first invalid answer that was recorded in any process.

        Args:
            reduce: Function that sums a tensor over all processes.

        Raises:
            TeacherError: If an answer was no distribution.
            DataError: If the input was the cause.
        """
        if self._record is not None and bool(reduce(self._record[:1])):
            raise self._error(self._record.tolist())

    def _describe(self, invalid: Tensor, batch: Batch, first: int) -> Tensor:
        """Record of the first invalid answer: found, batch, sample, row, token, and valid input.

        The row is -1 outside a study, the token -1 unless the inputs are text.
        """
        position = invalid.int().argmax() + first
        tokens = predictions_per_sample(batch.y)
        sample = torch.div(position, tokens, rounding_mode="floor")
        index = sample.view(1)
        row = torch.full_like(index, -1)
        if batch.sample is not None:
            row = batch.sample.flatten().to(index.device).index_select(0, index)
        token = torch.full_like(index, -1)
        if are_tokens(batch.y):
            token = position.view(1) - index * tokens
        x = batch.x.flatten(0, 1).index_select(0, index)
        parts = [
            invalid.any().view(1),
            torch.full_like(index, self._batch),
            index,
            row,
            token,
            torch.isfinite(x).all().view(1),
        ]
        return torch.cat([part.long() for part in parts])

    def _error(self, record: list[int]) -> LimbeckError:
        has_record, batch, sample, row, token, is_input_valid = record
        where = f"Training sample {row}"
        if not has_record:
            where = "A sample of another process"
        elif row < 0:
            where = name_in_batch(batch, sample)
        if has_record and not is_input_valid:
            return DataError(
                f"{where} has an input that is infinite or not a number, so nothing can be learnt "
                "from it. Repair or remove it."
            )
        where = where[0].lower() + where[1:]
        if token >= 0:
            where += f", token {token},"
        message = (
            f"The teacher's logits of {where} are not finite: at least one is NaN or +inf, or all "
            "are -inf. Check the teacher, or compute with trainer.precision=32-true."
        )
        if self.finite_loss:
            message = (
                f"The teacher's logits of {where} are not finite, as objective.soft="
                f"{self.finite_loss} requires. If it excludes classes with -inf, choose another "
                "soft loss, such as kl; otherwise check the teacher."
            )
        return TeacherError(message)


def _shares_batches() -> bool:
    """Whether several processes train together; an error in one alone would block the others."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
