"""The loops with which limbeck is compared: the textbook loop, and a bare loop in memory.

The textbook loop is the one of common tutorials: torchvision's MNIST, transforms for each image, a
shuffling ``DataLoader``, a live teacher on every batch, ``torch.optim.Adam``, ``loss.item()``. The
bare loop is what a good engineer would write: float tensors in memory, ``randperm``, indexing,
stored logits and the fused Adam.
"""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import MEAN, STD, clock, without_lightning
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from limbeck.data import Dataset
from limbeck.data.dataset import Split

Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""Function of the student's logits, the teacher's logits and the labels."""


def network(widths: list[int], dropout: float = 0.0) -> nn.Sequential:
    """Build a multilayer perceptron."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def distillation_loss(
    *,
    temperature: float = 1.0,
    hard_weight: float = 1.0,
    soft_weight: float = 0.0,
    soft: str = "kl",
    scale_by_t2: bool = True,
) -> Loss:
    """Return the loss of a ``limbeck.Objective`` with the same settings."""

    def loss(z: Tensor, v: Tensor | None, y: Tensor) -> Tensor:
        hard = hard_weight * F.cross_entropy(z, y) if hard_weight else 0.0
        if not soft_weight:
            return hard
        p = F.softmax(v / temperature, dim=1)
        if soft == "kl":
            value = F.kl_div(F.log_softmax(z / temperature, dim=1), p, reduction="batchmean")
        elif soft == "cross_entropy":
            value = F.cross_entropy(z / temperature, p)
        else:
            value = (F.softmax(z / temperature, dim=1) - p).square().sum(1).mean()
        return hard + soft_weight * (temperature**2 if scale_by_t2 else 1.0) * value

    return loss


def write_idx(split: Split, folder: Path, images: str, labels: str) -> None:
    """Write a split as the two idx files that torchvision reads."""
    for name, values in ((images, split.inputs.squeeze(1)), (labels, split.labels.to(torch.uint8))):
        sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
        (folder / name).write_bytes(
            bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()
        )


def torchvision_mnist(
    data: Dataset, folder: Path, *, mean: float = MEAN, std: float = STD, shift: int = 0
) -> tuple[datasets.MNIST, datasets.MNIST]:
    """Return training and validation split as torchvision's MNIST, transformed image by image.

    Only training images are shifted.
    """
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    write_idx(data.train, raw, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    write_idx(data.val, raw, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    plain = [transforms.ToTensor(), transforms.Normalize((mean,), (std,))]
    views = list(plain)
    if shift:
        views.insert(0, transforms.RandomAffine(0, translate=(shift / 28, shift / 28)))
    return (
        datasets.MNIST(folder, train=True, transform=transforms.Compose(views)),
        datasets.MNIST(folder, train=False, transform=transforms.Compose(plain)),
    )


def loaders(
    data: Dataset, folder: Path, *, batch_size: int, workers: int = 0, **images: Any
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return loaders of training and validation split.

    ``images`` are options of :func:`torchvision_mnist`.
    """
    train, val = torchvision_mnist(data, folder, **images)
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    return DataLoader(train, batch_size, shuffle=True, **options), DataLoader(val, 1000, **options)


class Textbook:
    """The textbook's training of one student with Adam at 1e-3.

    Args:
        student: Model to train.
        train: Loader of the training split.
        val: Loader of the validation split.
        loss: Loss of student, teacher and labels.
        teacher: Live teacher; None for labels alone.
        device: Device of the training.
        precision: Context for the forward passes and the loss.
    """

    def __init__(
        self,
        student: nn.Module,
        train: DataLoader[Any],
        val: DataLoader[Any],
        loss: Loss,
        teacher: nn.Module | None = None,
        device: str = "cpu",
        precision: Any = None,
    ):
        self.precision = precision or nullcontext()
        self.student = student.to(device)
        self.train = train
        self.val = val
        self.loss = loss
        self.device = device
        self.teacher = None if teacher is None else teacher.to(device).eval()
        self.optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)

    @without_lightning()
    def epoch(self) -> dict[str, float]:
        """Train for an epoch, then validate; return seconds with and without the validation."""
        began = clock()
        self.student.train()
        total = 0.0
        for x, y in self.train:
            x, y = x.to(self.device), y.to(self.device)
            with self.precision:
                with torch.no_grad():
                    v = None if self.teacher is None else self.teacher(x)
                loss = self.loss(self.student(x), v, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        trained = clock()
        self.validate()
        return {
            "textbook loop": clock() - began,
            "textbook loop, validation left out": trained - began,
        }

    def validate(self) -> float:
        """Return the accuracy on the validation split."""
        self.student.eval()
        correct = 0
        with torch.no_grad():
            for x, y in self.val:
                predictions = self.student(x.to(self.device)).argmax(1)
                correct += (predictions == y.to(self.device)).sum().item()
        return correct / len(self.val.dataset)  # type: ignore[arg-type]


class Bare:
    """A bare training of one student on tensors in memory, with the fused Adam at 1e-3.

    Args:
        student: Model to train, for images from 0 to 1.
        data: Dataset, whose training and validation split are converted to floats once.
        loss: Loss of student, teacher and labels.
        batch_size: Number of samples in a step.
        logits: Logits of the teacher, one row per training sample; None for labels alone.
        device: Device of the training.
        precision: Context for the forward pass and the loss.
    """

    def __init__(
        self,
        student: nn.Module,
        data: Dataset,
        loss: Loss,
        *,
        batch_size: int,
        logits: Tensor | None = None,
        device: str = "cpu",
        precision: Any = None,
    ):
        self.x, self.x_val = (
            split.inputs.to(device).float() / 255 for split in (data.train, data.val)
        )
        self.y, self.y_val = data.train.labels.to(device), data.val.labels.to(device)
        self.logits = None if logits is None else logits.to(device)
        self.student, self.loss, self.batch_size = student.to(device), loss, batch_size
        self.precision = precision or nullcontext()
        self.optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, fused=True)

    @without_lightning()
    def epoch(self) -> tuple[float, float]:
        """Train for an epoch, then validate; return the mean loss and the accuracy."""
        self.student.train()
        total = torch.zeros((), device=self.x.device)
        for rows in torch.randperm(len(self.x), device=self.x.device).split(self.batch_size):
            with self.precision:
                v = None if self.logits is None else self.logits[rows]
                loss = self.loss(self.student(self.x[rows]), v, self.y[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(rows)
        self.student.eval()
        with torch.no_grad(), self.precision:
            parts = zip(self.x_val.split(1000), self.y_val.split(1000), strict=True)
            correct = sum((self.student(x).argmax(1) == y).sum() for x, y in parts)
        return float(total) / len(self.x), int(correct) / len(self.x_val)
