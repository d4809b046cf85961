"""Other tools, each used as its documentation shows: plain Lightning, torchdistill, KD_Lib.

torchdistill and KD_Lib are not dependencies of limbeck; ``benchmarks/README.md`` explains how to
install them. If a tool is missing, :func:`installed` leaves it out.
"""

import contextlib
import io
import sys
import types
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from common import clock, fresh_folder, without_lightning
from textbook import Loss
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from limbeck.training.fabric import quiet_lightning


def installed(package: str) -> bool:
    """Return whether a tool is installed; print a message if it is not."""
    try:
        version(package)
    except PackageNotFoundError:
        print(f"{package} is not installed and is left out; see benchmarks/README.md.")
        return False
    return True


class PlainModule(L.LightningModule):
    """Distillation with plain Lightning: the teacher is a submodule and runs on every batch."""

    def __init__(self, student: nn.Module, loss: Loss, teacher: nn.Module | None = None):
        super().__init__()
        self.student, self.loss = student, loss
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        x, y = batch
        v = None
        if self.teacher is not None:
            self.teacher.eval()
            with torch.no_grad():
                v = self.teacher(x)
        loss = self.loss(self.student(x), v, y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and accuracy of a batch."""
        x, y = batch
        z = self.student(x)
        self.log("val_loss", F.cross_entropy(z, y))
        self.log("val_acc", (z.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.student.parameters(), lr=1e-3)


class EpochClock(L.Callback):
    """Records when each epoch begins and when the last one ends."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        """Record the beginning of an epoch, after validation and checkpoint of the previous one."""
        self.stamps.append(clock())

    on_train_end = on_train_epoch_start

    @property
    def seconds(self) -> float:
        """Mean duration of an epoch, except the first."""
        return (self.stamps[-1] - self.stamps[1]) / (len(self.stamps) - 2)


def epoch_of_lightning(
    module: PlainModule,
    train: DataLoader[Any],
    val: DataLoader[Any],
    *,
    epochs: int,
    device: str = "cpu",
) -> float:
    """Return the seconds of an epoch with Lightning's defaults, without the progress bar."""
    timed = EpochClock()
    with fresh_folder() as folder, quiet_lightning():
        trainer = L.Trainer(
            accelerator=device,
            devices=1,
            max_epochs=epochs,
            default_root_dir=folder,
            callbacks=[timed],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, train, val)
    return timed.seconds


class SoftCrossEntropy(nn.Module):
    """KD_Lib's ``loss_fn`` for the cross-entropy with soft targets, divided by the factor T^2 of
    KD_Lib.
    """

    def __init__(self, temperature: float):
        super().__init__()
        self.scale = 1 / temperature**2

    def forward(self, soft_teacher: Tensor, soft_student: Tensor) -> Tensor:
        """Return the loss of softened probabilities, the only inputs that KD_Lib provides."""
        return -self.scale * (soft_teacher * soft_student.clamp_min(1e-12).log()).sum(1).mean()


def kd_lib_epoch(
    student: nn.Module,
    train: DataLoader[Any],
    val: DataLoader[Any],
    folder: Path,
    *,
    teacher: nn.Module | None = None,
    temperature: float = 1.0,
    soft_weight: float = 0.0,
) -> Callable[[], None]:
    """Return an epoch of KD_Lib's VanillaKD; without a teacher, on labels only.

    VanillaKD validates after every epoch, and computes the teacher's gradients.
    """
    # KD_Lib always imports its part for text, which needs torchtext.legacy; that no longer exists.
    text = types.ModuleType("KD_Lib.KD.text")
    text.BERT2LSTM = text.get_essentials = None  # type: ignore[attr-defined]
    sys.modules.setdefault("KD_Lib.KD.text", text)
    from KD_Lib.KD import VanillaKD

    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    distiller = VanillaKD(
        teacher or student,
        student,
        train,
        val,
        optimizer,
        optimizer,
        loss_fn=SoftCrossEntropy(temperature),
        temp=temperature,
        distil_weight=soft_weight,
    )
    run = distiller.train_student if teacher is not None else distiller.train_teacher

    @without_lightning()
    def epoch() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            run(
                epochs=1,
                plot_losses=False,
                save_model=False,
                save_model_pth=str(folder / "kd_lib" / "student.pt"),
            )

    return epoch


def torchdistill_epoch(
    student: nn.Module,
    train: DataLoader[Any],
    val: DataLoader[Any],
    *,
    teacher: nn.Module | None = None,
    temperature: float = 1.0,
    hard_weight: float = 1.0,
    soft_weight: float = 0.0,
) -> Callable[[], None]:
    """Return an epoch of torchdistill's boxes, in the loop of its image classification example.

    The log of the example is left out. KDLoss multiplies by T^2, so ``soft_weight`` is divided by
    T^2 to get the same loss as the others.
    """
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.core.training import get_training_box

    output = {"student_module_path": ".", "student_module_io": "output"}
    output |= {"teacher_module_path": ".", "teacher_module_io": "output"}
    labels = {
        "input": {"is_from_teacher": False, "module_path": ".", "io": "output"},
        "target": {"uses_label": True},
    }
    term: dict[str, Any] = {"weight": 1.0}
    if teacher is None:
        term["criterion"] = {"key": "CrossEntropyLoss", "kwargs": {"reduction": "mean"}}
        term["criterion_wrapper"] = {"key": "SimpleLossWrapper", "kwargs": labels}
    else:
        weights = {
            "temperature": temperature,
            "alpha": hard_weight,
            "beta": soft_weight / temperature**2,
        }
        term["criterion"] = {
            "key": "KDLoss",
            "kwargs": {**output, **weights, "reduction": "batchmean"},
        }
    workers = train.num_workers
    config = {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {
                "batch_size": train.batch_size,
                "num_workers": workers,
                "persistent_workers": workers > 0,
            },
        },
        "val_data_loader": {
            "dataset_id": "val",
            "sampler": {"class_or_func": SequentialSampler},
            "kwargs": {
                "batch_size": val.batch_size,
                "num_workers": workers,
                "persistent_workers": workers > 0,
            },
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "model": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": 1e-3}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"loss": term}}},
    }
    shared = (
        {"train": train.dataset, "val": val.dataset},
        config,
        torch.device("cpu"),
        None,
        False,
        1,
    )
    if teacher is None:
        box = get_training_box(student, *shared)
    else:
        box = get_distillation_box(teacher.eval(), student, *shared)

    @without_lightning()
    def epoch() -> None:
        box.pre_epoch_process(epoch=0)
        for x, y, supplement in box.train_data_loader:
            loss = box.forward_process(x, y, supplement)
            box.post_forward_process(loss=loss)
            if not torch.isfinite(loss):
                raise ValueError("torchdistill's loss is not finite")
        student.eval()
        with torch.inference_mode():
            sum((student(x).argmax(1) == y).sum().item() for x, y in box.val_data_loader)
        box.post_epoch_process()

    return epoch
