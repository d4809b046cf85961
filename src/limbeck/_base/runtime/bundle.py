"""Bundles: an exported model with everything needed to run it."""

import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bundle_files import CheckedFiles
from .errors import one_line
from .file_names import FORMAT, GOLDEN, KINDS, LABELS, METADATA, PREPROCESS, TOKENIZER
from .files import check_archive
from .input_files import read_input
from .model import Model
from .samples import Sample
from .settings import is_preprocess, is_thresholds
from .table_rows import TableFile, open_table, read_rows
from .texts import pad_texts, read_texts
from .tokenizer import Encode, byte_encoder, library_encoder

MAX_GOLDEN_BYTES = 256 << 20
"""Largest size of the unpacked golden arrays."""
BATCH_SIZE, MAX_VALUES = 64, 1 << 26
"""Largest number of inputs in a batch, and of values in an input or a batch of inputs."""


class Bundle(CheckedFiles):
    """An exported model with everything needed to run it.

    Each file is checked against ``SHA256SUMS`` before it is used.

    Args:
        path: Folder of the bundle, or its zip file, which is read without unpacking.

    Attributes:
        name: Name of the model.
        labels: Names of the classes in the order of the logits; for a regression of its targets.
        scale: Unit of each target of a regression in which differences are measured; None for
            others.
        label_thresholds: Probability from which each of several labels is predicted; None for
            others.
        sums: Content of ``SHA256SUMS``.
        preprocess: Settings for preparing inputs, from ``preprocess.json``.
        temperature: Divisor of the logits for calibrated confidences.
        default_kind: Kind of the model that is used unless another is named.
        thresholds: Smallest confidence for each error rate that answers may have, by kind of model.
        tolerances: Largest difference of golden logits that is allowed on another device, by kind
            of model (``fp32``, ``int8``).

    Raises:
        BundleError: If it is not a bundle, or is damaged.
    """

    def __init__(self, path: str | Path):
        super().__init__(path)
        metadata = self.read_json(METADATA)
        if metadata.get("format") != FORMAT:
            raise self.error(f"{METADATA} has format {metadata.get('format')!r}; expected {FORMAT}")
        self.name = str(metadata.get("name"))
        self.temperature = self._positive(metadata, "temperature")
        tolerances = metadata.get("tolerances", {})
        self.tolerances = {kind: self._positive(tolerances, kind) for kind in self.kinds}
        self.default_kind = metadata.get("default", self.kinds[-1])
        if self.default_kind not in self.kinds:
            raise self.error(f"{METADATA}: default={self.default_kind!r} is no model of the bundle")
        self.thresholds = metadata.get("thresholds", {})
        if not is_thresholds(self.thresholds):
            raise self.error(f"{METADATA}: thresholds should map error rates to confidences")
        names = self.read_json(LABELS)
        labels = names.get("targets", names.get("several_labels", names.get("labels")))
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise self.error(f"{LABELS} should list the names of the classes")
        self.labels: list[str] = labels
        self.scale: list[float] | None = None
        if "targets" in names:
            self.scale = self._numbers(metadata, "scale")
        self.label_thresholds: list[float] | None = None
        if "several_labels" in names:
            self.label_thresholds = self._numbers(metadata, "label_thresholds")
        self.preprocess = self.read_json(PREPROCESS)
        if not is_preprocess(self.preprocess):
            raise self.error(f"{PREPROCESS} has no valid settings for preparing inputs")
        if math.prod(self.shape) > MAX_VALUES:
            raise self.error(
                f"{PREPROCESS} has inputs of shape {self.shape}; at most {MAX_VALUES:,} values are "
                "read"
            )

    @property
    def kinds(self) -> list[str]:
        """Kinds of model in the bundle: ``fp32``, and ``int8`` if there is one."""
        return [kind for kind, file in KINDS.items() if file in self.files()]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.preprocess["shape"])

    @property
    def value_range(self) -> Sequence[float] | None:
        """Range of the training images with more than 8 bits; None if there were none."""
        return self.preprocess.get("value_range")

    @property
    def reads_tables(self) -> bool:
        """Whether inputs are the rows of CSV files."""
        return self.preprocess["kind"] in ("table", "text")

    @property
    def reads_texts(self) -> bool:
        """Whether inputs are texts."""
        return self.preprocess["kind"] == "text"

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a table that the model reads."""
        return [column["name"] for column in self.preprocess["columns"]]

    @property
    def id_column(self) -> str | None:
        """Column of a table with the names of the samples; None if the model knows none."""
        return self.preprocess.get("id_column") if self.reads_tables else None

    def load(self, kind: str | None = None, *, threads: int | None = None) -> Model:
        """Load a model of the bundle.

        Args:
            kind: Kind of model, ``fp32`` or ``int8``; None for ``int8`` if there is one.
            threads: Number of threads; None for all cores.

        Raises:
            BundleError: If the model is missing, or reads other files.
            MissingLibraryError: If ONNX Runtime is not installed.
        """
        kind = kind or self.default_kind
        if kind not in self.kinds:
            raise self.error(f"it contains no {kind} model, only {', '.join(self.kinds)}")
        name = f"{self.path}: {KINDS[kind]}"
        return Model(self.read(KINDS[kind]), name, self.labels, self.temperature, threads)

    def golden(self) -> dict[str, np.ndarray]:
        """Return the golden ``inputs``, and the logits of each model for them at export.

        Raises:
            BundleError: If the arrays are damaged or do not fit the bundle.
        """
        content = io.BytesIO(self.read(GOLDEN))
        try:
            with zipfile.ZipFile(content) as archive:
                check_archive(archive, MAX_GOLDEN_BYTES)
            with np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except Exception as error:  # readers may raise anything on a damaged file
            raise self.error(f"{GOLDEN} is damaged ({one_line(error)})") from None
        inputs = arrays.get("inputs")
        if inputs is None or not len(inputs) or inputs.shape[1:] != self.shape:
            raise self.error(f"{GOLDEN} contains no inputs of shape {self.shape}")
        for kind in self.kinds:
            if kind not in arrays or arrays[kind].dtype.kind != "f":
                raise self.error(f"{GOLDEN} contains no logits of {kind}")
        return arrays

    def array(
        self, path: Path, *, invert: bool = False, value_range: Sequence[float] | None = None
    ) -> np.ndarray:
        """Read an input from a file: an image, or an ``.npy`` array if the inputs are not images.

        Args:
            path: File to read.
            invert: Whether to invert the brightness of an image.
            value_range: Range of images with more than 8 bits for bundles that have none.

        Raises:
            InputError: If the file cannot be read, or the input has a different shape.
        """
        return read_input(path, self.preprocess, invert=invert, value_range=value_range)

    def open_table(self, path: Path) -> TableFile:
        """Open a CSV or Parquet file with the columns of the bundle, in any order, among others.

        Raises:
            InputError: If the file cannot be read, or lacks a column.
        """
        return open_table(path, self.columns)

    def rows(self, table: TableFile) -> Iterator[Sample]:
        """Read the rows of a table.

        A row with a value that is no number, or no category that the model knows, has an error.

        Args:
            table: File from :meth:`open_table`.

        Raises:
            InputError: If the file is damaged.
        """
        return read_rows(table, self.preprocess["columns"], self.id_column)

    def text_encoder(self) -> Encode:
        """Return the function from a text, or the texts of a pair, to token ids.

        Raises:
            BundleError: If the tokenizer is damaged.
            MissingLibraryError: If the package ``tokenizers`` is needed and not installed.
        """
        (length,) = self.shape
        if self.preprocess["tokenizer"] == "bytes":
            return byte_encoder(length)
        return library_encoder(self.read(TOKENIZER), f"{self.path}: {TOKENIZER}", length)

    def texts(self, texts: Sequence[str], files: Sequence[Path]) -> Iterator[Sample]:
        """Encode texts, files of one text each (``.txt``) and the rows of CSV files.

        Args:
            texts: Texts of the command line, each a sample.
            files: Files to read.

        Raises:
            InputError: If a table is damaged or lacks a column.
            RuntimeFailure: If the bundle reads pairs, and there is a single text.
        """
        return read_texts(texts, files, self.columns, self.text_encoder(), self.id_column)

    def stack(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Stack inputs to a batch; texts are padded to the longest."""
        if not self.reads_texts:
            return np.stack(arrays)
        return pad_texts(arrays, self.shape[0], self.preprocess["padding"])

    def _numbers(self, metadata: dict[str, Any], key: str) -> list[float]:
        numbers = metadata.get(key)
        if not isinstance(numbers, list) or len(numbers) != len(self.labels) or not numbers:
            raise self.error(f"{METADATA}: {key} should be a number for each output")
        return [self._positive({key: number}, key) for number in numbers]

    def _positive(self, numbers: Any, key: str) -> float:
        value = numbers.get(key) if isinstance(numbers, dict) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
            raise self.error(f"{METADATA}: {key} should be a number above 0, found {value!r}")
        return float(value)
