"""Claim: a good teacher is never stopped by its examination (0 of 200), and nor is an untrained one
(0 of 200); teachers with a planted mistake are stopped with the right line.

Each trial trains one teacher with its own seed. It draws the data (digits, images of random
prototypes with 2 to 100 classes or, with ``--data``, MNIST and Fashion-MNIST), the number of
validation samples (30 to 2,000), whether large classes have ten times as many samples as small
ones, the network and the number of training steps, so that teachers have from 30 to 100 % of the
validation samples right. A stop counts as a false alarm; so does a warning, in its own column.

Then the same teachers get a mistake: their outputs in a random order, as text, reversed, shifted by
one, or two more outputs; and teachers trained on inputs with ImageNet's normalisation are examined
without it. A mistake is recognised if the examination stops and names the right order of the
classes that occur, or the right normalisation. Validation sets of few samples and weak teachers
have less power; no teacher is stopped for that.
"""

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.data import Dataset, Split, digits, fashion_mnist, mnist
from limbeck.models import MLP, ConvNet, Normalized, TimmModel, TorchvisionModel
from limbeck.models.normalizations import statistics_of
from limbeck.run.finding import STOP, WARNING, Finding
from limbeck.teacher.class_order import compare_orders
from limbeck.teacher.examination import answers_of, draw_sample, examine_models
from limbeck.teacher.remedies import SettingRemedies

LIBRARIES = ("resnet18", "mobilenetv3_small_050")
LIBRARY_EVERY = 20
"""One trial of as many has a network of torchvision or timm."""
WEAK, GOOD = 0.3, 0.6
BANDS = ((0.0, WEAK), (WEAK, GOOD), (GOOD, 0.9), (0.9, 1.01))
MAX_TRAINING = 4000


@dataclass(frozen=True)
class Trial:
    """A teacher and its data.

    Attributes:
        data: Dataset.
        model: Teacher, with the normalisation of its training.
        accuracy: Share of right validation samples.
        network: Name of the network.
        columns: Output of each class.
    """

    data: Dataset
    model: Normalized
    accuracy: float
    network: str
    columns: np.ndarray


@cache
def sources(folder: str | None) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels of the real data sets by name."""
    sets = {"digits": digits()}
    if folder is not None:
        sets["mnist"] = mnist(Path(folder) / "mnist")
        sets["fashion"] = fashion_mnist(Path(folder) / "fashion_mnist")
    return {name: (data.train.inputs, data.train.labels) for name, data in sets.items()}


def draw_data(draw: np.random.Generator, folder: str | None, *, is_small: bool) -> Dataset:
    """Draw a dataset; a small one has few and small images, for large networks."""
    val = int(draw.choice([30, 60, 120, 250] if is_small else [30, 60, 120, 250, 500, 1000, 2000]))
    name = str(
        draw.choice(["prototypes", "digits"] if is_small else ["prototypes", *sources(folder)])
    )
    if name == "prototypes":
        images, labels = prototype_images(draw, val)
    else:
        images, labels = sources(folder)[name]
        classes = int(draw.choice([2, 3, 5, 10]))
        keep = torch.from_numpy(np.isin(labels, draw.permutation(10)[:classes]))
        images, labels = images[keep], labels[keep].unique(return_inverse=True)[1]
        order = torch.from_numpy(draw.permutation(len(labels)))[: MAX_TRAINING + val]
        images, labels = images[order], labels[order]
    if draw.random() < 0.5:
        images, labels = imbalanced(images, labels, draw)
    val = min(val, len(labels) // 3)
    classes = int(labels.max()) + 1
    rows = [
        (labels == number).nonzero()[0] for number in range(classes) if (labels == number).any()
    ]
    test = torch.cat(rows)
    return Dataset(
        name,
        Split(images, labels),
        Split(images[test], labels[test]),
        class_names=[str(number) for number in range(classes)],
        val=val,
        split_seed=int(draw.integers(1000)),
    )


def prototype_images(draw: np.random.Generator, val: int) -> tuple[Tensor, Tensor]:
    """Images of random prototypes with noise."""
    classes = int(draw.choice([2, 3, 5, 10, 11, 20, 50, 100]))
    channels, side = int(draw.choice([1, 3])), int(draw.choice([8, 12]))
    count = val + min(MAX_TRAINING, 40 * classes + 400)
    labels = np.arange(count) % classes
    centers = draw.random((classes, channels, side, side))
    noise = draw.choice([0.1, 0.3, 0.6, 1.0])
    images = centers[labels] + noise * draw.standard_normal((count, channels, side, side))
    pixels = (255 * images.clip(0, 1)).astype(np.uint8)
    order = draw.permutation(count)
    return torch.from_numpy(pixels[order]), torch.from_numpy(labels[order])


def imbalanced(images: Tensor, labels: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Leave out samples, so that the largest class has ten times as many as the smallest one."""
    classes = int(labels.max()) + 1
    shares = 10.0 ** -draw.permutation(np.linspace(0, 1, classes))
    keep = torch.from_numpy(draw.random(len(labels)) < shares[labels.numpy()])
    for number in range(classes):  # every class keeps some
        keep[(labels == number).nonzero().flatten()[:3]] = True
    return images[keep], labels[keep]


def network(name: str, data: Dataset, outputs: int) -> nn.Module:
    """Build a network."""
    if name == "mlp":
        return MLP(data.shape, outputs, hidden=[64])
    if name == "convnet":
        return ConvNet(data.shape, outputs, channels=[8, 16], strides=[1, 2])
    if name == "linear":
        return MLP(data.shape, outputs, hidden=[])
    if name == "resnet18":
        return TorchvisionModel(data.shape, outputs, name=name)
    return TimmModel(data.shape, outputs, name=name)


def train(model: nn.Module, data: Dataset, steps: int, columns: np.ndarray) -> None:
    """Train a teacher on labels, some of which another class replaces."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    inputs, labels = data.train.inputs.float() / 255, torch.from_numpy(columns)[data.train.labels]
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(labels), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    model.eval()


def make_trial(
    seed: int,
    folder: str | None,
    *,
    steps: int | None = None,
    columns: Callable[[Dataset, np.random.Generator], tuple[np.ndarray, int]] | None = None,
    normalization: str = "data",
) -> Trial:
    """Train the teacher of a trial.

    Args:
        seed: Seed of all that is drawn.
        folder: Folder of MNIST and Fashion-MNIST; None to leave them out.
        steps: Number of training steps; None to draw it.
        columns: Function that draws the output of each class and the number of outputs; None for
            the order of the data.
        normalization: Normalisation of the teacher.
    """
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    has_library = seed % LIBRARY_EVERY == LIBRARY_EVERY - 1
    data = draw_data(draw, folder, is_small=has_library)
    name = str(draw.choice(["linear", "mlp", "convnet"]))
    number = int(draw.choice([3, 6, 12, 25, 50, 100, 300]))
    if has_library:
        name = LIBRARIES[seed // LIBRARY_EVERY % 2]
        number = min(number, 50)
    order, outputs = np.arange(data.classes), data.classes
    if columns is not None:
        order, outputs = columns(data, draw)
    mean, std = statistics_of(normalization, data.shape[0], data.statistics)
    model = Normalized(network(name, data, outputs), mean, std)
    train(model, data, number if steps is None else steps, order)
    sample = draw_sample(data)
    top = answers_of(model, sample.inputs, torch.device("cpu"))[:, order].argmax(1)
    return Trial(data, model.eval(), float((top == sample.labels).mean()), name, order)


def examine(model: nn.Module, data: Dataset) -> list[Finding]:
    """Return the findings about a teacher."""
    return examine_models([model], data, [SettingRemedies()])


def band_of(accuracy: float) -> str:
    """Name the band of an accuracy."""
    low, high = next(band for band in BANDS if band[0] <= accuracy < band[1])
    return f"{100 * low:.0f} to {min(100, 100 * high):.0f} %"


# False alarms -------------------------------------------------------------------------------------


def good_trials(folder: str | None, count: int) -> Iterator[Trial]:
    """Yield teachers that have at least 30 % right, and are better than chance by far."""
    number = 0
    for seed in itertools.count():
        trial = make_trial(seed, folder)
        if trial.accuracy >= max(WEAK, 1.5 / trial.data.classes):
            number += 1
            yield trial
        if number == count:
            return


def count_false_alarms(folder: str | None, count: int) -> int:
    """Print how many good and untrained teachers are stopped; returns the number."""
    rows: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for trial in good_trials(folder, count):
        rows[band_of(trial.accuracy)].append(outcome(trial))
    for seed in range(count):
        rows["untrained"].append(outcome(make_trial(seed, folder, steps=0)))
    print("right           teachers  stopped  warned  median seconds")
    for name, outcomes in sorted(rows.items()):
        stops, warnings, seconds = (np.array(column) for column in zip(*outcomes, strict=True))
        print(
            f"{name:14}  {len(stops):8}  {stops.sum():7}  {warnings.sum():6}  "
            f"{np.median(seconds):14.3f}",
            flush=True,
        )
    return sum(stop for outcomes in rows.values() for stop, _, _ in outcomes)


def outcome(trial: Trial) -> tuple[int, int, float]:
    """Return whether a teacher is stopped, whether there is a warning, and the seconds."""
    start = time.perf_counter()
    levels = [finding.level for finding in examine(trial.model, trial.data)]
    seconds = time.perf_counter() - start
    if STOP in levels:
        print(f"  stopped: {trial.network}, {trial.data.classes} classes, {trial.accuracy:.3f}")
    return int(STOP in levels), int(WARNING in levels), seconds


# Power --------------------------------------------------------------------------------------------


def shuffled(data: Dataset, draw: np.random.Generator) -> tuple[np.ndarray, int]:
    return np.roll(draw.permutation(data.classes), 1), data.classes


def as_text(data: Dataset, draw: np.random.Generator) -> tuple[np.ndarray, int]:
    order = sorted(range(data.classes), key=str)
    return np.argsort(order), data.classes


def turned(data: Dataset, draw: np.random.Generator) -> tuple[np.ndarray, int]:
    return np.arange(data.classes)[::-1].copy(), data.classes


def shifted(data: Dataset, draw: np.random.Generator) -> tuple[np.ndarray, int]:
    return np.roll(np.arange(data.classes), 1), data.classes


def two_more(data: Dataset, draw: np.random.Generator) -> tuple[np.ndarray, int]:
    return draw.permutation(data.classes + 2)[: data.classes], data.classes + 2


MISTAKES = {
    "shuffled": shuffled,
    "as text": as_text,
    "reversed": turned,
    "shifted by one": shifted,
    "two more outputs": two_more,
}


def is_recognised(trial: Trial) -> bool:
    """Whether a mistake in the order of the classes is recognised, and the line is right."""
    sample = draw_sample(trial.data)
    logits = answers_of(trial.model, sample.inputs, torch.device("cpu"))
    test = compare_orders(logits, sample.labels, trial.data.class_names)
    is_shown = test.is_plausible if test.present_error_rate is None else test.is_better
    orders = (test.order.columns, trial.columns)
    errors = [(logits[:, order].argmax(1) != sample.labels).mean() for order in orders]
    return bool(is_shown and errors[0] <= errors[1] + 0.02)


def count_recognised(folder: str | None, count: int) -> None:
    """Print how many planted mistakes are recognised, by accuracy and number of samples."""
    print("mistake           right           validation  teachers  recognised")
    for mistake, columns in [*MISTAKES.items(), ("imagenet", None)]:
        rows: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for seed in range(count):
            trial = make_trial(
                1000 + seed,
                folder,
                columns=columns,
                normalization="imagenet" if columns is None else "data",
            )
            size = "under 250" if len(trial.data.val) < 250 else "250 and more"
            if columns is None:
                findings = examine(trial.model.net, trial.data)
                hit = any("ImageNet" in finding.text for finding in findings)
            elif np.array_equal(trial.columns, np.arange(trial.data.classes)):
                continue  # as text is the same for up to ten classes
            else:
                hit = is_recognised(trial)
            rows[band_of(trial.accuracy), size].append(hit)
        for (band, size), hits in sorted(rows.items()):
            print(f"{mistake:16}  {band:14}  {size:10}  {len(hits):8}  {np.mean(hits):10.2f}")
        print(end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="False alarms and power of the examination.")
    parser.add_argument("--data", metavar="DIR", help="folder of mnist/ and fashion_mnist/")
    parser.add_argument(
        "--short",
        action="store_true",
        help="a small version that only checks that the script works",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = 4 if options.short else 200
    alarms = count_false_alarms(options.data, count)
    print(f"stopped without a mistake: {alarms} of {2 * count}\n")
    count_recognised(options.data, 2 if options.short else 60)


if __name__ == "__main__":
    main()
