"""Small data sets and runs for the tests of what becomes of students."""

import numpy as np

from limbeck import Arm, Objective, Optimizer, Study, Teacher
from limbeck.data import Dataset
from limbeck.models import MLP

HARD = Objective(hard_weight=1.0, soft_weight=0.0)


def images(count, seed, channels=1):
    """Squares, crosses and bars in noise, uint8 ``[N, C, 12, 10]``, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    found = rng.integers(0, 60, (count, channels, 12, 10))
    for image, label in zip(found, labels, strict=True):
        y, x = rng.integers(0, 5), rng.integers(0, 4)
        if label == 0:
            image[:, y : y + 5, x : x + 5] += 150
        elif label == 1:
            image[:, y + 2, x : x + 5] += 150
            image[:, y : y + 5, x + 2] += 150
        else:
            image[:, y : y + 5, x + 2] += 190
    return found.clip(0, 255).astype(np.uint8), labels


def dataset(channels=1, name="shapes"):
    x, y = images(400, 0, channels)
    x_test, y_test = images(200, 1, channels)
    return Dataset.from_arrays(
        x, y, x_test, y_test, name=name, class_names=["square", "cross", "bar"]
    )


def study(data, out, student, *, seeds=2, **settings):
    adam = Optimizer(name="adam", lr=0.01, schedule="one_cycle")
    teacher = Teacher(
        model=lambda **shape: MLP(**shape, hidden=[32]), epochs=4, batch_size=32, optimizer=adam
    )
    arms = {"hard": Arm(objective=HARD), "soft": Arm(objective=Objective(temperature=3.0))}
    found = Study(
        data,
        arms,
        student=student,
        teacher=teacher,
        seeds=seeds,
        epochs=4,
        batch_size=32,
        optimizer=adam,
        out=out,
        store="off",
        progress=False,
        **settings,
    )
    found.run()
    return out
