"""Writing of a teacher's answers, in the forms that are read."""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import ConfigError
from limbeck._base.files import open_atomically
from limbeck.data.tables.parquet import import_pyarrow
from limbeck.teacher.answer_files.columns import LOGITS
from limbeck.teacher.answer_files.location import SUFFIXES
from limbeck.teacher.answer_files.parquet import CLASSES_KEY


class Block(NamedTuple):
    """Answers to some samples of a split.

    Attributes:
        ids: Ids of the samples, int64 or text ``[N]``.
        split: Name of the split.
        outputs: Logits or values, float32 ``[N, C]``.
    """

    ids: NDArray
    split: str
    outputs: NDArray


class Layout(NamedTuple):
    """Parts of an answer to write.

    Attributes:
        class_names: Names of the classes, targets or labels, in the order of the outputs.
        kind: Kind of the outputs: ``logits`` or ``values``.
        top: Number of most probable classes to write, with their probabilities; None for all
            outputs.
    """

    class_names: Sequence[str]
    kind: str = LOGITS
    top: int | None = None

    def most_probable(self, outputs: NDArray) -> tuple[NDArray, NDArray]:
        """Return the names and the probabilities of the most probable classes, ``[N, K]`` each.

        Args:
            outputs: Logits ``[N, C]``.
        """
        logits = outputs.astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(1, keepdims=True)
        order = np.argsort(-logits, axis=1, kind="stable")[:, : self.top]
        values = np.take_along_axis(probabilities, order, 1).astype(np.float32)
        return np.array(self.class_names, dtype=object)[order], values


class AnswersWriter(ABC):
    """Writer of blocks of answers."""

    @abstractmethod
    def add(self, block: Block) -> None:
        """Write a block."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left."""


@contextmanager
def open_writer(
    to: Path, class_names: Sequence[str], kind: str = LOGITS, top: int | None = None
) -> Iterator[AnswersWriter]:
    """Open a writer of a file, which is there, and complete, only after the block.

    Args:
        to: File to write.
        class_names: Names of the classes, targets or labels, in the order of the outputs.
        kind: Kind of the outputs: ``logits`` or ``values``.
        top: Number of most probable classes to write; None for all outputs.

    Raises:
        OSError: If it cannot be written.
        ConfigError: If the form cannot hold the ids.
    """
    writer_of = WRITERS[SUFFIXES[to.suffix.lower()]]
    with open_atomically(to) as file:
        writer = writer_of(file, Layout(class_names, kind, top))
        yield writer
        writer.finish()


def parquet_bytes(block: Block, layout: Layout) -> bytes:
    """Return the content of a Parquet file with a block."""
    stream = io.BytesIO()
    writer = _Parquet(stream, layout)
    writer.add(block)
    writer.finish()
    return stream.getvalue()


class _Csv(AnswersWriter):
    """Lines of id, split and a number for each class, with as many digits as float32 has."""

    def __init__(self, file: IO[bytes], layout: Layout):
        self.file, self.layout = file, layout
        names = [f"{layout.kind[:-1]}_{name}" for name in layout.class_names]
        if layout.top is not None:
            ranks = range(1, layout.top + 1)
            names = [name for rank in ranks for name in (f"class_{rank}", f"prob_{rank}")]
        self._write([["id", "split", *names]])

    def add(self, block: Block) -> None:
        self._write(
            [sample, block.split, *answer]
            for sample, answer in zip(block.ids.tolist(), self._answers(block), strict=True)
        )

    def finish(self) -> None:
        """Do nothing: all lines are written."""

    def _answers(self, block: Block) -> Iterator[list[Any]]:
        """Yield the cells of each answer."""
        if self.layout.top is None:
            for outputs in block.outputs.tolist():
                yield [*map(_digits, outputs)]
            return
        names, values = self.layout.most_probable(block.outputs)
        for classes, probabilities in zip(names.tolist(), values.tolist(), strict=True):
            pairs = zip(classes, map(_digits, probabilities), strict=True)
            yield [cell for pair in pairs for cell in pair]

    def _write(self, rows: Any) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.file.write(text.getvalue().encode("utf-8"))


class _JsonLines(AnswersWriter):
    """Objects with id, split and the outputs by class, or the lists of the most probable ones."""

    def __init__(self, file: IO[bytes], layout: Layout):
        self.file, self.layout = file, layout
        self.names = [_as_json(name) for name in layout.class_names]

    def add(self, block: Block) -> None:
        lines = []
        for sample, answer in zip(block.ids.tolist(), self._answers(block), strict=True):
            start = _as_json({"id": sample, "split": block.split})[:-1]
            lines.append(f"{start}, {answer}}}\n")
        self.file.write("".join(lines).encode("utf-8"))

    def finish(self) -> None:
        """Do nothing: all lines are written."""

    def _answers(self, block: Block) -> Iterator[str]:
        """Yield the keys of each answer and their values."""
        if self.layout.top is None:
            for outputs in block.outputs.tolist():
                pairs = zip(self.names, map(_digits, outputs), strict=True)
                values = ", ".join(f"{name}: {value}" for name, value in pairs)
                yield f'"{self.layout.kind}": {{{values}}}'
            return
        names, numbers = self.layout.most_probable(block.outputs)
        for classes, probabilities in zip(names.tolist(), numbers.tolist(), strict=True):
            digits = ", ".join(map(_digits, probabilities))
            yield f'"classes": {_as_json(classes)}, "probabilities": [{digits}]'


class _Arrays(AnswersWriter):
    """Arrays ``ids``, ``splits``, ``logits`` or ``values``, and ``classes`` in one archive."""

    def __init__(self, file: IO[bytes], layout: Layout):
        self.file, self.layout = file, layout
        self.blocks: list[Block] = []

    def add(self, block: Block) -> None:
        self.blocks.append(block)

    def finish(self) -> None:
        ids = np.concatenate([block.ids for block in self.blocks])
        if ids.dtype.kind != "i":
            ids = ids.astype(str)
        splits = [np.full(len(block.ids), block.split) for block in self.blocks]
        arrays: dict[str, Any] = {
            "ids": ids,
            "splits": np.concatenate(splits),
            self.layout.kind: np.concatenate([block.outputs for block in self.blocks]),
            "classes": np.array(list(self.layout.class_names)),
        }
        np.savez(self.file, **arrays)


class _Array(_Arrays):
    """One array of outputs, in which row i is sample i of the user's array."""

    def finish(self) -> None:
        ids = np.concatenate([block.ids for block in self.blocks])
        order = ids.argsort(kind="stable")
        if not np.array_equal(ids[order], np.arange(len(ids))):
            raise ConfigError(
                "A .npy file holds no ids, so its rows must be all samples of one array in order, "
                "but those of this dataset have names, or come from several arrays. Choose .npz, "
                ".parquet, .csv or .jsonl."
            )
        np.save(self.file, np.concatenate([block.outputs for block in self.blocks])[order])


class _Parquet(AnswersWriter):
    """Columns ``id``, ``split`` and ``logits`` or ``values``, whose classes the metadata name.

    The most probable classes are in columns of lists, ``classes`` and ``probabilities``.
    """

    def __init__(self, file: IO[bytes], layout: Layout):
        self.pyarrow = import_pyarrow()
        self.file, self.layout = file, layout
        self._writer: Any = None

    def add(self, block: Block) -> None:
        pyarrow, layout = self.pyarrow, self.layout
        columns = {
            "id": pyarrow.array(block.ids.tolist()),
            "split": pyarrow.array([block.split] * len(block.ids)),
        }
        if layout.top is None:
            columns[layout.kind] = self._lists(block.outputs)
        else:
            names, probabilities = layout.most_probable(block.outputs)
            columns["classes"] = self._lists(names)
            columns["probabilities"] = self._lists(probabilities)
        table = pyarrow.table(columns)
        if self._writer is None:
            schema = table.schema
            if layout.top is None:
                schema = schema.with_metadata({CLASSES_KEY: _as_json(list(layout.class_names))})
            self._writer = pyarrow.parquet.ParquetWriter(self.file, schema)
        self._writer.write_table(table.replace_schema_metadata(self._writer.schema.metadata))

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _lists(self, values: NDArray) -> Any:
        """Return an array ``[N, K]`` as a column of lists."""
        flat = self.pyarrow.array(np.ascontiguousarray(values).reshape(-1))
        return self.pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


WRITERS: dict[str, Callable[[IO[bytes], Layout], AnswersWriter]] = {
    "csv": _Csv,
    "jsonl": _JsonLines,
    "npz": _Arrays,
    "npy": _Array,
    "parquet": _Parquet,
}


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _digits(value: float) -> str:
    """Return a float32 as text that gives the same float32 again."""
    return f"{value:.9g}"
