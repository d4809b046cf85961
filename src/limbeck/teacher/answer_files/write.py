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
from limbeck._base.files import move, open_atomically, temporary_folder
from limbeck.data.tables.parquet import import_pyarrow
from limbeck.teacher.answer_files.columns import LOGITS
from limbeck.teacher.answer_files.location import SUFFIXES
from limbeck.teacher.answer_files.parquet import CLASSES_KEY

PART_ROWS = 1 << 16
"""Number of rows of a file in a folder of Parquet files."""


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


class AnswersWriter(ABC):
    """Writer of blocks of answers."""

    @abstractmethod
    def add(self, block: Block) -> None:
        """Write a block."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left."""


def check_target(to: Path) -> str:
    """Return the form of a file of answers to write, or ``folder`` for a path without suffix.

    Raises:
        ConfigError: If the suffix is unknown, or something is there already.
        ResourceError: If a package is missing.
    """
    form = SUFFIXES.get(to.suffix.lower(), "") if to.suffix else "folder"
    if not form:
        raise ConfigError(
            f"to={to}: unknown kind of file. Choose .csv, .parquet, .npz, .npy or .jsonl, or a "
            "folder for Parquet files."
        )
    if to.exists():
        raise ConfigError(f"to={to} exists already. Choose another name, or remove it.")
    if form in ("parquet", "folder"):
        import_pyarrow()
    return form


@contextmanager
def open_writer(
    to: Path, class_names: Sequence[str], kind: str = LOGITS
) -> Iterator[AnswersWriter]:
    """Open a writer; the file or folder is there, and complete, only after the block.

    Args:
        to: File or folder to write, see :func:`check_target`.
        class_names: Names of the classes, targets or labels, in the order of the outputs.
        kind: Kind of the outputs: ``logits`` or ``values``.

    Raises:
        OSError: If it cannot be written.
        ConfigError: If the form cannot hold the ids.
    """
    form = check_target(to)
    if form == "folder":
        to.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(to) as temporary:
            folder = temporary / to.name
            folder.mkdir()
            parts = _ParquetFolder(folder, class_names, kind)
            yield parts
            parts.finish()
            move(folder, to)
        return
    with open_atomically(to) as file:
        writer = WRITERS[form](file, class_names, kind)
        yield writer
        writer.finish()


class _Csv(AnswersWriter):
    """Lines of id, split and a number for each class, with as many digits as float32 has."""

    def __init__(self, file: IO[bytes], class_names: Sequence[str], kind: str):
        self.file = file
        self._write([["id", "split", *(f"{kind[:-1]}_{name}" for name in class_names)]])

    def add(self, block: Block) -> None:
        rows = zip(block.ids.tolist(), block.outputs.tolist(), strict=True)
        self._write([sample, block.split, *map(_digits, logits)] for sample, logits in rows)

    def finish(self) -> None:
        """Do nothing: all lines are written."""

    def _write(self, rows: Any) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.file.write(text.getvalue().encode("utf-8"))


class _JsonLines(AnswersWriter):
    """Objects with id, split and the outputs by class."""

    def __init__(self, file: IO[bytes], class_names: Sequence[str], kind: str):
        self.file, self.kind = file, kind
        self.names = [json.dumps(name, ensure_ascii=False) for name in class_names]

    def add(self, block: Block) -> None:
        lines = []
        for sample, outputs in zip(block.ids.tolist(), block.outputs.tolist(), strict=True):
            start = json.dumps({"id": sample, "split": block.split}, ensure_ascii=False)[:-1]
            pairs = zip(self.names, map(_digits, outputs), strict=True)
            values = ", ".join(f"{name}: {value}" for name, value in pairs)
            lines.append(f'{start}, "{self.kind}": {{{values}}}}}\n')
        self.file.write("".join(lines).encode("utf-8"))

    def finish(self) -> None:
        """Do nothing: all lines are written."""


class _Arrays(AnswersWriter):
    """Arrays ``ids``, ``splits``, ``logits`` or ``values``, and ``classes`` in one archive."""

    def __init__(self, file: IO[bytes], class_names: Sequence[str], kind: str):
        self.file, self.class_names, self.kind = file, list(class_names), kind
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
            self.kind: np.concatenate([block.outputs for block in self.blocks]),
            "classes": np.array(self.class_names),
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
    """Columns ``id``, ``split`` and ``logits`` or ``values``; the metadata name the classes."""

    def __init__(self, file: IO[bytes] | Path, class_names: Sequence[str], kind: str):
        self.pyarrow = import_pyarrow()
        self.file, self.class_names, self.kind = file, list(class_names), kind
        self._writer: Any = None

    def add(self, block: Block) -> None:
        pyarrow = self.pyarrow
        width = block.outputs.shape[1]
        outputs = pyarrow.array(np.ascontiguousarray(block.outputs).reshape(-1))
        columns = {
            "id": pyarrow.array(block.ids.tolist()),
            "split": pyarrow.array([block.split] * len(block.ids)),
            self.kind: pyarrow.FixedSizeListArray.from_arrays(outputs, width),
        }
        table = pyarrow.table(columns)
        if self._writer is None:
            names = json.dumps(self.class_names, ensure_ascii=False)
            schema = table.schema.with_metadata({CLASSES_KEY: names})
            self._writer = pyarrow.parquet.ParquetWriter(self.file, schema)
        self._writer.write_table(table.replace_schema_metadata(self._writer.schema.metadata))

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _ParquetFolder(AnswersWriter):
    """Parquet files of a limited number of rows."""

    def __init__(self, folder: Path, class_names: Sequence[str], kind: str):
        self.folder, self.class_names, self.kind = folder, class_names, kind
        self.parts = self.rows = 0
        self._part: _Parquet | None = None

    def add(self, block: Block) -> None:
        if self._part is None or self.rows + len(block.ids) > PART_ROWS:
            self.finish()
            file = self.folder / f"part-{self.parts:05}.parquet"
            self._part = _Parquet(file, self.class_names, self.kind)
            self.parts, self.rows = self.parts + 1, 0
        self._part.add(block)
        self.rows += len(block.ids)

    def finish(self) -> None:
        if self._part is not None:
            self._part.finish()


WRITERS: dict[str, Callable[[IO[bytes], Sequence[str], str], AnswersWriter]] = {
    "csv": _Csv,
    "jsonl": _JsonLines,
    "npz": _Arrays,
    "npy": _Array,
    "parquet": _Parquet,
}


def _digits(value: float) -> str:
    """Return a float32 as text that gives the same float32 again."""
    return f"{value:.9g}"
