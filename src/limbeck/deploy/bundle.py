"""A bundle on disk: models, names of classes, how inputs are made, golden answers, a model card,
sums of all files.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base import bundle_runtime as runtime
from limbeck._base.files import write_atomically
from limbeck._base.version import __version__
from limbeck.data import Dataset

GOLDEN = 16
FP32_TOLERANCE, INT8_TOLERANCE = 1e-4, 0.05
"""How far golden logits may differ on another device, as a share of the largest one (of 1 at
least).
"""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle.

    Attributes:
        name: of the model, for people.
        models: ONNX files as bytes, by kind (``fp32``, ``int8``).
        class_names: in the order of the logits.
        golden: inputs to be replayed on the device.
        temperature: that logits are divided by for confidences.
        image: whether inputs are made from image files.
        crop_border: whether images lose a black border first.
        card: the model card.
    """

    name: str
    models: Mapping[str, bytes]
    class_names: Sequence[str]
    golden: np.ndarray
    temperature: float
    image: bool
    crop_border: bool
    card: str


def write_bundle(folder: Path, contents: Contents) -> Path:
    """Write a bundle into an empty folder; returns the folder."""
    loaded = {
        kind: runtime.Model(content, kind, contents.class_names)
        for kind, content in contents.models.items()
    }
    answers = {kind: model.logits(contents.golden) for kind, model in loaded.items()}
    share = {"fp32": FP32_TOLERANCE, "int8": INT8_TOLERANCE}
    facts = {
        "format": runtime.FORMAT,
        "name": contents.name,
        "limbeck": __version__,
        "temperature": contents.temperature,
        "tolerances": {
            kind: share[kind] * max(1.0, float(np.abs(found).max()))
            for kind, found in answers.items()
        },
    }
    arrays = io.BytesIO()
    np.savez_compressed(arrays, allow_pickle=False, inputs=contents.golden, **answers)
    files = {
        **{runtime.KINDS[kind]: content for kind, content in contents.models.items()},
        runtime.LABELS: _json({"labels": list(contents.class_names)}),
        runtime.PREPROCESS: _json(_preprocess(contents)),
        runtime.FACTS: _json(facts),
        runtime.GOLDEN: arrays.getvalue(),
        runtime.CARD: contents.card.encode(),
        "run.py": Path(runtime.__file__).read_bytes(),
    }
    for name, content in files.items():
        write_atomically(folder / name, partial(_write, content))
    summed = sorted((name, content) for name, content in files.items() if name != runtime.CARD)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in summed)
    write_atomically(folder / runtime.SUMS, partial(_write, sums.encode()))
    return folder


def zip_bundle(folder: Path, archive: Path) -> None:
    """Pack a bundle into one file; the same bundle gives the same bytes."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as packed:
            for file in sorted(folder.iterdir()):
                entry = zipfile.ZipInfo(f"{folder.name}/{file.name}", _LONG_AGO)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, file.read_bytes())

    write_atomically(archive, write)


def golden_inputs(data: Dataset, count: int = GOLDEN) -> np.ndarray:
    """Inputs to compare answers on, drawn by a generator: nobody's image leaves with a bundle.

    Images: black, white, a ramp each way, then smooth blotches with more and more noise. Other
    inputs: normal, with the mean and the deviation of the training inputs.

    Args:
        data: for the shape and kind of its inputs.
        count: how many.

    Returns:
        The type of the inputs, ``[count, ...]``.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = data.train.inputs
    if inputs.dtype != torch.uint8 or inputs.ndim != 4:
        mean, std = (torch.tensor(values) for values in data.statistics)
        drawn = torch.randn(count, *data.shape, generator=generator)
        shape = [-1] + [1] * (inputs.ndim - 2) if len(mean) > 1 else []
        drawn = drawn * std.reshape(shape) + mean.reshape(shape)
        return (
            drawn.mul(255).clamp(0, 255).byte().numpy()
            if inputs.dtype == torch.uint8
            else drawn.numpy()
        )
    channels, height, width = data.shape
    across = torch.linspace(0, 1, width).expand(channels, height, width)
    down = torch.linspace(0, 1, height).view(-1, 1).expand(channels, height, width)
    plain = [torch.zeros(data.shape), torch.ones(data.shape), across, down][:count]
    blotches = [
        _blotches(data.shape, k / max(1, count - 5), generator) for k in range(count - len(plain))
    ]
    return torch.stack([*plain, *blotches]).mul(255).round().byte().numpy()


def _blotches(shape: Sequence[int], noise: float, generator: torch.Generator) -> Tensor:
    """Smooth random shapes with a share of noise, from 0 to 1."""
    coarse = torch.rand(1, shape[0], 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(
        coarse, tuple(shape[1:]), mode="bicubic", align_corners=False
    )[0]
    rough = torch.rand(*shape, generator=generator)
    return ((1 - noise) * (smooth - 0.5) * 3 + noise * (rough - 0.5) * 2 + 0.3).clamp(0, 1)


def _preprocess(contents: Contents) -> dict[str, Any]:
    shape = list(contents.golden.shape[1:])
    if not contents.image:
        return {"kind": "array", "shape": shape, "dtype": str(contents.golden.dtype)}
    return {
        "kind": "image",
        "shape": shape,
        "dtype": "uint8",
        "layout": "channels, height, width",
        "colour": "RGB" if shape[0] == 3 else "grey",
        "values": "0 to 255; normalisation is inside the model",
        "crop_border": contents.crop_border,
        "resize": "the largest part of this shape about the middle, bilinear (Pillow, reducing_gap 3)",
    }


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
