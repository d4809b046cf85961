"""Images as inputs of the demo: drawings, files, and images of the validation split."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import DataError
from limbeck._base.runtime.images import decode
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.deploy.demo.inputs import DemoInput, Reader, example_rows, label_text
from limbeck.report.examples import png_of

INK = 0.2
"""Pixels brighter than this share of the brightest value are ink."""


class ImageForm:
    """An area to draw on, which also takes image files.

    Args:
        data: Dataset of images, uint8 ``[N, C, H, W]``.
    """

    def __init__(self, data: Dataset):
        self._data = data
        self.readers: Mapping[str, Reader] = {"/answer": self.read_pixels, "/image": self.read_file}

    def facts(self) -> dict[str, Any]:
        """Return the shape and style of drawings, and validation images to try."""
        channels, height, width = self._data.shape
        dark, fill = drawing_style(self._data.train.inputs)
        return {
            "kind": "image",
            "channels": channels,
            "height": height,
            "width": width,
            "dark": dark,
            "fill": fill,
            "examples": [self._example(row) for row in example_rows(self._data)],
        }

    def read_pixels(self, body: bytes) -> DemoInput:
        """Read the pixels of an image, uint8 ``[C, H, W]``.

        Raises:
            DataError: If their number is another.
        """
        shape = self._data.shape
        pixels = np.frombuffer(body, np.uint8)
        if pixels.size != np.prod(shape):
            raise DataError(
                f"{pixels.size} bytes were sent, but an input has the shape {list(shape)}"
            )
        return self._input(pixels.reshape(shape).copy())

    def read_file(self, body: bytes) -> DemoInput:
        """Read an image file.

        Raises:
            RuntimeFailure: If it is damaged, too large or not an image.
        """
        channels, height, width = self._data.shape
        pixels = decode(
            io.BytesIO(body),
            size=(height, width),
            channels=channels,
            name="this file",
            crop_border=self._data.crop_border,
            value_range=self._data.value_range,
        )
        return self._input(pixels)

    def _input(self, pixels: np.ndarray) -> DemoInput:
        inputs = as_float(torch.from_numpy(pixels)[None])
        return DemoInput(inputs, {"png": png_of(pixels)})

    def _example(self, row: int) -> dict[str, str]:
        image = self._data.val.inputs[row].numpy()
        pixels = base64.b64encode(image.tobytes()).decode()
        return {"label": label_text(self._data, row), "png": png_of(image), "pixels": pixels}


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
