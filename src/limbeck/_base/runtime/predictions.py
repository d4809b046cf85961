"""Tables of predictions: of classes, values or several labels, as CSV or JSON lines."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from .errors import RuntimeFailure
from .printable import csv_cell, json_line
from .samples import Sample


class PredictionTable(ABC):
    """A table of predictions: CSV, or one JSON object per line.

    Args:
        table_format: ``csv`` or ``jsonl``.
        out: Stream to write to.
        place: Columns that say where a sample is: ``file``, ``line``, ``id``.

    Attributes:
        errors: Number of inputs that cannot be read.
    """

    def __init__(self, table_format: str, out: TextIO, *, place: Sequence[str]):
        if table_format not in ("csv", "jsonl"):
            choices = "csv or jsonl; npy is for values and embeddings"
            raise RuntimeFailure(f"--format {table_format} cannot be used; choose {choices}.")
        self.errors = 0
        self._out = out
        self._names = place
        self._csv = csv.writer(out, lineterminator="\n") if table_format == "csv" else None
        if self._csv is not None:
            self._csv.writerow([*self._names, *self._columns(), "error"])

    @abstractmethod
    def _columns(self) -> list[str]:
        """Return the names of the columns of an answer."""

    @abstractmethod
    def _cells(self, answer: np.ndarray) -> list[str]:
        """Return the cells of an answer in a CSV file."""

    @abstractmethod
    def _values(self, answer: np.ndarray) -> dict[str, Any]:
        """Return the keys and values of an answer in a JSON object."""

    @abstractmethod
    def _no_values(self) -> dict[str, Any]:
        """Return the keys of an answer where there is none."""

    def write(self, sample: Sample, answer: np.ndarray) -> None:
        """Write the answer to an input."""
        place = self._place(sample)
        if self._csv is not None:
            self._csv.writerow([*place.values(), *self._cells(answer), ""])
        else:
            print(json_line({**place, **self._values(answer)}), file=self._out)

    def write_error(self, sample: Sample) -> None:
        """Write the reason why an input cannot be read."""
        self.errors += 1
        place, error = self._place(sample), sample.error
        if self._csv is not None:
            self._csv.writerow([*place.values(), *[""] * len(self._columns()), csv_cell(error)])
            return
        print(json_line({**place, **self._no_values(), "error": error}), file=self._out)

    def finish(self) -> None:
        """Write what is left at the end; nothing for tables that are written row by row."""
        self._out.flush()

    def _place(self, sample: Sample) -> dict[str, Any]:
        place = {"file": str(sample.file), "line": sample.line, "id": sample.id or None}
        if self._csv is not None:
            place |= {"file": csv_cell(str(sample.file)), "id": csv_cell(sample.id)}
        return {name: place[name] for name in self._names}


class ClassTable(PredictionTable):
    """A table of the most probable classes, from the probabilities of all.

    Args:
        labels: Names of the classes.
        table_format: ``csv`` or ``jsonl``.
        out: Stream to write to.
        place: Columns that say where a sample is: ``file``, ``line``, ``id``.
        top: Number of classes to list.
        least_confidence: Confidence of the first class below which no class is named.
    """

    def __init__(
        self,
        labels: Sequence[str],
        table_format: str,
        out: TextIO,
        *,
        place: Sequence[str],
        top: int,
        least_confidence: float,
    ):
        self._labels, self._top, self._least_confidence = labels, top, least_confidence
        super().__init__(table_format, out, place=place)

    def _columns(self) -> list[str]:
        suffixes = ["", *(f"_{k}" for k in range(2, self._top + 1))]
        return [f"{name}{suffix}" for suffix in suffixes for name in ("label", "confidence")]

    def _pairs(self, answer: np.ndarray) -> list[tuple[str, float]]:
        """Return names and confidences; an empty name means no class."""
        order = np.argsort(-answer, kind="stable")[: self._top]
        is_sure = answer[order[0]] >= self._least_confidence
        return [(self._labels[k] if is_sure else "", float(answer[k])) for k in order]

    def _cells(self, answer: np.ndarray) -> list[str]:
        cells = []
        for name, value in self._pairs(answer):
            cells += [csv_cell(name), f"{value:.6f}"]
        return cells

    def _values(self, answer: np.ndarray) -> dict[str, Any]:
        pairs = self._pairs(answer)
        classes = [{"label": name or None, "confidence": value} for name, value in pairs]
        return {**classes[0], "top": classes} if self._top > 1 else classes[0]

    def _no_values(self) -> dict[str, Any]:
        return {"label": None, "confidence": None}


class ValueTable(PredictionTable):
    """A table of predicted values: a column for each target.

    Args:
        targets: Names of the targets.
        table_format: ``csv`` or ``jsonl``.
        out: Stream to write to.
        place: Columns that say where a sample is: ``file``, ``line``, ``id``.
    """

    def __init__(
        self, targets: Sequence[str], table_format: str, out: TextIO, *, place: Sequence[str]
    ):
        self._targets = targets
        super().__init__(table_format, out, place=place)

    def _columns(self) -> list[str]:
        return [csv_cell(name) for name in self._targets]

    def _cells(self, answer: np.ndarray) -> list[str]:
        return [f"{value:.7g}" for value in answer]

    def _values(self, answer: np.ndarray) -> dict[str, Any]:
        return {"values": dict(zip(self._targets, map(float, answer), strict=True))}

    def _no_values(self) -> dict[str, Any]:
        return {"values": None}


class ArrayTable(ValueTable):
    """Predicted values of all inputs as one array of NumPy, float32 ``[N, D]``, without names.

    An input that cannot be read has a row of NaN.

    Args:
        targets: Names of the targets.
        out: Stream to write to, whose bytes are written.
    """

    def __init__(self, targets: Sequence[str], out: TextIO):
        if not hasattr(out, "buffer"):
            raise RuntimeFailure(
                "--format npy writes bytes. Write them to a file, with --out FILE."
            )
        self.errors = 0
        self._targets, self._out = targets, out
        self._rows: list[np.ndarray] = []

    def write(self, sample: Sample, answer: np.ndarray) -> None:
        """Keep the answer to an input."""
        self._rows.append(answer.astype(np.float32))

    def write_error(self, sample: Sample) -> None:
        """Keep a row without values."""
        self.errors += 1
        self._rows.append(np.full(len(self._targets), np.nan, np.float32))

    def finish(self) -> None:
        """Write the array."""
        content = io.BytesIO()  # NumPy cannot write to a pipe itself
        rows = self._rows or [np.empty((0, len(self._targets)), np.float32)]
        np.save(content, np.vstack(rows), allow_pickle=False)
        self._out.flush()
        self._out.buffer.write(content.getvalue())
        self._out.buffer.flush()


class LabelTable(PredictionTable):
    """A table of several labels: those that apply, and the probability of each, from logits.

    Args:
        labels: Names of the labels.
        thresholds: Probability from which each label applies.
        table_format: ``csv`` or ``jsonl``.
        out: Stream to write to.
        place: Columns that say where a sample is: ``file``, ``line``, ``id``.
    """

    def __init__(
        self,
        labels: Sequence[str],
        thresholds: Sequence[float],
        table_format: str,
        out: TextIO,
        *,
        place: Sequence[str],
    ):
        self._labels, self._thresholds = labels, thresholds
        super().__init__(table_format, out, place=place)

    def _columns(self) -> list[str]:
        return ["labels", *map(csv_cell, self._labels)]

    def _probabilities(self, answer: np.ndarray) -> list[float]:
        logits = answer.astype(np.float64).clip(-700, 700)
        return [float(value) for value in 1 / (1 + np.exp(-logits))]

    def _cells(self, answer: np.ndarray) -> list[str]:
        p = self._probabilities(answer)
        return [csv_cell("; ".join(self._labels_that_apply(p))), *(f"{value:.6f}" for value in p)]

    def _labels_that_apply(self, probabilities: Sequence[float]) -> list[str]:
        rows = zip(self._labels, probabilities, self._thresholds, strict=True)
        return [name for name, value, threshold in rows if value >= threshold]

    def _values(self, answer: np.ndarray) -> dict[str, Any]:
        p = self._probabilities(answer)
        by_name = dict(zip(self._labels, p, strict=True))
        return {"labels": self._labels_that_apply(p), "confidences": by_name}

    def _no_values(self) -> dict[str, Any]:
        return {"labels": None, "confidences": None}
