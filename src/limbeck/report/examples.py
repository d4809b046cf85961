"""Test images on which an arm and its control differ, with what teacher, control and arm say of
them.
"""

import base64
import io
import zipfile
import zlib
from typing import Any

import numpy as np
from PIL import Image
from scipy.special import softmax

from limbeck._base.errors import UntrustedFileError
from limbeck.report.formats import percent, tenths
from limbeck.run.folder import RunFolder

MOST_CLASSES = 5
_ARRAYS = (
    "images",
    "labels",
    "names",
    "arm",
    "control",
    "teacher",
    "temperature",
    "alone",
    "classes",
)


def read_examples(folder: RunFolder) -> dict[str, Any]:
    """What the page shows of ``examples.npz``; empty where there is none.

    Raises:
        UntrustedFileError: the file is damaged.
    """
    if not folder.examples.is_file():
        return {}
    try:
        with np.load(folder.examples, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in _ARRAYS if name in arrays or name != "teacher"}
        return _shown(found)
    except (
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error) or type(error).__name__
        raise UntrustedFileError(
            f"{folder.examples} is damaged: {reason}. Delete it to make the report without these "
            "images."
        ) from None


def _shown(found: dict[str, np.ndarray]) -> dict[str, Any]:
    arm, control = (str(name) for name in found["names"])
    classes, temperature = [str(name) for name in found["classes"]], float(found["temperature"])
    only_arm, only_control = (float(number) for number in found["alone"])
    spread = {"control": softmax(found["control"], axis=1), "arm": softmax(found["arm"], axis=1)}
    if "teacher" in found:
        spread["teacher"] = softmax(found["teacher"] / temperature, axis=1)
    cards = []
    for row in range(len(found["labels"])):
        label = int(found["labels"][row])
        answers = {who: shares[row] for who, shares in spread.items()}
        picked = _classes_of(answers, label)
        cards.append(
            {
                "png": png_of(found["images"][row]),
                "label": classes[label],
                "says": {who: _answer(shares, classes) for who, shares in answers.items()},
                "bars": [
                    {
                        "name": classes[k],
                        "true": k == label,
                        **{who: 100 * float(shares[k]) for who, shares in answers.items()},
                    }
                    for k in picked
                ],
            }
        )
    lead = (
        f"On average over the seeds {arm} alone gets {tenths(only_arm)} test images right that "
        f"{control} gets "
        f"wrong, and {control} alone {tenths(only_control)}. Shown are those on which most seeds "
        "differ."
    )
    softened = f"teacher at T = {temperature:g}" if temperature != 1 else "teacher"
    return {
        "arm": arm,
        "control": control,
        "teacher": softened if "teacher" in found else "",
        "lead": lead,
        "cards": cards,
    }


def _classes_of(answers: dict[str, np.ndarray], label: int) -> list[int]:
    """The classes to show: the right one, each model's top one, then the likeliest for the teacher
    (or the arm).
    """
    first = [label, *(int(shares.argmax()) for shares in answers.values())]
    guide = answers.get("teacher", answers["arm"])
    order = dict.fromkeys([*first, *np.argsort(-guide, kind="stable").tolist()])
    return sorted(list(order)[:MOST_CLASSES])


def _answer(shares: np.ndarray, classes: list[str]) -> str:
    top = int(shares.argmax())
    return f"{classes[top]} ({percent(float(shares[top]), 0)})"


def png_of(pixels: np.ndarray) -> str:
    """An image uint8 ``[C, H, W]`` as a data URI."""
    picture = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
