"""Search for the sample in a user's loader that explains why a training failed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from limbeck._base.errors import DataError, DivergedError, TeacherError
from limbeck.data.batch_reader import BatchReader
from limbeck.data.batches import own_inputs
from limbeck.data.inputs import tensors_of
from limbeck.data.loaders import dtype_fault, find_fault
from limbeck.models.output import without_wrapper
from limbeck.training.epochs import count_batches
from limbeck.training.options import TrainerOptions


@contextmanager
def name_bad_samples(
    model: nn.Module, loaders: Any, options: TrainerOptions, reader: BatchReader
) -> Iterator[None]:
    """When a training fails, look for inputs and labels in the loaders that explain it.

    Raises:
        DataError: If there is such a sample.
    """
    classes: list[int] = []

    def record_classes(module: nn.Module, inputs: Any, outputs: Any) -> None:
        hook.remove()
        logits = without_wrapper(outputs)
        if isinstance(logits, Tensor):
            classes.append(logits.shape[-1])

    hook = model.register_forward_hook(record_classes)
    try:
        yield
    except (DivergedError, TeacherError, DataError, IndexError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_index_error(error):
            fault = _dtype_fault_in(loaders.train, error, reader)
            if fault is not None:
                raise fault from None
            raise
        batches = min(count_batches(loaders.train, options.limit_train_batches), options.step_limit)
        limits = [(loaders.train, batches)]
        if loaders.val is not None:
            limits.append((loaders.val, count_batches(loaders.val, options.limit_val_batches)))
        for loader, limit in limits:
            fault = find_fault(
                loader,
                batches=limit,
                classes=classes[0] if classes else None,
                reader=reader,
            )
            if fault is not None:
                raise fault from None
        raise
    finally:
        hook.remove()


def _dtype_fault_in(
    loader: Iterable[Any], error: RuntimeError, reader: BatchReader
) -> DataError | None:
    """Return the error about the type of a loader's inputs; None if there is no further batch."""
    batch = next(iter(loader), None)
    if batch is None:
        return None
    faults = [dtype_fault(x, error) for x in tensors_of(own_inputs(reader.read(batch)))]
    return next(filter(None, faults), None)


def _is_index_error(error: RuntimeError) -> bool:
    """Whether an operation of PyTorch refused an index; on CUDA these errors have no class."""
    return "out of bounds" in str(error) or "device-side assert" in str(error)
