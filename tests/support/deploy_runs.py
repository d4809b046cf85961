"""Small datasets and finished runs for the tests of the deployment."""

import numpy as np

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck.data import Dataset
from limbeck.deploy.export import ExportOptions
from limbeck.deploy.export import export as export_with_options
from limbeck.models import MLP
from support.studies import make_study

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
CLASS_NAMES = ["square", "cross", "bar"]


def images(count, seed, channels=1):
    """Squares, crosses and bars on noise, uint8 ``[N, C, 12, 10]``, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    pixels = rng.integers(0, 60, (count, channels, 12, 10))
    for image, label in zip(pixels, labels, strict=True):
        y, x = rng.integers(0, 5), rng.integers(0, 4)
        if label == 0:
            image[:, y : y + 5, x : x + 5] += 150
        elif label == 1:
            image[:, y + 2, x : x + 5] += 150
            image[:, y : y + 5, x + 2] += 150
        else:
            image[:, y : y + 5, x + 2] += 190
    return pixels.clip(0, 255).astype(np.uint8), labels


def dataset(channels=1, name="shapes", class_names=CLASS_NAMES):
    x, y = images(400, 0, channels)
    x_test, y_test = images(200, 1, channels)
    return Dataset.from_arrays(x, y, x_test, y_test, name=name, class_names=list(class_names))


def labels_dataset():
    """Arrays with three labels each."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    y = (x[:, :3] + 0.3 * rng.normal(size=(300, 3)) > 0).astype(np.int64)
    return Dataset.from_arrays(x[:200], y[:200], x[200:], y[200:], task="multi_label")


def values_dataset():
    """Arrays with two values each, in units of their own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    y = (x[:, :2] * [100.0, 0.01] + [1000.0, 5.0]).astype(np.float32)
    return Dataset.from_arrays(x[:200], y[:200], x[200:], y[200:], task="regression")


def study(data, out, student, *, seeds=2, objective=None, **settings):
    """Run a study of a control (``hard``) and a distilled arm (``soft``); returns its folder."""
    adam = Optimizer(name="adam", lr=0.01, schedule="one_cycle")
    teacher = Teacher(
        model=lambda **shape: MLP(**shape, hidden=[32]), epochs=4, batch_size=32, optimizer=adam
    )
    soft = objective or Objective(temperature=3.0)
    arms = {"hard": Arm(objective=HARD), "soft": Arm(objective=soft)}
    make_study(
        data,
        arms,
        out,
        student=student,
        teacher=teacher,
        seeds=seeds,
        epochs=4,
        batch_size=32,
        optimizer=adam,
        store="off",
        **settings,
    ).run()
    return out


def small_mlp(**shape):
    return MLP(**shape, hidden=[12])


def export(run, data, *, build=None, progress=False, **options):
    """Export without progress, with the options as keywords."""
    return export_with_options(run, data, ExportOptions(**options), build=build, progress=progress)
