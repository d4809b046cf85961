"""The other tools, each used as its documentation shows: plain Lightning, torchdistill, KD_Lib.

torchdistill and KD_Lib are no dependencies of limbeck: ``benchmarks/README.md`` says how to install
them. Where one is missing, :func:`installed` leaves it out.
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
    """Whether a tool is there; says so if not."""
    try:
        version(package)
    except PackageNotFoundError:
        print(f"{package} is not installed and is left out; see benchmarks/README.md.")
        return False
    return True


class PlainModule(L.LightningModule):
    """Distilling as one writes it with Lightning alone: the teacher inside, run on every batch."""

    def __init__(self, student: nn.Module, loss: Loss, teacher: nn.Module | None = None):
        super().__init__()
        self.student, self.loss = student, loss
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch."""
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
        """Loss and accuracy of a batch."""
        x, y = batch
        z = self.student(x)
        self.log("val_loss", F.cross_entropy(z, y))
        self.log("val_acc", (z.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.student.parameters(), lr=1e-3)


class EpochClock(L.Callback):
    """Notes when each epoch begins and when the last has ended."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        """An epoch begins; the one before has been validated and its checkpoint is written."""
        self.stamps.append(clock())

    on_train_end = on_train_epoch_start

    @property
    def seconds(self) -> float:
        """Mean duration of an epoch, without the first."""
        return (self.stamps[-1] - self.stamps[1]) / (len(self.stamps) - 2)


def epoch_of_lightning(
    module: PlainModule,
    train: DataLoader[Any],
    val: DataLoader[Any],
    *,
    epochs: int,
    device: str = "cpu",
) -> float:
    """Seconds of a steady epoch with Lightning's defaults, the progress bar left out."""
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
    """KD_Lib's ``loss_fn`` for the cross-entropy with soft targets; the T^2 that KD_Lib multiplies
    by is undone.
    """

    def __init__(self, temperature: float):
        super().__init__()
        self.scale = 1 / temperature**2

    def forward(self, soft_teacher: Tensor, soft_student: Tensor) -> Tensor:
        """From the softened probabilities, which is all that KD_Lib hands over."""
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
    """An epoch of KD_Lib's VanillaKD; on labels alone, which it offers for teachers, where there is
    no teacher.

    It validates after every epoch, and follows the teacher's gradients.
    """
    # KD_Lib imports its part for text whatever one asks for, and that needs torchtext.legacy, long
    # gone.
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
    """An epoch of torchdistill's boxes, in the loop of its image classification example without the
    example's log.

    KDLoss multiplies by T^2; ``soft_weight`` is divided by it, so that the loss is the same as the
    others'.
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
