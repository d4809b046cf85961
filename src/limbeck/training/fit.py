"""Training and distillation in one call, with your own models and loaders."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck._base.freed_memory import keep_freed_memory
from limbeck._base.peers import training
from limbeck._base.progress import Advance, StageProgress
from limbeck.data.batch_forms import BatchNames, Key, Names
from limbeck.losses import TASKS, Feature, Objective
from limbeck.losses.tasks import check_task
from limbeck.teacher.adapt import TeacherModels
from limbeck.teacher.answer_files.read import Answers
from limbeck.training.bad_samples import name_bad_samples
from limbeck.training.cohort.loop import TrainingData, train_epochs
from limbeck.training.fabric import make_fabric, quiet_lightning, reproducible, sync_batchnorm
from limbeck.training.indexed import IndexedReader, IndexedTeacher, as_answers
from limbeck.training.loggers import close_loggers
from limbeck.training.machine import fast_device_checks, translate_errors
from limbeck.training.optimizer import Optimizer, OptimizerLike
from limbeck.training.options import TrainerOptions
from limbeck.training.processes import launch
from limbeck.training.sharding import check_sharding, share_weights
from limbeck.training.task import DistillationTask

UserOptimizer = (
    str
    | Optimizer
    | torch.optim.Optimizer
    | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
)


def fit(
    task: DistillationTask,
    data: TrainingData,
    *,
    options: TrainerOptions,
    loggers: Sequence[Any] = (),
    checkpoints: Path | None = None,
    advance: Advance = lambda done, note="": None,
) -> int:
    """Train a task, starting from its last checkpoint if there is one.

    Args:
        task: Students to train, in place, and their losses.
        data: Batches.
        options: Options of the group ``trainer``, with a number of epochs.
        loggers: Loggers of Lightning.
        checkpoints: Folder of the checkpoints; None to save none.
        advance: Function to call with the number of finished epochs.

    Returns:
        Number of optimizer steps.

    Raises:
        ConfigError: If the options do not fit this machine.
        DivergedError: If the loss of every student became infinite or not a number.
        ResourceError: If memory ran out.
    """
    fabric = make_fabric(options, loggers=loggers)
    check_sharding(task, options)
    keep_freed_memory()
    status = "failed"
    try:
        launch(fabric)
        with (
            training(),
            translate_errors(options.compile),
            fast_device_checks(),
            reproducible(options),
            share_weights(task, fabric),
            sync_batchnorm(task, fabric, options.sync_batchnorm),
        ):
            steps = train_epochs(
                task,
                data,
                fabric=fabric,
                options=options,
                checkpoints=checkpoints,
                advance=advance,
            )
        status = "success"
    finally:
        close_loggers([logger.finalize for logger in loggers], status)
    return steps


def train(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    epochs: int,
    optimizer: UserOptimizer | None = None,
    lr: float | None = None,
    val_loader: Iterable[Any] | None = None,
    progress: bool = True,
    trainer: Mapping[str, Any] | None = None,
    inputs: Names | None = None,
    labels: Key | None = None,
    task: str = "classes",
) -> nn.Module:
    """Train a model on labels.

    Args:
        model: Model that returns logits ``[B, C]``, in any of the usual forms of outputs; trained
            in place, on its current device.
        loader: Iterable of batches that can be read once per epoch, such as a DataLoader or a list.
            A batch is a pair ``(x, y)``, a tuple of more parts, or a dictionary.
        epochs: Number of training epochs.
        optimizer: None for Adam; a name (``adam``, ``adamw``, ``sgd``), a ``torch.optim.Optimizer``
            over the model's parameters, a function that creates one from parameters, or
            :class:`limbeck.Optimizer` settings.
        lr: Learning rate if ``optimizer`` is None or a name; 1e-3 by default.
        val_loader: Batches to validate on after each epoch, for the progress bar only.
        progress: Whether to show a progress bar.
        trainer: Options of the group ``trainer``, as in ``{"precision": "bf16-mixed"}``.
        inputs: Key or position of the input in a batch, if it is not recognised. Several are a list
            of keys, which are the names of the model's arguments, or a dictionary of keys by
            argument.
        labels: Key or position of the labels in a batch, if they are not recognised.
        task: ``classes``; or ``regression`` or ``multi_label``, of outputs and labels ``[B, D]``.

    Returns:
        The model.

    Raises:
        ConfigError: If an argument is out of range, or the loader can be read only once.
        DataError: If a batch has another form, if a label is out of range, or if an input is
            infinite or NaN.
        DivergedError: If the loss became infinite or not a number.
    """
    _check_module(model, "model")
    objective = Objective(hard_weight=1.0, soft_weight=0.0).for_task(TASKS[check_task(task)])
    names, settings = BatchNames(inputs, labels), _optimizer(optimizer, lr)
    training = DistillationTask(model, None, objective, optimizer=settings, names=names)
    loaders = Loaders(loader, val_loader)
    return _fit_user_model(
        training, model, loaders, epochs, label="train", progress=progress, trainer=trainer
    )


def distill(
    student: nn.Module,
    teacher: TeacherModels | Answers | np.ndarray | Tensor,
    loader: Iterable[Any],
    *,
    epochs: int,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    soft_weight: float = 0.9,
    soft: str = "kl",
    scale_by_t2: bool = True,
    features: Sequence[Feature | Mapping[str, Any]] = (),
    optimizer: UserOptimizer | None = None,
    lr: float | None = None,
    val_loader: Iterable[Any] | None = None,
    progress: bool = True,
    trainer: Mapping[str, Any] | None = None,
    inputs: Names | None = None,
    labels: Key | None = None,
    teacher_inputs: Names | None = None,
    task: str = "classes",
) -> nn.Module:
    """Train a student on labels and on a teacher's soft targets.

    See :class:`limbeck.Objective` for the formula.

    Args:
        student: Model that returns logits ``[B, C]``; trained in place, on its current device.
        teacher: Model that returns logits ``[B, C]`` for the same samples; its weights and buffers
            never change, and may be of lower precision. It is moved to the student's device and
            left in eval mode. Or an estimator with ``predict_proba``, a function from a batch on
            the CPU to logits, a program of ``torch.export``, the path of a model, such as
            ``teacher.onnx``, or a list of these. Or its answers: an array ``[N, C]``, a file such
            as ``answers.csv``, or :class:`limbeck.Answers`.
        loader: Iterable of batches, as for :func:`train`; without labels if ``hard_weight`` is 0.
            With answers, a batch ends with the index of each sample
            (:class:`limbeck.data.Indexed`): row of the array, or id in the file.
        epochs: Number of training epochs.
        temperature: Temperature T of the soft loss.
        hard_weight: Weight of the cross-entropy with the labels.
        soft_weight: Weight of the soft loss.
        soft: Name of the soft loss: ``kl``, ``reverse_kl``, ``jensen_shannon``, ``cross_entropy``,
            ``probabilities``, ``logits``, ``dkd`` or ``dist``.
        scale_by_t2: Whether to multiply the soft loss by T^2.
        features: Layers of the student that layers of the teacher guide, as in ``{"kind": "hint",
            "student": "layer3", "teacher": "layer3", "weight": 1.0}``; or kind ``attention``.
        optimizer: Name, settings, optimizer or function, as for :func:`train`.
        lr: Learning rate if ``optimizer`` is None or a name; 1e-3 by default.
        val_loader: Batches to validate on after each epoch, for the progress bar only.
        progress: Whether to show a progress bar.
        trainer: Options of the group ``trainer``, as for :func:`train`.
        inputs: Key or position of the student's input in a batch, as for :func:`train`.
        labels: Key or position of the labels in a batch.
        teacher_inputs: Key or position of the teacher's input, if it has another than the student,
            such as larger images.
        task: Kind of target, as for :func:`train`; without other settings its default losses.

    Returns:
        The student.

    Raises:
        ConfigError: If an argument is out of range, the loader can be read only once, or a layer of
            ``features`` does not exist or fit.
        DataError: If a batch has another form, if a label is out of range, or if an input is
            infinite or NaN.
        TeacherError: If teacher and student have different numbers of classes, or answers are
            missing or damaged.
        DivergedError: If the loss became infinite or not a number.
    """
    objective = Objective(
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        soft=soft,
        scale_by_t2=scale_by_t2,
        features=tuple(map(Feature.of, features)),
    ).for_task(TASKS[check_task(task)])
    _check_module(student, "student")
    names = BatchNames(inputs, labels, teacher_inputs)
    answers = as_answers(teacher)
    signal: Any = teacher if answers is None else IndexedTeacher(answers, TASKS[task].outputs)
    training = DistillationTask(
        student, signal, objective, optimizer=_optimizer(optimizer, lr), names=names
    )
    if answers is not None:
        training.reader = IndexedReader(names, student, signal)
    loaders = Loaders(loader, val_loader)
    return _fit_user_model(
        training, student, loaders, epochs, label="distill", progress=progress, trainer=trainer
    )


def _check_module(model: object, name: str) -> None:
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ConfigError(f"The {name} should be a torch.nn.Module; got {what}.")


def _optimizer(optimizer: UserOptimizer | None, lr: float | None) -> OptimizerLike:
    if optimizer is None or isinstance(optimizer, str):
        return Optimizer(name=optimizer or "adam", lr=1e-3 if lr is None else lr)
    if lr is not None:
        raise ConfigError(
            "lr is only valid with the name of an optimizer. Set the learning rate in your own "
            "optimizer instead."
        )
    if not (callable(optimizer) or isinstance(optimizer, (Optimizer, torch.optim.Optimizer))):
        raise ConfigError(
            f"optimizer={optimizer!r} should be a name, an optimizer or a function that creates an "
            "optimizer."
        )
    return optimizer


class Loaders:
    """Training data from a user's own loaders.

    Args:
        train: Iterable of training batches.
        val: Iterable of validation batches; None for no validation.

    Raises:
        ConfigError: If a loader cannot be read once per epoch.
    """

    def __init__(self, train: Iterable[Any], val: Iterable[Any] | None = None):
        if train is None:
            raise ConfigError("The loader is None; give a list or a DataLoader.")
        _check_loader(train, "loader")
        _check_loader(val, "val_loader")
        self.train, self.val = train, val

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the loader's sampler, if it has ``set_epoch``."""
        sampler: Any = getattr(self.train, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)

    def train_batches(
        self, device: torch.device, *, rank: int = 0, processes: int = 1
    ) -> Iterable[Any]:
        """The loader of training batches."""
        return self.train

    def val_batches(self, device: torch.device) -> Iterable[Any] | None:
        """The loader of validation batches."""
        return self.val


def _check_loader(loader: Any, name: str) -> None:
    if isinstance(loader, Iterator):
        raise ConfigError(
            f"The {name} can be read only once (it is an iterator); give a list or a DataLoader."
        )
    if loader is not None and not isinstance(loader, Iterable):
        raise ConfigError(
            f"The {name} should be an iterable of batches, such as pairs (x, y); got "
            f"{type(loader).__name__}."
        )


def _fit_user_model(
    task: DistillationTask,
    model: nn.Module,
    loaders: Loaders,
    epochs: int,
    *,
    label: str,
    progress: bool,
    trainer: Mapping[str, Any] | None,
) -> nn.Module:
    check_count("epochs", epochs)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    options = TrainerOptions.of({**_placement(device), **(trainer or {})}).with_epochs(epochs)
    if not model.training:
        model.train()
    with (
        torch.inference_mode(False),  # the caller may have switched gradients off
        torch.enable_grad(),
        quiet_lightning(),
        name_bad_samples(model, loaders, options, task.reader),
        StageProgress(enabled=progress).stage(label, epochs) as advance,
    ):
        fit(task, loaders, options=options, advance=advance)
    return model.to(device)


def _placement(device: torch.device) -> dict[str, Any]:
    """Trainer options to train a model on its current device."""
    if device.type == "cuda":
        return {"accelerator": "gpu", "devices": [device.index or 0]}
    return {"accelerator": device.type, "devices": 1}
