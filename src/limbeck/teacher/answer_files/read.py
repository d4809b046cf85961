"""Reading of a file of answers in any form."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from limbeck._base.digests import file_digest
from limbeck._base.errors import ConfigError, TeacherError, shortage_error
from limbeck.teacher.answer_files.answers import StoredAnswers
from limbeck.teacher.answer_files.arrays import read_npy, read_npz, table_of_array
from limbeck.teacher.answer_files.columns import KINDS, Requirements
from limbeck.teacher.answer_files.convert import convert
from limbeck.teacher.answer_files.csv_file import read_csv
from limbeck.teacher.answer_files.json_lines import read_json_lines
from limbeck.teacher.answer_files.location import (
    digest_of_parts,
    form_of,
    local_path,
    name_of,
    parts_of,
)
from limbeck.teacher.answer_files.parquet import read_parquet
from limbeck.teacher.answer_files.parts import check_parts
from limbeck.teacher.answer_files.table import AnswerTable
from limbeck.teacher.signal import COMBINE


@dataclass(frozen=True, eq=False)
class Answers:
    """A teacher of which only the answers are there, in a file or an array.

    Attributes:
        source: File (``.csv``, ``.parquet``, ``.npz``, ``.npy`` or ``.jsonl``), folder of
            ``.parquet`` files, address that fsspec reads, or array ``[N, C]`` whose rows are those
            of the user's training array.
        kind: Kind of the values: ``logits``, ``probabilities``, ``log_probabilities``,
            ``labels`` or, for regression, ``values``; None to detect it.
        combine: Combination of several answers to one sample: ``probabilities`` or ``logits``.
        every_view: Whether the answer to a plain input also holds for its views.

    Raises:
        ConfigError: If a value is unknown.
    """

    source: str | Path | ArrayLike | Tensor
    kind: str | None = None
    combine: str = "probabilities"
    every_view: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(
                f"teacher.kind={self.kind!r} is unknown; choose one of {', '.join(KINDS)}."
            )
        if self.combine not in COMBINE:
            raise ConfigError(
                f"teacher.combine={self.combine!r} is unknown; choose one of {', '.join(COMBINE)}."
            )
        if not isinstance(self.every_view, bool):
            raise ConfigError(f"teacher.every_view={self.every_view!r} should be true or false.")

    @property
    def name(self) -> str:
        """Name of the source for messages and the report."""
        return name_of(self.source)

    def read(self, needs: Requirements | None = None) -> tuple[StoredAnswers, str]:
        """Read, check and convert the answers.

        Args:
            needs: Requirements of the dataset; None for classes whose names are unknown.

        Returns:
            The answers, and the SHA-256 of the file.

        Raises:
            TeacherError: If the file is missing or damaged, or the answers do not fit the classes.
            ResourceError: If it cannot be reached, or a package is missing.
        """
        needs = needs or Requirements()
        if not isinstance(self.source, (str, Path)):
            array = _as_array(self.source)
            answers = self._convert(table_of_array(array, self.name, needs.outputs), needs)
            return answers, hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        with local_path(str(self.source)) as path:
            try:
                table, digest = _read_table(path, needs, self.name)
                return self._convert(table, needs), digest
            except OSError as error:
                raise shortage_error(error) or TeacherError(
                    f"{self.name} cannot be read ({error.strerror or error})."
                ) from None
            except ValueError as error:  # a pipe, or gaps
                if isinstance(error, ConfigError):
                    raise
                raise TeacherError(f"{self.name} cannot be read ({error}).") from None

    def _convert(self, table: AnswerTable, needs: Requirements) -> StoredAnswers:
        return convert(table, needs, kind=self.kind, combine=self.combine)


def _read_table(path: Path, needs: Requirements, where: str) -> tuple[AnswerTable, str]:
    """Read a file or folder, and return its digest, too."""
    form = form_of(path)
    if form == "folder":
        files = parts_of(path)
        digests = {file.name: file_digest(file) for file in files}
        check_parts(path, digests, where)
        return read_parquet(files, needs, where), digest_of_parts(digests)
    return _read_file(path, form, needs, where), file_digest(path)


def _read_file(path: Path, form: str, needs: Requirements, where: str) -> AnswerTable:
    if form == "csv":
        return read_csv(path, needs, where)
    if form == "jsonl":
        return read_json_lines(path, needs, where)
    if form == "npy":
        return read_npy(path, where, needs.outputs)
    if form == "npz":
        return read_npz(path, where, needs.outputs)
    return read_parquet([path], needs, where)


def _as_array(source: Any) -> np.ndarray:
    if isinstance(source, Tensor):
        source = source.detach().cpu()
    try:
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TeacherError(f"The answers should be an array of numbers ({error}).") from None
