"""Bundle on disk: models, labels, preprocessing, golden outputs, model card and checksums."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base import runtime
from limbeck._base.files import write_atomically, write_bytes
from limbeck._base.runtime.file_names import (
    CARD,
    FORMAT,
    GOLDEN,
    KINDS,
    LABELS,
    METADATA,
    PREPROCESS,
    PROGRAM,
    RUNTIME,
    SUMS,
    TOKENIZER,
)
from limbeck._base.runtime.model import Model
from limbeck._base.version import __version__
from limbeck.data import Dataset
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.deploy.parity import ROUNDING
from limbeck.deploy.sbom import RUNTIME_PACKAGES, sbom_of_bundle

GOLDEN_INPUTS = 16
MISSING_SHARE = 0.25
"""Share of missing values in generated rows of a table, in columns that have some."""
SBOM = "sbom.cdx.json"
TOLERANCES = {"fp32": 1e-4, "int8": 0.05}
"""Tolerances of golden logits on a device, as a share of the largest logit (at least 1)."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""Time stamp of all files in an archive, so that equal bundles have equal bytes."""


@dataclass(frozen=True)
class BundleContents:
    """Contents of a bundle.

    Attributes:
        name: Title of the model.
        models: Contents of the ONNX files by precision (``fp32``, ``int8``).
        class_names: Names of the classes, in the order of the logits.
        golden: Inputs whose logits a device should reproduce, ``[N, ...]``.
        temperature: Temperature that divides the logits for confidences.
        preprocess: Description of the inputs, of
            :func:`limbeck.deploy.preprocess.describe_inputs`.
        default: Precision that is used unless another is named.
        thresholds: Smallest confidence for each error rate that answers may have (``1%``), by
            precision.
        card: Text of the model card.
        scale: Standard deviation of each target of a regression, in which differences of golden
            outputs are measured; None for others.
        label_thresholds: Probability from which each of several labels is predicted; None for
            others.
        tokenizer: Tokenizer of texts; None for other inputs.
        float_layers: Names of the layers of the 8-bit model that are in float32.
    """

    name: str
    models: Mapping[str, bytes]
    class_names: Sequence[str]
    golden: np.ndarray
    temperature: float
    preprocess: Mapping[str, Any]
    default: str
    thresholds: Mapping[str, Mapping[str, float]]
    card: str
    scale: Sequence[float] | None = None
    label_thresholds: Sequence[float] | None = None
    tokenizer: Tokenizer | None = None
    float_layers: Sequence[str] = ()


def write_bundle(folder: Path, contents: BundleContents) -> Path:
    """Write a bundle into an empty folder.

    Args:
        folder: Folder of the bundle.
        contents: Contents of the bundle.

    Returns:
        The folder.
    """
    logits = {}
    tolerances = {}
    for precision, content in contents.models.items():
        model = Model(content, precision, contents.class_names)
        logits[precision] = model.logits(contents.golden)
        tolerances[precision] = golden_tolerance(logits[precision], precision, contents.scale)
    golden = io.BytesIO()
    np.savez_compressed(golden, allow_pickle=False, inputs=contents.golden, **logits)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": contents.name,
        "limbeck": __version__,
        "temperature": contents.temperature,
        "tolerances": tolerances,
        "default": contents.default,
        "thresholds": contents.thresholds,
    }
    if contents.float_layers:
        facts["float_layers"] = list(contents.float_layers)
    if contents.scale is not None:
        facts["scale"] = list(contents.scale)
    if contents.label_thresholds is not None:
        facts["label_thresholds"] = list(contents.label_thresholds)
    files = {KINDS[precision]: model for precision, model in contents.models.items()}
    files |= {
        LABELS: labels_file(contents.class_names, facts),
        PREPROCESS: json_bytes(contents.preprocess),
        METADATA: json_bytes(facts),
        GOLDEN: golden.getvalue(),
        CARD: contents.card.encode(),
        **runtime_files(),
    }
    packages = list(RUNTIME_PACKAGES)
    if contents.tokenizer is not None and contents.tokenizer.file is not None:
        files[TOKENIZER] = contents.tokenizer.file.encode()
        packages.append("tokenizers")
    models = {name: files[name] for name in files if name.endswith(".onnx")}
    others = {name: files[name] for name in files if name not in (*models, CARD)}
    files[SBOM] = sbom_of_bundle(contents.name, models, others, packages)
    files[SUMS] = checksums(files)
    for name, content in files.items():
        write_bytes(folder / name, content)
    return folder


def golden_tolerance(
    outputs: np.ndarray, precision: str, scale: Sequence[float] | None = None
) -> float:
    """Return the difference of golden outputs that is allowed on a device.

    Args:
        outputs: Outputs for the golden inputs at export, ``[N, classes]``.
        precision: ``fp32`` or ``int8``.
        scale: Standard deviation of each target of a regression, in which the difference is
            measured; None for others.
    """
    largest, rounding = float(np.abs(outputs).max()), 0.0
    if scale is not None:
        values = outputs / np.array(scale)
        largest = float(np.abs(values - values.mean(0)).max())
        rounding = ROUNDING * float(np.abs(values).max())
    return TOLERANCES[precision] * max(1.0, largest) + rounding


def runtime_files() -> dict[str, bytes]:
    """Return the files with which a bundle runs without limbeck: ``run.py`` and its modules."""
    modules = Path(runtime.__file__).parent
    files = {PROGRAM: (modules.parent / "bundle_program.py").read_bytes()}
    for file in modules.glob("*.py"):
        files[f"{RUNTIME}/{file.name}"] = file.read_bytes()
    return files


def checksums(files: Mapping[str, bytes]) -> bytes:
    """Format checksums like ``sha256sum``. The model card has none, because people fill it in."""
    lines = []
    for name, content in sorted(files.items()):
        if name != CARD:
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    return "".join(lines).encode()


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Format an object as the content of a JSON file."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def zip_bundle(folder: Path, archive: Path) -> None:
    """Pack a bundle into a zip file, always with the same bytes for the same bundle.

    Args:
        folder: Folder of the bundle.
        archive: Path of the zip file.
    """

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as zip_file:
            for file in files_in(folder):
                name = file.relative_to(folder.parent).as_posix()
                entry = zipfile.ZipInfo(name, _ZIP_TIME)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                zip_file.writestr(entry, file.read_bytes())

    write_atomically(archive, write)


def files_in(folder: Path) -> list[Path]:
    """Return the files in the folder of a bundle and in the folder of its runtime, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def labels_file(names: Sequence[str], facts: Mapping[str, Any]) -> bytes:
    """Return the content of ``labels.json``.

    Args:
        names: Names of the outputs, in their order.
        facts: Facts of the model: regressions have a ``scale``, several labels have
            ``label_thresholds``.
    """
    key = "labels"
    if "label_thresholds" in facts:
        key = "several_labels"
    elif "scale" in facts:
        key = "targets"
    return json_bytes({key: list(names)})


def golden_inputs(data: Dataset, count: int = GOLDEN_INPUTS) -> np.ndarray:
    """Generate inputs for comparing devices, without using any sample of the dataset.

    Images are black, white, a horizontal and a vertical ramp, then smooth blobs with increasing
    noise. Texts are random tokens. Other inputs are normally distributed, with the training inputs'
    mean and standard deviation. Rows of a table have these of each column, any of its categories,
    and missing values where the training rows have some.

    Args:
        data: Dataset that defines the shape and type of the inputs.
        count: Number of inputs.

    Returns:
        Inputs ``[count, ...]`` of the dataset's type.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = data.train.inputs
    if data.padding is not None:
        return _golden_texts(data, data.padding, count, generator)
    if data.columns is not None:
        return _golden_rows(data, data.columns.sizes, count, generator)
    if inputs.dtype == torch.uint8 and inputs.ndim == 4:
        return _golden_images(data.shape, count, generator)
    return _golden_arrays(data, count, generator)


def _golden_texts(
    data: Dataset, padding: int, count: int, generator: torch.Generator
) -> np.ndarray:
    """Generate random token ids, in texts of different lengths."""
    assert data.tokenizer is not None
    (length,) = data.shape
    ids = torch.randint(data.tokenizer.size, (count, length), generator=generator)
    ids[ids == padding] = int(padding == 0)
    lengths = torch.linspace(1, length, count).round()
    ids[torch.arange(length) >= lengths[:, None]] = padding
    return ids.int().numpy()


def _golden_rows(
    data: Dataset, sizes: Sequence[int], count: int, generator: torch.Generator
) -> np.ndarray:
    mean, std = (torch.tensor(values) for values in data.statistics)
    rows = torch.randn(count, len(sizes), generator=generator) * std + mean
    for column, size in enumerate(sizes):
        if size:
            rows[:, column] = torch.randint(size, (count,), generator=generator).float()
    is_missing = torch.rand(count, len(sizes), generator=generator) < MISSING_SHARE
    rows[is_missing & torch.tensor(data.gaps)] = torch.nan
    return rows.numpy()


def _golden_arrays(data: Dataset, count: int, generator: torch.Generator) -> np.ndarray:
    inputs = data.train.inputs
    mean, std = (torch.tensor(values) for values in data.statistics)
    arrays = torch.randn(count, *data.shape, generator=generator)
    shape = [-1] + [1] * (inputs.ndim - 2) if len(mean) > 1 else []
    arrays = arrays * std.reshape(shape) + mean.reshape(shape)
    if inputs.dtype == torch.uint8:
        return arrays.mul(255).clamp(0, 255).byte().numpy()
    return arrays.numpy()


def _golden_images(shape: Sequence[int], count: int, generator: torch.Generator) -> np.ndarray:
    channels, height, width = shape
    horizontal = torch.linspace(0, 1, width).expand(channels, height, width)
    vertical = torch.linspace(0, 1, height).view(-1, 1).expand(channels, height, width)
    images = [torch.zeros(*shape), torch.ones(*shape), horizontal, vertical][:count]
    blobs = count - len(images)
    for number in range(blobs):
        images.append(_blobs(shape, number / max(1, count - 5), generator))
    return torch.stack(images).mul(255).round().byte().numpy()


def _blobs(shape: Sequence[int], noise: float, generator: torch.Generator) -> Tensor:
    """Generate smooth random blobs with a share of noise between 0 and 1."""
    coarse = torch.rand(1, shape[0], 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(
        coarse, tuple(shape[1:]), mode="bicubic", align_corners=False
    )[0]
    rough = torch.rand(*shape, generator=generator)
    return ((1 - noise) * (smooth - 0.5) * 3 + noise * (rough - 0.5) * 2 + 0.3).clamp(0, 1)
