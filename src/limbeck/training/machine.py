"""Process settings that make steps faster, and translation of PyTorch's errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from limbeck._base.errors import OUT_OF_MEMORY, ConfigError, ResourceError, is_memory_error
from limbeck._base.peers import lost_process

_NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"


@contextmanager
def fast_device_checks() -> Iterator[None]:
    """Let optimizers query the CUDA runtime whether there is a GPU.

    PyTorch's optimizers do so at every step. Lightning sets a variable that makes them query the
    driver's library instead, which takes 50 microseconds.
    """
    value = os.environ.pop(_NVML_CHECK, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[_NVML_CHECK] = value


@contextmanager
def translate_errors(compile: bool | str = False) -> Iterator[None]:
    """Turn errors of PyTorch that users can fix into limbeck's.

    Args:
        compile: Value of ``trainer.compile``.

    Raises:
        ConfigError: If ``torch.compile`` fails on this machine.
        ResourceError: If memory ran out, or another process of the training has ended.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{OUT_OF_MEMORY} of the device ran out: {error} Lower batch_size, or seeds."
        ) from None
    except (MemoryError, RuntimeError) as error:
        if _is_connection_error(error):
            raise lost_process() from None
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"trainer.compile={compile}: torch.compile failed on this machine ({reason}). On a "
                "CPU it needs a C++ compiler. Use trainer.compile=false to train without it."
            ) from None
        if not is_memory_error(error):
            raise
        raise ResourceError(
            f"{OUT_OF_MEMORY} ran out: {error} Lower batch_size, or seeds."
        ) from None


def _is_connection_error(error: Exception) -> bool:
    """Whether an error says that another process of a training cannot be reached any more."""
    if isinstance(error, getattr(torch.distributed, "DistError", ())):
        return True
    message = str(error)
    return "third_party/gloo" in message or "Connection closed by peer" in message
