"""Test images on which an arm and its control disagree, with the predictions of the models."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limbeck._base.errors import UntrustedFileError
from limbeck._base.reading import DAMAGED_ARRAYS, open_arrays
from limbeck.report.formats import fixed, percent
from limbeck.run.folder import RunFolder

MAX_CLASSES = 5
MAX_LETTERS = 10
"""Longest name of a class that stands on the left of its bars."""
_ARRAYS = (
    "images",
    "labels",
    "names",
    "arm",
    "control",
    "temperature",
    "alone",
    "classes",
)


@dataclass(frozen=True)
class ClassBars:
    """The probabilities of one class.

    Attributes:
        name: Name of the class.
        is_label: Whether the class is the label.
        shares: Probability in % by model: ``teacher``, ``control`` and ``arm``.
    """

    name: str
    is_label: bool
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Card:
    """One image and the models' answers.

    Attributes:
        png: Image as a data URI.
        label: Name of its true class.
        answers: Top class and its probability by model.
        bars: Probabilities of some classes.
    """

    png: str
    label: str
    answers: Mapping[str, str]
    bars: list[ClassBars]


@dataclass(frozen=True)
class Examples:
    """The images of a report.

    Attributes:
        arm: Name of the arm.
        control: Name of its control.
        teacher: Description of the teacher's probabilities; empty without a teacher.
        lead: Introduction above the images.
        cards: Images and answers.
    """

    arm: str
    control: str
    teacher: str
    lead: str
    cards: list[Card]

    @property
    def has_long_names(self) -> bool:
        """Whether the names of classes need more room than digits and short words."""
        names = [bar.name for card in self.cards for bar in card.bars]
        return max(map(len, names), default=0) > MAX_LETTERS


def read_examples(folder: RunFolder) -> Examples | None:
    """Read ``examples.npz`` of a run; None if there is none.

    Raises:
        UntrustedFileError: If the file is damaged.
    """
    if not folder.examples.is_file():
        return None
    try:
        with open_arrays(folder.examples) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            if "teacher" in file:
                arrays["teacher"] = file["teacher"]
        return _examples(arrays)
    except DAMAGED_ARRAYS as error:
        reason = str(error) or type(error).__name__
        raise UntrustedFileError(
            f"{folder.examples} is damaged: {reason}. Delete it to write the report without "
            "example images."
        ) from None


def _examples(arrays: Mapping[str, NDArray]) -> Examples:
    arm, control = (str(name) for name in arrays["names"])
    classes = [str(name) for name in arrays["classes"]]
    temperature = float(arrays["temperature"])
    teacher = ""
    if "teacher" in arrays:
        teacher = "teacher" if temperature == 1 else f"teacher at T = {temperature:g}"
    only_arm, only_control = (fixed(float(number), 1) for number in arrays["alone"])
    lead = (
        f"On average over seeds, only {arm} is right on {only_arm} test images, and only {control} "
        f"is right on {only_control}. These are the images on which most seeds differ."
    )
    return Examples(arm, control, teacher, lead, _cards(arrays, classes, temperature))


def _cards(arrays: Mapping[str, NDArray], classes: list[str], temperature: float) -> list[Card]:
    from scipy.special import softmax  # SciPy takes half a second to import

    shares = {
        "control": softmax(arrays["control"], axis=1),
        "arm": softmax(arrays["arm"], axis=1),
    }
    if "teacher" in arrays:
        shares["teacher"] = softmax(arrays["teacher"] / temperature, axis=1)
    cards = []
    for row, label in enumerate(arrays["labels"].tolist()):
        own = {model: values[row] for model, values in shares.items()}
        answers = {model: _answer(values, classes) for model, values in own.items()}
        bars = []
        for index in _classes_to_draw(own, label):
            percentages = {model: 100 * float(values[index]) for model, values in own.items()}
            bars.append(ClassBars(classes[index], index == label, percentages))
        cards.append(Card(png_of(arrays["images"][row]), classes[label], answers, bars))
    return cards


def _classes_to_draw(shares: Mapping[str, NDArray], label: int) -> list[int]:
    """The label, each model's top class, then the classes that the teacher finds most likely.

    Without a teacher, those that the arm finds most likely.
    """
    guide = shares.get("teacher", shares["arm"])
    order = [label, *(int(values.argmax()) for values in shares.values())]
    order += np.argsort(-guide, kind="stable").tolist()
    return sorted(list(dict.fromkeys(order))[:MAX_CLASSES])


def _answer(shares: NDArray, classes: list[str]) -> str:
    top = int(shares.argmax())
    return f"{classes[top]} ({percent(float(shares[top]), 0)})"


def png_of(pixels: NDArray[np.uint8]) -> str:
    """An image ``[C, H, W]`` as a data URI."""
    picture = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
