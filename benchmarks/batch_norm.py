"""Claim: on one core of a CPU, stacked students with BatchNorm are no faster than one after the
other. n = 5.

Five ResNets of 8 layers and five MobileNets (inverted residuals), 8 and 16 channels wide, in
batches of 32 and 128 images of 28 x 28: forward, cross-entropy and backward. Stacked: one call of
``torch.func.vmap`` over weights and running statistics, whose convolutions become grouped ones.
One thread; with ``--device cuda`` the same on a GPU. This is why limbeck trains students with
BatchNorm one at a time; ``launcher=ray`` trains them side by side.
"""

import argparse
from collections.abc import Callable

import torch
from common import Contestant, Goal, alternate, arguments, clock, report
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

STUDENTS = 5


def with_norm(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution with BatchNorm."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


class Residual(nn.Module):
    """A block whose result is added to its input, if the shapes agree."""

    def __init__(self, layers: nn.Sequential, shortcut: nn.Module | None):
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Compute features of features."""
        y = self.layers(x)
        return y if self.shortcut is None else y + self.shortcut(x)


def resnet_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Two convolutions of 3 x 3."""
    layers = nn.Sequential(
        with_norm(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)),
        nn.ReLU(),
        with_norm(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)),
    )
    shortcut = nn.Identity()
    if stride > 1:
        shortcut = with_norm(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
    return nn.Sequential(Residual(layers, shortcut), nn.ReLU())


def mobilenet_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Four times as many channels, a convolution of each alone, and back."""
    wide = 4 * inputs
    layers = nn.Sequential(
        with_norm(nn.Conv2d(inputs, wide, 1, bias=False)),
        nn.ReLU(),
        with_norm(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)),
        nn.ReLU(),
        with_norm(nn.Conv2d(wide, outputs, 1, bias=False)),
    )
    return Residual(layers, nn.Identity() if stride == 1 and inputs == outputs else None)


def network(block: Callable[[int, int, int], nn.Module], width: int, stride: int) -> nn.Module:
    """A stem, three blocks and a classifier."""
    return nn.Sequential(
        with_norm(nn.Conv2d(1, width, 3, stride, 1, bias=False)),
        nn.ReLU(),
        block(width, width, 1),
        block(width, 2 * width, 2),
        block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, 10),
    )


def resnet(width: int) -> nn.Module:
    return network(resnet_block, width, stride=1)


def mobilenet(width: int) -> nn.Module:
    return network(mobilenet_block, width, stride=2)


def one_by_one(models: list[nn.Module], x: Tensor, y: Tensor) -> None:
    """One step of each student."""
    for model in models:
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()


class Stacked:
    """A step of all students at once."""

    def __init__(self, models: list[nn.Module]):
        weights, self.statistics = stack_module_state(models)
        self.weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
        self.model = models[0]

    def __call__(self, x: Tensor, y: Tensor) -> None:
        """Compute the gradients of all students."""
        for weight in self.weights.values():
            weight.grad = None

        def forward(weights: dict[str, Tensor], statistics: dict[str, Tensor]) -> Tensor:
            return functional_call(self.model, (weights, statistics), (x,))

        logits = vmap(forward)(self.weights, self.statistics)
        F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="sum").backward()


def contestants_of(
    name: str, make: Callable[[], nn.Module], batch: int, options: argparse.Namespace
) -> tuple[dict[str, Contestant], Goal]:
    """Return both ways of a step, and the goal of their ratio."""
    x = torch.randn(batch, 1, 28, 28, device=options.device)
    y = torch.randint(0, 10, (batch,), device=options.device)
    models = [make().to(options.device) for _ in range(STUDENTS)]
    stacked = Stacked([make().to(options.device) for _ in range(STUDENTS)])
    steps = 1 if options.short else max(2, 1000 // batch)

    def timed(step: Callable[[], None]) -> Contestant:
        def seconds() -> float:
            start = clock()
            for _ in range(steps):
                step()
            return (clock() - start) / steps

        return Contestant(seconds)

    names = f"{name}, batches of {batch}, one by one", f"{name}, batches of {batch}, stacked"
    contestants = {
        names[0]: timed(lambda: one_by_one(models, x, y)),
        names[1]: timed(lambda: stacked(x, y)),
    }
    return contestants, Goal(names[0], names[1], at_most=1.05)


def main() -> None:
    options = arguments(__doc__, device=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    contestants: dict[str, Contestant] = {}
    goals = []
    for width in (8,) if options.short else (8, 16):
        for name, make in (("ResNet", resnet), ("MobileNet", mobilenet)):
            for batch in (32,) if options.short else (32, 128):
                label = f"{name} {width}"
                pair, goal = contestants_of(label, lambda m=make, w=width: m(w), batch, options)
                contestants |= pair
                goals.append(goal)
    report(alternate(contestants, options), goals, options)


if __name__ == "__main__":
    main()
