"""Distil a PyTorch model in three lines: a student 784-200-200-10 on 10,000 MNIST images.

    python examples/ten_thousand.py DIR [EPOCHS [TEACHER_EPOCHS]]

DIR contains MNIST's idx files. The teacher (784-800-800-10, with dropout) is trained on all 60,000
images first. The student is trained twice: on labels only, and on labels and the teacher's outputs.
"""

import itertools
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limbeck
from limbeck.data.images.idx import read_idx


def mlp(*widths: int, dropout: float = 0.0) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def read(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(read_idx(folder / f"{part}-images-idx3-ubyte.gz", dimensions=3))
    labels = torch.from_numpy(read_idx(folder / f"{part}-labels-idx1-ubyte.gz", dimensions=1))
    mean, std = 0.1307, 0.3081  # of the pixels of the training images
    return (images[:, None] / 255 - mean) / std, labels.long()


def main(folder: str, epochs: int = 50, teacher_epochs: int = 20) -> dict[str, int]:
    x, y = read(Path(folder), "train")
    x_test, y_test = read(Path(folder), "t10k")
    all_images = DataLoader(TensorDataset(x, y), batch_size=256, shuffle=True)
    few_images = DataLoader(TensorDataset(x[:10_000], y[:10_000]), batch_size=32, shuffle=True)
    test_images = [(x_test, y_test)]

    torch.manual_seed(0)
    teacher = mlp(784, 800, 800, 10, dropout=0.5)
    limbeck.train(teacher, all_images, epochs=teacher_epochs)
    torch.manual_seed(0)
    control = mlp(784, 200, 200, 10)
    torch.manual_seed(0)
    student = mlp(784, 200, 200, 10)

    limbeck.train(control, few_images, epochs=epochs)
    limbeck.distill(
        student,
        teacher,
        few_images,
        temperature=3.0,
        hard_weight=0.2,
        soft_weight=0.8,
        soft="cross_entropy",
        scale_by_t2=False,
        epochs=epochs,
    )
    models = {"teacher": teacher, "labels": control, "distilled": student}
    return {name: limbeck.evaluate(model, test_images)["correct"] for name, model in models.items()}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(main(sys.argv[1], *map(int, sys.argv[2:])))
