"""Demo: a local page on which teacher, control and student classify drawings.

The server listens on the loopback interface only. It sends logits, and the page applies the softmax
itself, so that a slider can change the temperature.
"""

import base64
import json
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck._base.printable import MAX_NAME, cut, printable_record
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.deploy.demo_server import Server, make_server
from limbeck.deploy.models_of_run import RunModel
from limbeck.report.examples import png_of

EXAMPLES = 12
INK = 0.2
"""Pixels brighter than this share of the brightest value are ink."""


class Demo:
    """The page and its server.

    Args:
        models: Models to show, from left to right.
        data: Dataset with the shape of the inputs, the class names and example images.
        port: Port of the server. 0 for any free port.

    Raises:
        ConfigError: If the inputs are not images, or the port is not available.
    """

    def __init__(self, models: Sequence[RunModel], data: Dataset, *, port: int = 0):
        if not data.kind.has_classes:
            raise ConfigError(
                f"'limbeck demo' shows classes, but {data.name} is for {data.kind.description}. "
                "'limbeck predict' answers files with an exported student."
            )
        is_bytes = data.train.inputs.dtype == torch.uint8
        if not is_bytes or len(data.shape) != 3 or data.shape[0] not in (1, 3):
            raise ConfigError(
                f"'limbeck demo' needs images, but the inputs of {data.name} are not images: their "
                f"shape is {list(data.shape)}."
            )
        self.models = models
        self.data = data
        self.facts = json.dumps(printable_record(_facts(models, data))).encode()
        """Facts for the page, as JSON."""
        self._lock = Lock()
        self.server: Server = make_server(self, port)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.server.server_port}/"

    def serve(self) -> None:
        """Serve until interrupted."""
        with self.server:
            self.server.serve_forever()

    def answer(self, pixels: np.ndarray) -> list[list[float]]:
        """Logits of each model for one image.

        Args:
            pixels: Image, uint8 ``[C, H, W]``.
        """
        inputs = as_float(torch.from_numpy(pixels)[None])
        with self._lock, torch.inference_mode():
            return [model.logits(inputs)[0].double().tolist() for model in self.models]


def _facts(models: Sequence[RunModel], data: Dataset) -> dict[str, Any]:
    channels, height, width = data.shape
    dark, fill = drawing_style(data.train.inputs)
    class_names = [cut(name, MAX_NAME) for name in data.class_names]
    examples = []
    for row in _example_rows(data, EXAMPLES):
        image = data.val.inputs[row].numpy()
        examples.append(
            {
                "label": class_names[int(data.val.labels[row])],
                "png": png_of(image),
                "pixels": base64.b64encode(image.tobytes()).decode(),
            }
        )
    return {
        "data": data.name,
        "classes": class_names,
        "channels": channels,
        "height": height,
        "width": width,
        "dark": dark,
        "fill": fill,
        "examples": examples,
        "models": [
            {
                "role": model.role,
                "name": model.name,
                "description": model.description,
                "colour": model.colour,
            }
            for model in models
        ],
    }


def drawing_style(images: Tensor, max_images: int = 1000) -> tuple[bool, float]:
    """Detect how objects are drawn in a dataset.

    Args:
        images: Images, uint8 ``[N, C, H, W]``.
        max_images: Maximum number of images to use.

    Returns:
        Whether the background is dark, and the longer side of an object as a share of the image
        (median over the images).
    """
    grey = images[:max_images].float().mean(1) / 255
    edge = torch.cat([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)
    dark = bool(edge.mean() < 0.5)
    ink = (grey if dark else 1 - grey) > INK
    rows = ink.any(2).float()
    columns = ink.any(1).float()
    spans = torch.stack([_span(rows) / rows.shape[1], _span(columns) / columns.shape[1]])
    return dark, round(float(spans.amax(0).median().clamp(min=0.1)), 3)


def _span(mask: Tensor) -> Tensor:
    """Return the number of pixels from the first to the last 1 in each row, at least 1."""
    length = mask.shape[1]
    positions = torch.arange(1, length + 1, device=mask.device)
    last = (mask * positions).amax(1)
    first = (mask * positions.flip(0)).amax(1)
    return (last + first - length).clamp(min=1)


def _example_rows(data: Dataset, number: int) -> list[int]:
    """Choose rows of the validation split that cover as many classes as possible."""
    labels = data.val.labels
    rows_of_class = [(labels == label).nonzero().flatten() for label in range(data.classes)]
    rows: list[int] = []
    for turn in range(number):
        for class_rows in rows_of_class:
            if turn < len(class_rows) and len(rows) < number:
                rows.append(int(class_rows[turn]))
    return rows
