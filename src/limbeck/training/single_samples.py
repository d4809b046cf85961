"""Batches of a single sample, on which a student with BatchNorm cannot be trained."""

import copy
import functools
import warnings

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, LimbeckWarning
from limbeck.data.batches import Batch, own_inputs
from limbeck.data.inputs import ModelInputs, call, map_inputs
from limbeck.data.labels import predictions_per_sample
from limbeck.models.output import logits_of
from limbeck.training.cohort.stack import Cohort


class SingleSampleCheck:
    """Check whether batches of a single sample have to be left out of a training.

    BatchNorm has no statistics of one value per channel. The last batch of an epoch often has one
    sample, so it is left out, with one warning, instead of ending the training. A student that can
    be trained on one sample gets it.

    Args:
        cohort: Students, which are not changed.
    """

    def __init__(self, cohort: Cohort):
        self.cohort = cohort
        self.needs_two: bool | None = None
        """Whether the students need two samples; None before the first batch of one."""

    def accepts(self, batch: Batch) -> bool:
        """Whether the students can be trained on a batch; the same in all processes."""
        samples: float = batch.y.shape[1]
        if batch.counts is not None:
            samples = batch.counts[1] / predictions_per_sample(batch.y)  # per process
        if samples >= 2:
            return True
        if self.needs_two is None:
            self.needs_two = _needs_two(self.cohort, own_inputs(batch))
            if self.needs_two:
                _warn()
        return not self.needs_two


def _needs_two(cohort: Cohort, x: ModelInputs) -> bool:
    """Whether a student in training mode fails on one sample but not on two.

    Args:
        cohort: Students.
        x: Inputs, ``[B, *shape]`` each, of any number of samples.
    """
    student = cohort.member(0, 0) if cohort.student is None else copy.deepcopy(cohort.student)
    first = next(student.parameters(), torch.empty(0))

    def zeros(values: Tensor, samples: int) -> Tensor:
        blank = values.new_zeros(samples, *values.shape[1:]).to(first.device)
        if blank.is_floating_point() and first.is_floating_point():
            return blank.to(first.dtype)  # before the batch is converted to bf16-true or 64-true
        return blank

    def can_run(samples: int) -> bool:
        inputs = map_inputs(x, lambda values: zeros(values, samples))
        return _can_run(student, inputs, samples, first.device)

    return not can_run(1) and can_run(2)


def _can_run(student: nn.Module, inputs: ModelInputs, samples: int, device: torch.device) -> bool:
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        try:
            logits_of(call(student, inputs), samples, "student")
        except (ConfigError, ValueError, RuntimeError, IndexError):
            return False
    return True


@functools.cache
def _warn() -> None:
    """Warn once per process, as a study may have many such students."""
    warnings.warn(
        "A batch of a single sample is left out: a student with BatchNorm cannot be trained on it. "
        "Another batch_size, or drop_last=True of a DataLoader, avoids such a batch.",
        LimbeckWarning,
        stacklevel=3,
    )
