"""Runs a bundle: an exported model on a device that has NumPy, Pillow and ONNX Runtime, but not
PyTorch.

This one file is copied into every bundle as ``run.py``. It imports nothing of limbeck, reads no
pickle, and runs no code that comes with a model::

    python BUNDLE/run.py verify
    python BUNDLE/run.py predict photo.png folder --top 3

Exit codes: 0 done, 2 wrong arguments, 3 some images could not be read, 6 no ONNX Runtime or no
memory, 7 the bundle is damaged or not what it says, 8 it answers otherwise here than where it was
made.
"""

import os
import sys

if __name__ == "__main__":  # nothing that lies beside this file is imported: a bundle is data
    _own = os.path.dirname(os.path.realpath(__file__))
    sys.path = [place for place in sys.path if os.path.realpath(place or ".") != _own]

import argparse
import contextlib
import csv
import hashlib
import io
import json
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMAT = 1
SUMS, FACTS, LABELS, PREPROCESS, GOLDEN = (
    "SHA256SUMS",
    "bundle.json",
    "labels.json",
    "preprocess.json",
    "golden.npz",
)
CARD = "model_card.md"
"""For people to fill in, so no sum holds it."""
KINDS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
LARGEST_MODEL, LARGEST_GOLDEN, LARGEST_TEXT = 2 << 30, 256 << 20, 4 << 20
"""Bytes of a model, of unpacked golden arrays and of every other file."""
BATCH = 64
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm")

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
"""Those that Pillow reads by itself; some others start programs."""
MOST_PIXELS = 128 * 1024 * 1024
_BLACK, _SHARE = 8, 0.02
"""A row or column belongs to the border unless a share of its pixels is brighter than that."""


class RuntimeFailure(Exception):
    """What a user can mend, with the exit code of the command line."""

    exit_code = 2


class PictureError(RuntimeFailure):
    """An image file is missing, damaged, too large or no image."""

    exit_code = 3


class MissingLibraryError(RuntimeFailure):
    """A library or memory is missing."""

    exit_code = 6


class BundleError(RuntimeFailure):
    """A bundle is damaged, incomplete or of a kind that should not be trusted."""

    exit_code = 7


class DifferentAnswersError(RuntimeFailure):
    """A bundle gives other answers on this device than where it was made."""

    exit_code = 8


# Images -------------------------------------------------------------------------------------------


def decode(
    file: Path | BinaryIO,
    *,
    size: tuple[int, int],
    channels: int,
    crop_border: bool = False,
    invert: bool = False,
    name: str | None = None,
) -> np.ndarray:
    """One image file, upright, as the models see it.

    Transparent parts become black. 16 bits become 8 by the range of the type, so that images stay
    comparable.

    Args:
        file: PNG, JPEG, TIFF, BMP, WebP, GIF or PPM; of several pictures the first.
        size: height and width in pixels that the largest part of that shape about the middle is
            resized to.
        channels: 1 for grey, 3 for RGB.
        crop_border: cut a black border off first.
        invert: turn dark on light into light on dark.
        name: for messages; by default the path.

    Returns:
        uint8 ``[channels, height, width]``.

    Raises:
        PictureError: it is missing, damaged, too large or no image.
    """
    settings: dict[str, Any] = {
        "size": size,
        "channels": channels,
        "crop_border": crop_border,
        "invert": invert,
    }
    return _decoded(file, str(file) if name is None else name, **settings)[0]


def decode_with_digest(
    file: Path, *, size: tuple[int, int], channels: int, crop_border: bool = False
) -> tuple[np.ndarray, str]:
    """The same, and a digest that tells pictures apart: SHA-256, in hexadecimal.

    The digest is of the upright picture in RGB as it was in the file: no setting changes it.
    """
    pixels, whole = _decoded(
        file, str(file), size=size, channels=channels, crop_border=crop_border, invert=False
    )
    return pixels, hashlib.sha256(
        repr(whole.size).encode() + whole.convert("RGB").tobytes()
    ).hexdigest()


def _decoded(
    file: Path | BinaryIO,
    name: str,
    *,
    size: tuple[int, int],
    channels: int,
    crop_border: bool,
    invert: bool,
) -> tuple[np.ndarray, Image.Image]:
    """The pixels that a model sees, and the whole picture."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PictureError(
                    f"{name} ({image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are "
                    "read)"
                )
            whole = _eight_bits(ImageOps.exif_transpose(image), name)
        plain = whole.convert("RGB" if channels == 3 else "L")
        if invert:
            plain = ImageOps.invert(plain)
        small = _resized(_without_border(plain) if crop_border else plain, size)
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{name} (missing)") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} (no image of a known kind: {', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{name} (more than {MOST_PIXELS:,} pixels)") from None
    except Exception as error:  # a decoder that stumbles over damage raises anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PictureError(f"{name} ({' '.join(reason.split())})") from None
    pixels = np.asarray(small, np.uint8)
    return pixels[None].copy() if channels == 1 else np.ascontiguousarray(
        pixels.transpose(2, 0, 1)
    ), whole


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """An image whose every channel is of 8 bits, on black where it is transparent."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise PictureError(
                f"{name} (values from {values.min()} to {values.max()}; 8 or 16 bits were expected)"
            )
        return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))
    if image.mode == "F":
        raise PictureError(f"{name} (floating-point values; 8 or 16 bits were expected)")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "black"), coloured).convert(
            "RGB"
        )
    return image


def _without_border(image: Image.Image) -> Image.Image:
    """The image without rows and columns at its edges that are black; whole if all is."""
    bright = np.asarray(image.convert("L")) > _BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis) > _SHARE) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return image
    return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest part about the middle that has the shape of ``size`` (height, width), with so
    many pixels.
    """
    height, width = size
    scale = min(image.width / width, image.height / height)
    wide, high = scale * width, scale * height
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    box = (left, top, left + wide, top + high)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


# Bundles ------------------------------------------------------------------------------------------


class Bundle:
    """An exported model with all it needs: a folder, or a zip file of it, that is read without
    being unpacked.

    Every file is checked against ``SHA256SUMS`` before it is used.

    Args:
        place: the folder or the zip file.

    Attributes:
        name: of the model.
        labels: the names of the classes, in the order of the logits.
        preprocess: how inputs are made: the content of ``preprocess.json``.
        temperature: what logits are divided by for calibrated confidences.
        tolerances: by kind (``fp32``, ``int8``), how far golden logits may differ on another
            device.

    Raises:
        BundleError: it is no bundle, or damaged.
    """

    def __init__(self, place: str | Path):
        self.place = Path(place)
        self._read = _reader(self.place)
        self._sums = self._read_sums()
        facts = self._json(FACTS)
        if facts.get("format") != FORMAT:
            raise BundleError(
                f"{self.place}: {FACTS} is of format {facts.get('format')!r}; {FORMAT} was "
                "expected."
            )
        self.name = str(facts.get("name"))
        self.temperature = self._number(facts, "temperature", FACTS)
        self.tolerances = {
            kind: self._number(facts.get("tolerances", {}), kind, FACTS) for kind in self.kinds
        }
        labels = self._json(LABELS).get("labels")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise BundleError(f"{self.place}: {LABELS} should list the names of the classes.")
        self.labels: list[str] = labels
        self.preprocess = self._check_preprocess(self._json(PREPROCESS))

    @property
    def kinds(self) -> list[str]:
        """The models that are there: ``fp32`` and perhaps ``int8``."""
        return [kind for kind, file in KINDS.items() if file in self._sums]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return tuple(self.preprocess["shape"])

    def read(self, name: str) -> bytes:
        """A file of the bundle, checked against its sum.

        Raises:
            BundleError: it is missing or was changed.
        """
        if name not in self._sums:
            raise BundleError(f"{self.place}: {SUMS} does not name {name}.")
        content = self._read(name)
        if hashlib.sha256(content).hexdigest() != self._sums[name]:
            raise BundleError(
                f"{self.place}: {name} is damaged or was changed: its SHA-256 is not that in "
                f"{SUMS}."
            )
        return content

    def files(self) -> list[str]:
        """The names of all files that ``SHA256SUMS`` names."""
        return list(self._sums)

    def strangers(self) -> list[str]:
        """What lies in the folder and is not of the bundle."""
        if not self.place.is_dir():
            return []
        return sorted(
            path.name for path in self.place.iterdir() if path.name not in (*self._sums, SUMS, CARD)
        )

    def golden(self) -> dict[str, np.ndarray]:
        """Inputs (``inputs``) and the logits that each model gave for them where it was made
        (``fp32``, ``int8``).
        """
        content = io.BytesIO(self.read(GOLDEN))
        try:
            with zipfile.ZipFile(content) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > LARGEST_GOLDEN:
                    raise ValueError(f"it holds more than {LARGEST_GOLDEN >> 20} MiB")
            with np.load(content, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except Exception as error:  # what damage makes of a compressed file can be anything
            raise BundleError(
                f"{self.place}: {GOLDEN} is damaged ({_first_line(error)})."
            ) from None
        inputs = found.get("inputs")
        right = inputs is not None and len(inputs) and inputs.shape[1:] == self.shape
        if not right or any(
            kind not in found or found[kind].dtype.kind != "f" for kind in self.kinds
        ):
            raise BundleError(
                f"{self.place}: {GOLDEN} does not hold inputs and answers of "
                f"{', '.join(self.kinds)}."
            )
        return found

    def load(self, kind: str | None = None) -> "Model":
        """A model of the bundle.

        Args:
            kind: ``fp32`` or ``int8``; None for 8 bits where there is such a model.

        Raises:
            BundleError: it is not there, or reads files from elsewhere.
            MissingLibraryError: ONNX Runtime is not installed.
        """
        kind = kind or self.kinds[-1]
        if kind not in self.kinds:
            raise BundleError(
                f"{self.place}: it holds no {kind} model, but {', '.join(self.kinds)}."
            )
        content = self.read(KINDS[kind])
        return Model(content, f"{self.place}: {KINDS[kind]}", self.labels, self.temperature)

    def array(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """The input in a file: an image, or an array in NumPy's format where inputs are no images.

        Raises:
            PictureError: it cannot be read, or has another shape.
        """
        if self.preprocess["kind"] == "image":
            channels, height, width = self.shape
            crop_border = self.preprocess["crop_border"]
            return decode(
                path,
                size=(height, width),
                channels=channels,
                crop_border=crop_border,
                invert=invert,
            )
        try:
            found = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise PictureError(f"{path} (missing)") from None
        except Exception as error:  # damage can make anything of it
            raise PictureError(
                f"{path} (no array in NumPy's format: {_first_line(error)})"
            ) from None
        if not isinstance(found, np.ndarray) or found.shape != self.shape:
            raise PictureError(
                f"{path} (an array of shape {getattr(found, 'shape', '?')}; {self.shape} was "
                "expected)"
            )
        return _as_type(found, self.preprocess["dtype"], path)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{self.place}: {name} is damaged ({error}).") from None
        if not isinstance(content, dict):
            raise BundleError(f"{self.place}: {name} should hold an object.")
        return content

    def _number(self, content: Any, key: str, name: str) -> float:
        value = content.get(key) if isinstance(content, dict) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
            raise BundleError(
                f"{self.place}: {name}: {key} should be a number above 0, found {value!r}."
            )
        return float(value)

    def _read_sums(self) -> dict[str, str]:
        sums = {}
        for line in self._read(SUMS).decode("utf-8", "replace").splitlines():
            digest, _, name = line.partition("  ")
            if len(digest) != 64 or name != os.path.basename(name) or name in ("", ".", "..", SUMS):
                raise BundleError(f"{self.place}: {SUMS} is damaged at {line[:80]!r}.")
            sums[name] = digest
        lacking = [
            name for name in (FACTS, LABELS, PREPROCESS, GOLDEN, KINDS["fp32"]) if name not in sums
        ]
        if lacking:
            raise BundleError(f"{self.place}: {SUMS} does not name {', '.join(lacking)}.")
        return sums

    def _check_preprocess(self, found: dict[str, Any]) -> dict[str, Any]:
        shape: Any = found.get("shape")
        right = isinstance(shape, list) and all(
            type(side) is int and 1 <= side <= 1 << 16 for side in shape
        )
        if found.get("kind") == "image":
            right = (
                right
                and len(shape) == 3
                and shape[0] in (1, 3)
                and isinstance(found.get("crop_border"), bool)
            )
        elif found.get("kind") != "array" or found.get("dtype") not in ("uint8", "float32"):
            right = False
        if not right:
            raise BundleError(
                f"{self.place}: {PREPROCESS} does not say how inputs are made: {found!r}."
            )
        return found


class Model:
    """An ONNX model as ONNX Runtime runs it on the processor.

    Args:
        content: the file's bytes.
        name: for messages.
        labels: the names of the classes.
        temperature: what logits are divided by for calibrated confidences.
        threads: of the processor; None for all.

    Raises:
        BundleError: it is no ONNX model, or one that reads other files.
        MissingLibraryError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        content: bytes,
        name: str,
        labels: Sequence[str],
        temperature: float = 1.0,
        threads: int | None = None,
    ):
        outside = external_files(content, name)
        if outside:
            raise BundleError(
                f"{name} would read other files ({', '.join(outside[:3])}); a bundle's model may "
                "not."
            )
        try:
            import onnxruntime
        except ImportError:
            raise MissingLibraryError(
                "ONNX Runtime is not installed: pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(f"{name} cannot be loaded ({_first_line(error)}).") from None
        self._input, self.name = self._session.get_inputs()[0].name, name
        self.labels, self.temperature = labels, temperature

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Scores float32 ``[N, classes]`` of inputs ``[N, ...]``.

        Raises:
            BundleError: the model does not take such inputs, or gives no score for each class.
        """
        try:
            (found,) = self._session.run(None, {self._input: inputs})
        except Exception as error:
            raise BundleError(f"{self.name} cannot be run ({_first_line(error)}).") from None
        if getattr(found, "shape", None) != (len(inputs), len(self.labels)):
            raise BundleError(
                f"{self.name} gives {getattr(found, 'shape', None)} for {len(inputs)} inputs and "
                f"{len(self.labels)} classes."
            )
        return found

    def confidences(self, inputs: np.ndarray) -> np.ndarray:
        """The softmax of the logits divided by the temperature, float64 ``[N, classes]``."""
        scaled = self.logits(inputs).astype(np.float64) / self.temperature
        scaled -= scaled.max(1, keepdims=True)
        odds = np.exp(scaled)
        return odds / odds.sum(1, keepdims=True)


def _as_type(array: np.ndarray, dtype: str, path: Path) -> np.ndarray:
    """The numbers of an array as a model takes them, if it can hold them."""
    whole = array.dtype.kind in "iub"
    if dtype == "uint8" and not (whole and array.min() >= 0 and array.max() <= 255):
        raise PictureError(
            f"{path} (numbers of type {array.dtype}; whole ones from 0 to 255 were expected)"
        )
    if not whole and (array.dtype.kind != "f" or not np.isfinite(array).all()):
        raise PictureError(f"{path} (of type {array.dtype}; finite numbers were expected)")
    return array.astype(dtype)


def _reader(place: Path) -> Callable[[str], bytes]:
    """What reads a file of a bundle by its name."""
    try:
        if place.is_dir():
            return lambda name: _read_file(place, name)
        there, packed = place.exists(), zipfile.is_zipfile(place)
    except OSError as error:
        raise BundleError(f"{place} cannot be read ({error.strerror}).") from None
    if not there:
        raise BundleError(
            f"{place} does not exist; name a bundle: the folder or zip file of 'limbeck export'."
        )
    if not packed:
        raise BundleError(f"{place} is no bundle: a folder or a zip file was expected.")
    return lambda name: _read_zipped(place, name)


def _read_file(folder: Path, name: str) -> bytes:
    file = folder / name
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{folder}: {name} is no file.")
        _check_size(folder, name, status.st_size)
        return file.read_bytes()
    except FileNotFoundError:
        whole = "it is no bundle of 'limbeck export'" if name == SUMS else "the bundle is not whole"
        raise BundleError(f"{folder}: {name} is missing; {whole}.") from None
    except OSError as error:
        raise BundleError(f"{folder}: {name} cannot be read ({error.strerror}).") from None


def _check_size(place: Path, name: str, size: int) -> None:
    most = LARGEST_MODEL if name.endswith((".onnx", ".npz")) else LARGEST_TEXT
    if size > most:
        raise BundleError(f"{place}: {name} is larger than {most >> 20} MiB.")


def _read_zipped(place: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(place) as archive:
            found = [
                entry for entry in archive.infolist() if os.path.basename(entry.filename) == name
            ]
            if len(found) != 1:
                raise BundleError(f"{place}: {name} is {'there twice' if found else 'missing'}.")
            _check_size(place, name, found[0].file_size)
            return archive.read(found[0])
    except BundleError:
        raise
    except Exception as error:  # what damage makes of a compressed file can be anything
        raise BundleError(f"{place}: {name} cannot be read ({_first_line(error)}).") from None


def _first_line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).splitlines()[0].split())[:300]


# What a model file holds --------------------------------------------------------------------------

_TENSOR = "tensor"
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
}
"""The fields of ONNX's messages, by number, in which there may be tensors (onnx.proto)."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MOST_NESTED = 32


def external_files(model: bytes, name: str = "the model") -> list[str]:
    """The keys and values of all tensors in an ONNX model that say that their data lies in another
    file.

    Args:
        model: the bytes of the file.
        name: for messages.

    Raises:
        BundleError: it is no ONNX model.
    """
    try:
        return list(_external(memoryview(model), "model", 0))
    except (IndexError, ValueError) as error:
        raise BundleError(f"{name} is no ONNX model ({error}).") from None


def _external(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _MOST_NESTED:
        raise ValueError("it is nested too deep")
    for number, value in _fields(message):
        if kind == _TENSOR:
            if number == _EXTERNAL_DATA and isinstance(value, memoryview):
                yield bytes(value)[:80].decode("utf-8", "replace").strip()
            elif number == _DATA_LOCATION and value == 1:
                yield "external data"
        elif number in _PARTS[kind] and isinstance(value, memoryview):
            yield from _external(value, _PARTS[kind][number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message in the wire format of Protocol Buffers."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if not 8 <= key < 1 << 32:  # other readers cut longer ones off, and see another field
            raise ValueError("a field number out of range")
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(message, at)
            if length > len(message) - at:
                raise ValueError("a part is longer than the whole")
            yield number, message[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
    if at != len(message):
        raise ValueError("it ends within a number")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without end")


# Verbs --------------------------------------------------------------------------------------------


def verify(place: str | Path) -> list[str]:
    """Check every file of a bundle against its sum, and replay the golden inputs on this device.

    Returns:
        What was checked, a line each.

    Raises:
        BundleError: a file is missing or was changed.
        DifferentAnswersError: a model answers otherwise here than where it was made.
    """
    bundle = Bundle(place)
    for name in bundle.files():
        bundle.read(name)
    strange = bundle.strangers()
    if strange:
        raise BundleError(
            f"{bundle.place}: {', '.join(strange[:5])}: not of this bundle ({SUMS} does not name "
            "it)."
        )
    lines = [f"{len(bundle.files())} files are as they were made (SHA-256)"]
    golden = bundle.golden()
    for kind in bundle.kinds:
        found, wanted, tolerance = (
            bundle.load(kind).logits(golden["inputs"]),
            golden[kind],
            bundle.tolerances[kind],
        )
        if found.shape != wanted.shape:
            raise BundleError(
                f"{bundle.place}: {GOLDEN} has answers of shape {wanted.shape} for {KINDS[kind]}."
            )
        difference = float(np.abs(found - wanted).max())
        told = (
            f"{KINDS[kind]}: {len(wanted)} golden inputs, logits differ by at most {difference:.2g}"
        )
        if not difference <= tolerance:
            raise DifferentAnswersError(
                f"{bundle.place}: {told}; {tolerance:.2g} is allowed. Do not use it here."
            )
        lines.append(f"{told} ({tolerance:.2g} is allowed)")
    return lines


def predict(
    place: str | Path,
    paths: Sequence[str | Path],
    *,
    model: str | None = None,
    top: int = 1,
    form: str = "csv",
    abstain: float = 0.0,
    invert: bool = False,
    out: TextIO | None = None,
) -> int:
    """Answer for each image and write a table.

    Args:
        place: of the bundle.
        paths: image files, and folders of them (with those below).
        model: ``fp32`` or ``int8``; None for 8 bits where there is such a model.
        top: how many classes to name for each image.
        form: ``csv``, or ``jsonl`` for a JSON object a line.
        abstain: give no answer where the confidence is below this.
        invert: turn dark on light into light on dark.
        out: where to write; None for standard output.

    Returns:
        How many files could not be read; the column ``error`` says why.

    Raises:
        RuntimeFailure: there is no image, or an argument is out of range.
        BundleError: the bundle is damaged.
    """
    bundle = Bundle(place)
    if not 1 <= top <= len(bundle.labels):
        raise RuntimeFailure(
            f"--top {top} should be from 1 to {len(bundle.labels)}, the number of classes."
        )
    if not 0 <= abstain <= 1:
        raise RuntimeFailure(f"--abstain {abstain} should be a confidence from 0 to 1.")
    files = _files(paths, "image" if bundle.preprocess["kind"] == "image" else "array")
    loaded = bundle.load(model)
    write, failed = _writer(form, top, sys.stdout if out is None else out), 0
    tell = sys.stderr.isatty() and len(files) > BATCH
    for first in range(0, len(files), BATCH):
        part = files[first : first + BATCH]
        arrays: list[np.ndarray] = []
        reasons: dict[Path, str] = {}
        for file in part:
            try:
                arrays.append(bundle.array(file, invert=invert))
            except PictureError as error:
                reasons[file] = str(error)
        answers = iter(loaded.confidences(np.stack(arrays)) if arrays else ())
        for file in part:
            if file in reasons:
                write(str(file), None, reasons[file])
                continue
            confidence = next(answers)
            order = np.argsort(-confidence, kind="stable")[:top]
            sure = confidence[order[0]] >= abstain
            write(
                str(file),
                [(bundle.labels[k] if sure else "", float(confidence[k])) for k in order],
                "",
            )
        failed += len(reasons)
        if tell:
            print(f"\r{min(first + BATCH, len(files))} of {len(files)}", end="", file=sys.stderr)
    if tell:
        print(file=sys.stderr)
    return failed


def _files(paths: Sequence[str | Path], kind: str) -> list[Path]:
    """The files that are meant: those named, and the images (or arrays) in folders."""
    endings = PICTURES if kind == "image" else (".npy",)
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                p
                for p in path.rglob("*")
                if p.suffix.lower() in endings and not p.name.startswith(".")
            )
            if not inside:
                raise RuntimeFailure(
                    f"{path}: there is no {kind} in this folder ({', '.join(endings)})."
                )
            files += inside
        else:
            files.append(path)
    if not files:
        raise RuntimeFailure(f"Name at least one {kind}, or a folder of them.")
    return files


Write = Callable[[str, Sequence[tuple[str, float]] | None, str], None]


def _writer(form: str, top: int, out: TextIO) -> Write:
    """A function that writes one row."""
    if form == "jsonl":

        def write_json(file: str, answers: Sequence[tuple[str, float]] | None, error: str) -> None:
            row: dict[str, Any] = {"file": file}
            if answers is None:
                row |= {"label": None, "confidence": None, "error": error}
            else:
                row |= {"label": answers[0][0] or None, "confidence": answers[0][1]}
                if top > 1:
                    row["top"] = [
                        {"label": label or None, "confidence": share} for label, share in answers
                    ]
            print(json.dumps(row, ensure_ascii=False), file=out)

        return write_json
    if form != "csv":
        raise RuntimeFailure(f"--format {form} is unknown; choose csv or jsonl.")
    table = csv.writer(out, lineterminator="\n")
    names = [
        f"{name}{'' if k == 1 else f'_{k}'}"
        for k in range(1, top + 1)
        for name in ("label", "confidence")
    ]
    table.writerow(["file", *names, "error"])

    def write_csv(file: str, answers: Sequence[tuple[str, float]] | None, error: str) -> None:
        cells = [cell for label, share in answers or () for cell in (label, f"{share:.6f}")]
        table.writerow([file, *(cells or [""] * (2 * top)), error])

    return write_csv


@contextlib.contextmanager
def _table(file: Path | None, inputs: Sequence[str | Path]) -> Iterator[TextIO]:
    """Where a table is written: standard output, or a file that is there once it is whole."""
    if file is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    if any(Path(path).exists() and file.exists() and file.samefile(path) for path in inputs):
        raise RuntimeFailure(f"--out {file} is one of the files to classify; name another.")
    if not file.parent.is_dir():
        raise RuntimeFailure(f"--out {file}: the folder {file.parent} does not exist.")
    if file.exists() and not file.is_file():  # a device or a pipe, which nothing can be moved onto
        with file.open("w", encoding="utf-8", newline="", errors="backslashreplace") as out:
            yield out
        return
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8", newline="", errors="backslashreplace") as out:
            yield out
        os.replace(aside, file)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def execute(verb: str, place: Path, arguments: argparse.Namespace) -> int:
    """Do what a command line says; returns the exit code.

    Raises:
        RuntimeFailure: something that the user can mend.
    """
    try:
        if verb == "verify":
            print("\n".join(verify(place)), flush=True)
            return 0
        with _table(arguments.out, arguments.paths) as out:
            failed = predict(
                place,
                arguments.paths,
                model=arguments.model,
                top=arguments.top,
                form=arguments.format,
                abstain=arguments.abstain,
                invert=arguments.invert,
                out=out,
            )
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RuntimeFailure(f"{error.filename or 'the table'}: {error.strerror}.") from None
    if failed:
        raise PictureError(f"{failed} of the files could not be read; the column error says why.")
    return 0


def parser(program: str, *, inside: bool) -> argparse.ArgumentParser:
    """The parser of the command line.

    Args:
        program: its name.
        inside: the program lies in a bundle, which then needs no naming.
    """
    top = argparse.ArgumentParser(program, description="Check or use an exported model.")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in (
        ("verify", "check a bundle's files, and its answers on this device"),
        ("predict", "classify images with a bundle"),
    ):
        added = verbs.add_parser(verb, help=text, description=text)
        if not inside:
            added.add_argument(
                "bundle",
                type=Path,
                metavar="BUNDLE",
                help="the folder or zip file of 'limbeck export'",
            )
        if verb == "verify":
            continue
        added.add_argument(
            "paths", nargs="+", metavar="IMAGE", help="image files, and folders of them"
        )
        added.add_argument("--model", choices=list(KINDS), help="by default int8 where it is there")
        added.add_argument(
            "--top", type=int, default=1, metavar="K", help="name the K most likely classes"
        )
        added.add_argument("--format", choices=["csv", "jsonl"], default="csv", help="of the table")
        added.add_argument(
            "--abstain",
            type=float,
            default=0.0,
            metavar="P",
            help="no answer below this confidence",
        )
        added.add_argument(
            "--invert", action="store_true", help="turn dark on light into light on dark"
        )
        added.add_argument(
            "--out", type=Path, metavar="FILE", help="write the table here instead of printing it"
        )
    return top


def main(argv: Sequence[str] | None = None, *, program: str = "run.py", inside: bool = True) -> int:
    """``python BUNDLE/run.py verify | predict IMAGE...``, and ``limbeck verify | predict BUNDLE
    IMAGE...``
    """
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # names of files and classes may hold what a terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.simplefilter(
        "ignore", Image.DecompressionBombWarning
    )  # decode refuses what is too large itself
    arguments = parser(program, inside=inside).parse_args(argv)
    place = Path(__file__).resolve().parent if inside else arguments.bundle
    try:
        return execute(arguments.verb, place, arguments)
    except RuntimeFailure as error:
        message, code = str(error), error.exit_code
    except MemoryError:
        message, code = "memory ran out.", MissingLibraryError.exit_code
    except KeyboardInterrupt:
        message, code = "interrupted.", 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
