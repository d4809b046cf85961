"""The three-line interface with plain PyTorch: 10,000 MNIST images, a student 784-200-200-10 on
labels and distilled.

    python examples/ten_thousand.py DIR [EPOCHS]

DIR holds MNIST's idx files. The teacher, 784-800-800-10 with dropout, is trained on all 60,000
images first.
"""

import itertools
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import limbeck
from limbeck.data.images.mnist import read_idx


def mlp(*widths: int, dropout: float = 0.0) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, next_wide in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(wide, next_wide), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def read(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(read_idx(folder / f"{part}-images-idx3-ubyte.gz", dimensions=3))
    labels = torch.from_numpy(read_idx(folder / f"{part}-labels-idx1-ubyte.gz", dimensions=1))
    return (images[:, None] / 255 - 0.1307) / 0.3081, labels.long()


def main(folder: str, epochs: int = 50, teacher_epochs: int = 20) -> dict[str, int]:
    (x, y), (x_test, y_test) = (read(Path(folder), part) for part in ("train", "t10k"))
    loader = DataLoader(TensorDataset(x[:10_000], y[:10_000]), batch_size=32, shuffle=True)
    test_loader = [(x_test, y_test)]

    torch.manual_seed(0)
    teacher = mlp(784, 800, 800, 10, dropout=0.5)
    everything = DataLoader(TensorDataset(x, y), batch_size=256, shuffle=True)
    limbeck.train(teacher, everything, epochs=teacher_epochs)
    torch.manual_seed(0)
    model = mlp(784, 200, 200, 10)
    torch.manual_seed(0)
    student = mlp(784, 200, 200, 10)

    limbeck.train(model, loader, epochs=epochs)
    limbeck.distill(
        student,
        teacher,
        loader,
        temperature=3.0,
        hard_weight=0.2,
        soft_weight=0.8,
        soft="cross_entropy",
        scale_by_t2=False,
        epochs=epochs,
    )
    return {
        name: limbeck.evaluate(net, test_loader)["correct"]
        for name, net in (("teacher", teacher), ("labels", model), ("distilled", student))
    }


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(main(sys.argv[1], *map(int, sys.argv[2:])))
