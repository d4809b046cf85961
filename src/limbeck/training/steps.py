"""Many optimizer steps in one call of Lightning's ``training_step``.

Lightning's loop costs about a millisecond around every step, several times what a small student's
step takes. Where nothing asks for single steps, an epoch is therefore one item of the loader, and
its steps are taken inside.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.plugins.precision import (
    DoublePrecision,
    HalfPrecision,
    MixedPrecision,
    Precision,
)
from lightning.pytorch.strategies import SingleDeviceStrategy

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_PLAIN = (Precision, HalfPrecision, DoublePrecision, MixedPrecision)


def can_take_whole_epochs(trainer: Any) -> bool:
    """Whether no option of a Trainer asks for single steps.

    Several devices, a loss scale, gradient clipping or accumulation, limits on the number of steps
    or on time do.
    """
    asked = (
        trainer.accumulate_grad_batches != 1,
        trainer.gradient_clip_val,
        trainer.max_steps != -1,
        not _is_all(trainer.limit_train_batches),
        trainer.overfit_batches,
        getattr(trainer, "fast_dev_run", False),
        not _is_all(trainer.val_check_interval),
        any(isinstance(c, Timer) for c in trainer.callbacks),
    )
    plugin = trainer.precision_plugin
    alone = trainer.world_size == 1 and isinstance(trainer.strategy, SingleDeviceStrategy)
    return (
        alone
        and type(plugin) in _PLAIN
        and getattr(plugin, "scaler", None) is None
        and not any(asked)
    )


def _is_all(limit: float | int | None) -> bool:
    """Whether a limit of Lightning's is none: 1.0 is all batches, 1 is one of them."""
    return limit is None or (isinstance(limit, float) and limit == 1)


def has_length(loader: Any) -> bool:
    """Whether a loader knows how many batches it has, and has any."""
    try:
        return len(loader) > 0
    except (TypeError, NotImplementedError):  # a DataLoader over an iterable data set
        return False


@contextmanager
def cheap_device_checks() -> Iterator[None]:
    """Let optimizers ask the CUDA runtime whether there is a GPU, not the driver's library anew at
    each step.

    PyTorch's optimizers ask at every step; Lightning sets the variable that makes the answer take
    50 microseconds.
    """
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    before = os.environ.pop(name, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before


def drawn_outside(batches: Iterable[Any], device: str) -> Iterator[Any]:
    """Batches made as Lightning's loop makes them: outside the precision in which a training step
    computes.

    Args:
        batches: of an epoch.
        device: type of the device, as in ``torch.autocast``.
    """
    drawn, end = iter(batches), object()
    while True:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.autocast(device, enabled=False):
                batch = next(drawn, end)
        finally:
            torch.set_default_dtype(before)
        if batch is end:
            return
        yield batch


def keep_freed_memory() -> None:
    """Let glibc keep what tensors free for the next ones, instead of handing it back to the system
    at each step.

    Fresh memory from the system costs a page fault for every 4 KiB: with gradients of 8 MB up to a
    third of a step (docs/log.md). Only on Linux with glibc, and unless the environment has settings
    of its own.
    """
    if any(
        name in os.environ
        for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    ):
        return
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # the largest that it takes
