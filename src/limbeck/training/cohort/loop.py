"""The training loop: one for a teacher, a student or a whole cohort.

It reads from top to bottom: batches, forward, losses, backward, clip, step, schedule, validate,
log, checkpoint. Lightning Fabric places the students on their device, applies the
precision, and sums gradients over processes.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from limbeck._base.errors import ConfigError
from limbeck._base.progress import Advance
from limbeck.data.batches import Batch
from limbeck.models.eval_mode import eval_mode
from limbeck.training.averaging import average_of, with_average
from limbeck.training.cohort.checkpoint import Checkpoints, Position
from limbeck.training.cohort.rates import RateGroups
from limbeck.training.epochs import count_batches, count_steps, read_epoch
from limbeck.training.fabric import (
    can_fuse,
    check_loss_scale,
    share_loader,
)
from limbeck.training.optimizer import build_optimizer
from limbeck.training.options import TrainerOptions
from limbeck.training.sharded_strategy import mesh_of
from limbeck.training.task import DistillationTask

PROGRESS_SECONDS = 0.2

LOSS_UNITS = {"classes": "nats", "values": "squared error", "labels": "nats per label"}
"""Units of the validation loss on the progress display, by the kind of outputs."""


class TrainingData(Protocol):
    """Source of batches, such as :class:`~limbeck.data.study_data.StudyData`."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next training batches."""

    def train_batches(
        self, device: torch.device, *, rank: int = 0, processes: int = 1
    ) -> Iterable[Any]:
        """Training batches, read once per epoch."""

    def val_batches(self, device: torch.device) -> Iterable[Any] | None:
        """Validation batches; None for no validation."""


def train_epochs(
    task: DistillationTask,
    data: TrainingData,
    *,
    fabric: Fabric,
    options: TrainerOptions,
    checkpoints: Path | None = None,
    advance: Advance,
) -> int:
    """Train to the last epoch, starting from the last checkpoint if there is one.

    Args:
        task: Students to train, in place, and their losses.
        data: Batches.
        fabric: Devices, precision, processes, which are running, and loggers.
        options: Number of epochs, clipping, accumulation and limits.
        checkpoints: Folder of the checkpoints; None to save none.
        advance: Function to call with the number of finished epochs.

    Returns:
        Number of optimizer steps.

    Raises:
        ConfigError: If an epoch has no batch, or the precision does not suit a cohort.
        DivergedError: If the loss of every student became infinite or not a number.
    """
    check_loss_scale(task.cohort.students, fabric.strategy.precision)
    device, rank, processes = fabric.device, fabric.global_rank, fabric.world_size
    train_batches = share_loader(data.train_batches(device, rank=rank, processes=processes), fabric)
    val_batches = data.val_batches(device)  # whole: a share would have some samples twice
    epochs, accumulate = options.max_epochs or 1, options.accumulate_grad_batches
    epoch_length = count_batches(train_batches, options.limit_train_batches)
    val_length = count_batches(val_batches, options.limit_val_batches)

    task.fit_projections(train_batches)
    task.compile_steps(options.compile)
    model = set_up(task, fabric)
    # Fabric's wrapper synchronises processes; a single process avoids its overhead.
    students = task if processes == 1 else model
    parameters = task.trained_parameters()
    rates = None if task.rates is None else RateGroups(parameters, task.rates)
    optimizer, scheduler = build_optimizer(
        task.optimizer,
        parameters if rates is None else rates.groups,
        steps=lambda: count_steps(epoch_length, options),
        fused=can_fuse(fabric),
    )
    average = average_of(task.cohort, task.optimizer, count_steps(epoch_length, options))
    parts: dict[str, Any] = {"optimizer": optimizer, "precision": fabric.strategy.precision}
    if average is not None:
        parts["average"] = average
    if scheduler is not None:
        parts["scheduler"] = scheduler
    saver = Checkpoints(checkpoints, fabric, task, parts)
    start = saver.load()
    step = start.step

    clear_gradients(parameters)
    for epoch in range(start.epoch, epochs):
        if step >= options.step_limit:
            break
        data.set_epoch(epoch)
        first = number = start.batch if epoch == start.epoch else 0
        if first == 0:  # otherwise the checkpoint holds the state in the middle of the epoch
            task.begin_epoch(epoch, rank)
        last_report = time.monotonic()

        for number, batch, is_last in read_epoch(
            train_batches,
            epoch_length,
            first=first,
            look_ahead=accumulate > 1,
            read=task.reader.read,
            accepts=task.can_train_on,
        ):
            is_step = is_last or number % accumulate == 0
            with fabric.no_backward_sync(model, enabled=not is_step):
                inputs = prepare(batch, fabric)
                with fabric.autocast():
                    loss = students(inputs)
                fabric.backward(loss / accumulate if accumulate > 1 else loss)
            if not is_step:
                continue

            if number % accumulate:  # the last step of an epoch has fewer batches
                scale_gradients(parameters, accumulate / (number % accumulate))
            if rates is not None:
                rates.share_gradients()
            if options.gradient_clip_val:
                clip_gradients(task, optimizer, fabric, options)
            fabric.strategy.optimizer_step(optimizer)
            clear_gradients(parameters)
            if rates is not None:
                rates.clear_gradients()
            if scheduler is not None:
                scheduler.step()
            task.cohort.bound_norms()
            if average is not None:
                average.update()
            step += 1

            if step >= options.step_limit:
                break
            now = time.monotonic()
            if now - last_report > PROGRESS_SECONDS:
                last_report = now
                advance(epoch + min(number / epoch_length, 0.99))
            if saver.times.is_due(now, step):
                saver.save(Position(epoch, number, step))

        if number == 0:
            raise no_batch_error(epoch, task)
        task.begin_validation()
        if val_batches is not None and (epoch + 1) % options.check_val_every_n_epoch == 0:
            with with_average(average):
                validate(task, val_batches, val_length, fabric)

        val_scalars = task.val_scalars(lambda values: sum_over_processes(values, fabric))
        train_scalars = task.train_scalars(lambda values: sum_over_processes(values, fabric), epoch)
        for scalars in filter(None, (val_scalars, train_scalars)):
            fabric.log_dict({**scalars, "epoch": epoch}, step=step)
        task.divergence.check()

        if saver.times.is_due_after(epoch + 1, epochs):
            saver.save(Position(epoch + 1, 0, step))
        advance(epoch + 1, note=_note(val_scalars, task))
    if average is not None:
        average.apply()
    return step


def set_up(task: DistillationTask, fabric: Fabric) -> Any:
    """Place the students on their device, and share their weights if the strategy does.

    Raises:
        ConfigError: If PyTorch cannot share the weights.
    """
    try:
        return fabric.setup_module(task)
    except ValueError as error:
        if mesh_of(fabric) is None:
            raise
        raise ConfigError(
            f"trainer.strategy=fsdp cannot share the weights of this model: {error} Use "
            "trainer.strategy=ddp."
        ) from None


def no_batch_error(epoch: int, task: DistillationTask) -> ConfigError:
    """Return the error for an epoch without a batch."""
    if task.single_samples.needs_two:
        return ConfigError(
            "Every batch has a single sample, on which a student with BatchNorm cannot be trained. "
            "Use a batch_size of at least 2 per process."
        )
    if epoch == 0:
        return ConfigError(
            "The loader returned no batch: its dataset is empty, or drop_last leaves out its only "
            "batch."
        )
    return ConfigError(
        f"The loader returned no batch in epoch {epoch + 1}, so it can be read only once. Give a "
        "list or a DataLoader."
    )


def prepare(batch: Batch, fabric: Fabric) -> Batch:
    """Convert a batch to the device and the precision of the training."""
    if batch.x.device != fabric.device:
        batch = fabric.to_device(batch)
    return fabric.strategy.precision.convert_input(batch)


def clear_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set all gradients to None, four times as fast as ``optimizer.zero_grad``."""
    for parameter in parameters:
        parameter.grad = None


def scale_gradients(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Multiply all gradients by a factor."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def clip_gradients(
    task: DistillationTask, optimizer: Optimizer, fabric: Fabric, options: TrainerOptions
) -> None:
    """Clip the gradient of each student, by its norm or by value."""
    limit = float(options.gradient_clip_val or 0.0)
    if options.gradient_clip_algorithm == "value":
        fabric.clip_gradients(task, optimizer, clip_val=limit)
    else:
        fabric.strategy.precision.unscale_gradients(optimizer)
        task.clip_gradients(limit)


@torch.inference_mode()
def validate(task: DistillationTask, batches: Iterable[Any], length: float, fabric: Fabric) -> None:
    """Add the validation batches to the task's means, in eval mode."""
    with eval_mode(task):
        for _, batch, _ in read_epoch(batches, length, read=task.reader.read):
            inputs = prepare(batch, fabric)
            with fabric.autocast():
                task.validate(inputs)


def sum_over_processes(values: Tensor, fabric: Fabric) -> Tensor:
    """Sum a tensor over all processes."""
    return fabric.all_reduce(values.clone(), reduce_op="sum")  # type: ignore[return-value]


def _note(scalars: dict[str, float], task: DistillationTask) -> str:
    return validation_note(scalars, task.predicts_tokens, task.objective.outputs)


def validation_note(
    scalars: dict[str, float], predicts_tokens: bool, outputs: str = "classes"
) -> str:
    """Mean validation result over the students, for the progress display."""
    losses = [value for name, value in scalars.items() if name.endswith("val_loss")]
    accuracies = [value for name, value in scalars.items() if name.endswith("val_acc")]
    if accuracies and not predicts_tokens:
        return f"validation error {100 * (1 - sum(accuracies) / len(accuracies)):.2f} %"
    if not losses:
        return ""
    unit = "nats per token" if predicts_tokens else LOSS_UNITS[outputs]
    return f"validation {sum(losses) / len(losses):.3f} {unit}"
