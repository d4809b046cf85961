"""Lightning's Trainer around a module; and training, distilling in one call with one's own models
and loaders.
"""

import difflib
import inspect
import logging
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch import nn

from limbeck._base.checks import check_count
from limbeck._base.errors import OUT_OF_MEMORY, ConfigError, ResourceError
from limbeck._base.progress import Advance, StageProgress
from limbeck.data.batches import StudyData, WholeEpochs
from limbeck.losses import Feature, Objective
from limbeck.training.module import DistillationModule
from limbeck.training.optimizer import Optimizer
from limbeck.training.steps import (
    can_take_whole_epochs,
    cheap_device_checks,
    has_length,
    keep_freed_memory,
)

CHECKPOINT = "last"
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_OWN_OPTIONS = (
    "callbacks",
    "logger",
    "default_root_dir",
    "enable_progress_bar",
    "enable_checkpointing",
)


class _ReportProgress(L.Callback):
    """Tells a progress display how many epochs are done, at most about 50 times an epoch."""

    def __init__(self, advance: Advance):
        self.advance = advance

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        module.tell = lambda share: self.advance(trainer.current_epoch + min(share, 0.99))

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        steps = trainer.num_training_batches
        done = args[3] + 1
        if not steps or steps == float("inf") or done % max(1, int(steps) // 50):
            return
        self.advance(trainer.current_epoch + min(done / steps, 0.99))

    def on_train_epoch_end(self, trainer: L.Trainer, *args: Any) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        text = isinstance(data, StudyData) and data.data.tokenizer is not None
        found = [
            float(v)
            for k, v in trainer.callback_metrics.items()
            if k.endswith("val_loss" if text else "val_acc")
        ]
        mean = sum(found) / max(1, len(found))
        note = (
            f"validation {mean:.3f} nats a token"
            if text
            else f"validation error {100 * (1 - mean):.2f} %"
        )
        self.advance(trainer.current_epoch + 1, note=note if found else "")


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Check that Lightning's Trainer knows each option and that limbeck does not set it itself.

    Raises:
        ConfigError: naming the option, with a suggestion.
    """
    known = [*inspect.signature(L.Trainer.__init__).parameters, "compile"]
    known.remove("self")
    for name in options:
        if name in _OWN_OPTIONS:
            raise ConfigError(f"trainer.{name} is set by limbeck itself; leave it out.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean trainer.{near[0]}?" if near else ""
            raise ConfigError(
                f"unknown key trainer.{name}: Lightning's Trainer has no such argument{hint}"
            )
    clip = options.get("gradient_clip_val")
    if clip is not None and (
        isinstance(clip, bool) or not isinstance(clip, (int, float)) or not clip >= 0
    ):
        raise ConfigError(f"trainer.gradient_clip_val={clip!r} should be a number, not negative.")
    mode = options.get("compile", False)
    if not isinstance(mode, bool) and mode not in COMPILE_MODES:
        raise ConfigError(
            f"trainer.compile={mode!r} should be true, false or one of {', '.join(COMPILE_MODES)}."
        )


def make_trainer(
    *,
    epochs: int,
    options: Mapping[str, Any] | None = None,
    loggers: Iterable[Any] = (),
    checkpoints: Path | None = None,
    advance: Advance | None = None,
) -> L.Trainer:
    """Lightning's Trainer with limbeck's defaults.

    Args:
        epochs: unless ``options`` has ``max_epochs``.
        options: for ``lightning.Trainer``; ``compile`` is for :func:`run_fit`.
        loggers: Lightning's loggers.
        checkpoints: folder to resume from and to keep a checkpoint in (about 20 times a training);
            None for none.
        advance: told how many epochs are done.

    Raises:
        ConfigError: an option is unknown or does not fit this machine.
    """
    merged = {"max_epochs": epochs, "devices": 1, **dict(options or {})}
    check_trainer_options(merged)
    merged["max_epochs"] = check_count("epochs", merged["max_epochs"])
    merged.pop("compile", None)
    callbacks: list[L.Callback] = [] if advance is None else [_ReportProgress(advance)]
    if checkpoints is not None:
        callbacks.append(
            ModelCheckpoint(
                checkpoints,
                filename=CHECKPOINT,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
                every_n_epochs=max(1, merged["max_epochs"] // 20),
            )
        )
    settings: dict[str, Any] = {
        "logger": list(loggers) or False,
        "callbacks": callbacks,
        "enable_checkpointing": checkpoints is not None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1_000_000_000,
        "num_sanity_val_steps": 0,
    }
    try:
        trainer = L.Trainer(**{**settings, **merged})
        if trainer.world_size > 1 and trainer.strategy.root_device.type == "cuda":
            merged.setdefault("sync_batchnorm", True)  # as one process would have it
            trainer = L.Trainer(**{**settings, **merged})
        return trainer
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"trainer: Lightning's Trainer refuses these options on this machine: {reason}"
        ) from None
    except (
        Exception
    ) as error:  # Lightning's own MisconfigurationException is no subclass of the above
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise ConfigError(
            f"trainer: Lightning's Trainer refuses these options on this machine: {error}"
        ) from None


def process_of(options: Mapping[str, Any] | None = None) -> tuple[int, int]:
    """Rank of this process among those that train together, and their number; 0 and 1 where it is
    alone.

    Raises:
        ConfigError: an option is unknown or does not fit this machine, or the processes would be
            copies of this one.
    """
    trainer = make_trainer(epochs=1, options=options)
    if trainer.world_size == 1:
        return 0, 1
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer: {trainer.world_size} devices by copies of this process; a study needs "
            "processes that run its "
            "whole command: trainer.strategy=ddp."
        )
    return trainer.global_rank, trainer.world_size


def run_fit(
    module: DistillationModule,
    *,
    trainer: L.Trainer,
    checkpoints: Path | None = None,
    compile: bool | str = False,
    **loaders: Any,
) -> None:
    """Fit, from the last checkpoint if there is one.

    Args:
        module: trained in place.
        trainer: of :func:`make_trainer`.
        checkpoints: the folder it was given.
        compile: as ``mode`` of :meth:`~limbeck.training.module.DistillationModule.compile_steps`.
        loaders: ``datamodule``, or ``train_dataloaders`` and ``val_dataloaders``.

    Raises:
        ConfigError: this machine cannot compile.
        KeyboardInterrupt: the user stopped it.
        ResourceError: memory ran out.
    """
    last = None if checkpoints is None else checkpoints / f"{CHECKPOINT}.ckpt"
    resume = str(last) if last is not None and last.is_file() else None
    handler = signal.getsignal(signal.SIGINT)
    keep_freed_memory()
    loaders = _with_whole_epochs(module, trainer, loaders)
    module.compile_steps(compile)
    try:
        with cheap_device_checks():
            trainer.fit(module, ckpt_path=resume, weights_only=True if resume else None, **loaders)
    except SystemExit:
        # Lightning turns Ctrl-C into exit status 1 and ignores further ones.
        if trainer.received_sigterm:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{OUT_OF_MEMORY} of the device ran out: {error} Lower batch_size, or seeds."
        ) from None
    except RuntimeError as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"trainer.compile={compile}: torch.compile failed here ({reason}). On a CPU it "
                "needs a C++ compiler; "
                "trainer.compile=false does without."
            ) from None
        if "can't allocate memory" not in str(error):
            raise
        raise ResourceError(
            f"{OUT_OF_MEMORY} ran out: {error} Lower batch_size, or seeds."
        ) from None


def _with_whole_epochs(
    module: DistillationModule, trainer: L.Trainer, loaders: dict[str, Any]
) -> dict[str, Any]:
    """The loaders; with whole epochs as single items where optimizer, options and loader allow it."""
    data, loader = loaders.get("datamodule"), loaders.get("train_dataloaders")
    known = isinstance(data, StudyData) or has_length(loader)
    module.automatic_optimization = not (
        known and isinstance(module.optimizer, Optimizer) and can_take_whole_epochs(trainer)
    )
    if isinstance(data, StudyData):
        data.whole_epochs = not module.automatic_optimization
    elif not module.automatic_optimization:
        return {**loaders, "train_dataloaders": WholeEpochs(loader)}
    return loaders


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's start-up lines and hints about loaders from the terminal."""
    loggers = [
        logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings(
                "ignore", message=r".*(LeafSpec|does not have many workers|lr_scheduler\.step).*"
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def train(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    epochs: int,
    optimizer: Any = None,
    lr: float | None = None,
    val_loader: Iterable[Any] | None = None,
    progress: bool = True,
    trainer: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Train a model on labels.

    Args:
        model: gives logits ``[B, C]``; trained in place, on the device it is on.
        loader: an iterable of batches ``(x, y)`` that can be read once an epoch: a DataLoader, a
            list.
        epochs: times through the loader.
        optimizer: None for Adam; a name (``adam``, ``adamw``, ``sgd``), a ``torch.optim.Optimizer``
            over the model's parameters, a function that makes one from parameters, or
            :class:`limbeck.Optimizer` settings.
        lr: learning rate where ``optimizer`` is None or a name; 1e-3 by default.
        val_loader: scored after each epoch, for the progress bar only.
        progress: show a progress bar.
        trainer: options for ``lightning.Trainer``.

    Returns:
        The model.

    Raises:
        ConfigError: an argument is out of range, or the loader can be read only once.
        DivergedError: the loss became infinite or not a number.
    """
    module = DistillationModule(model, optimizer=_optimizer(optimizer, lr))
    return _fit_own(module, model, "train", loader, val_loader, epochs, progress, trainer)


def distill(
    student: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    *,
    epochs: int,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    soft_weight: float = 0.9,
    soft: str = "kl",
    scale_by_t2: bool = True,
    features: Sequence[Feature | Mapping[str, Any]] = (),
    optimizer: Any = None,
    lr: float | None = None,
    val_loader: Iterable[Any] | None = None,
    progress: bool = True,
    trainer: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Train a student on labels and on a teacher's soft targets; see :class:`limbeck.Objective` for
    the formula.

    Args:
        student: gives logits ``[B, C]``; trained in place, on the device it is on.
        teacher: gives logits ``[B, C]`` for the same inputs; its weights and buffers never change.
            It is moved to the student's device and left in eval mode.
        loader: an iterable of batches ``(x, y)`` that can be read once an epoch: a DataLoader, a
            list.
        epochs: times through the loader.
        temperature: T of the soft loss.
        hard_weight: weight of the cross-entropy with the labels.
        soft_weight: weight of the soft loss.
        soft: ``kl``, ``reverse_kl``, ``jensen_shannon``, ``cross_entropy``, ``probabilities``,
            ``logits``, ``dkd`` or ``dist``.
        scale_by_t2: multiply the soft loss by T^2.
        features: layers of the student that are guided by layers of the teacher, as in ``{"kind":
            "hint", "student": "layer3", "teacher": "layer3", "weight": 1.0}``; or kind
            ``attention``.
        optimizer: as in :func:`train`.
        lr: as in :func:`train`.
        val_loader: as in :func:`train`.
        progress: show a progress bar.
        trainer: options for ``lightning.Trainer``.

    Returns:
        The student.

    Raises:
        ConfigError: an argument is out of range, the loader can be read only once, or a layer of
            ``features`` does not exist or fit.
        TeacherError: teacher and student have different numbers of classes.
        DivergedError: the loss became infinite or not a number.
    """
    objective = Objective(
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        soft=soft,
        scale_by_t2=scale_by_t2,
        features=tuple(map(Feature.of, features)),
    )
    module = DistillationModule(student, teacher, objective, optimizer=_optimizer(optimizer, lr))
    return _fit_own(module, student, "distill", loader, val_loader, epochs, progress, trainer)


def _optimizer(optimizer: Any, lr: float | None) -> Any:
    if optimizer is None or isinstance(optimizer, str):
        return Optimizer(name=optimizer or "adam", lr=1e-3 if lr is None else lr)
    if lr is not None:
        raise ConfigError(
            "lr goes with the name of an optimizer; an optimizer of your own has its own learning "
            "rate."
        )
    if not (callable(optimizer) or isinstance(optimizer, (Optimizer, torch.optim.Optimizer))):
        raise ConfigError(
            f"optimizer={optimizer!r} should be a name, an optimizer or a function that makes one."
        )
    return optimizer


class _Batches:
    """A list of batches, so wrapped that Lightning does not take it for a list of loaders."""

    def __init__(self, batches: Sequence[Any]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def _many_times(loader: Any, name: str) -> Any:
    """The loader as Lightning should have it, checked that it can be read once an epoch."""
    if isinstance(loader, Iterator):
        raise ConfigError(
            f"The {name} can be read only once (it is an iterator); give a list or a DataLoader."
        )
    if loader is not None and not isinstance(loader, Iterable):
        raise ConfigError(
            f"The {name} should be an iterable of batches (x, y); found {type(loader).__name__}."
        )
    return _Batches(loader) if isinstance(loader, (list, tuple)) else loader


def _fit_own(
    module: DistillationModule,
    model: nn.Module,
    label: str,
    loader: Iterable[Any],
    val_loader: Iterable[Any] | None,
    epochs: int,
    progress: bool,
    options: Mapping[str, Any] | None,
) -> nn.Module:
    check_count("epochs", epochs)
    if loader is None:
        raise ConfigError("The loader is None; give a list or a DataLoader.")
    loader, val_loader = _many_times(loader, "loader"), _many_times(val_loader, "val_loader")
    if not model.training:
        model.train()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    placed = {
        "accelerator": "gpu" if device.type == "cuda" else device.type,
        "devices": [device.index or 0] if device.type == "cuda" else 1,
    }
    with quiet_lightning(), StageProgress(enabled=progress).stage(label, epochs) as advance:
        fitter = make_trainer(
            epochs=epochs, options={**placed, **dict(options or {})}, advance=advance
        )
        mode = dict(options or {}).get("compile", False)
        run_fit(
            module,
            trainer=fitter,
            compile=mode,
            train_dataloaders=loader,
            val_dataloaders=val_loader,
        )
    if fitter.global_step == 0:
        raise ConfigError("The loader gave no batch, so nothing was learnt.")
    return model.to(device)
