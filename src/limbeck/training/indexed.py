"""Answers of a file for the batches of a user's loader, looked up by the index of each sample."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.errors import DataError, TeacherError
from limbeck.data.batch_forms import BatchNames
from limbeck.data.batch_reader import BatchReader
from limbeck.data.batches import Batch
from limbeck.data.checks import join_some
from limbeck.data.inputs import ModelInputs
from limbeck.losses.sparse import SparseTargets
from limbeck.losses.tasks import Outputs
from limbeck.teacher.answer_files.columns import Requirements
from limbeck.teacher.answer_files.location import SUFFIXES
from limbeck.teacher.answer_files.read import Answers
from limbeck.teacher.answer_files.rows import MISSING, Lookup, training_lookup
from limbeck.teacher.file_teacher import FileTeacher

INDEX_KEYS = ("index", "idx", "indices", "id", "ids")
"""Keys under which a batch that is a dictionary may have the indices of its samples."""
NO_INDEX = (
    "A teacher's answers are looked up by the index of each sample, but the batches of the loader "
    "have none. Expected (x, y, index), or a dictionary with the key index: wrap the dataset, as "
    "in DataLoader(limbeck.data.Indexed(dataset), ...)."
)


def as_answers(teacher: object) -> Answers | None:
    """Return a teacher as answers if it is an array, or a file with a suffix of answers."""
    if isinstance(teacher, Answers):
        return teacher
    if isinstance(teacher, (np.ndarray, Tensor)):
        return Answers(teacher)
    if isinstance(teacher, (str, Path)) and Path(teacher).suffix.lower() in SUFFIXES:
        return Answers(teacher)
    return None


class IndexedTeacher(FileTeacher):
    """Answers of a file, whose samples are the rows of the file.

    Args:
        answers: File or array of answers.
        outputs: Kind of the outputs of a teacher.

    Raises:
        TeacherError: If the file is missing or damaged.
        ResourceError: If it cannot be reached, or a package is missing.
    """

    def __init__(self, answers: Answers, outputs: Outputs = "classes"):
        stored, _ = answers.read(Requirements(outputs=outputs))
        super().__init__(stored, torch.arange(len(stored.records)))
        self.missing: list[str] = []

    def __call__(
        self, x: ModelInputs, sample: Tensor | None, view: Tensor | None = None
    ) -> Tensor | SparseTargets:
        """Return the answers to a batch, see :class:`~limbeck.teacher.signal.TeacherSignal`.

        Raises:
            DataError: If the batch has no indices.
            TeacherError: If a sample has no answer.
        """
        if sample is None:
            raise DataError(NO_INDEX)
        if self.missing:
            raise TeacherError(
                f"{self.answers.where} has no answer for the samples with the index "
                f"{join_some(self.missing)}."
            )
        return super().__call__(x, sample, view)


class IndexedReader(BatchReader):
    """Reader of batches ``(x, y, index)``, which finds the row of each sample's answer.

    Args:
        names: Names of inputs and labels.
        student: Model that takes the inputs.
        teacher: Answers of the file.
    """

    def __init__(self, names: BatchNames, student: nn.Module, teacher: IndexedTeacher):
        super().__init__(names, student)
        self.teacher = teacher
        self._lookup: Lookup | None = None

    def read(self, batch: object) -> Batch:
        """Convert a user's batch, see :meth:`BatchReader.read`.

        Raises:
            DataError: If the batch has another form, or the number of indices is wrong.
            TeacherError: If the ids of the file are of another form.
        """
        if isinstance(batch, Batch):
            return super().read(batch)
        others, index = _split(batch)
        result = super().read(others)
        if index is None:  # as in validation, where the teacher does not answer
            return result
        ids = _as_ids(index)
        if len(ids) != result.x.shape[1]:
            raise DataError(
                f"A batch should have one index per input, but has {result.x.shape[1]} inputs and "
                f"{len(ids)} indices."
            )
        if self._lookup is None:
            has_names = ids.dtype.kind != "i"
            self._lookup = training_lookup(self.teacher.answers, has_names=has_names)
        rows = self._lookup.rows_of(ids)
        self.teacher.missing = [str(name)[:80] for name in ids[rows == MISSING]]
        sample = torch.from_numpy(rows).to(result.x.device)[None]
        return result._replace(sample=sample, view=torch.zeros_like(sample))


def _split(batch: Any) -> tuple[Any, Any]:
    """Split a batch into its other parts, and the indices; None if there are none."""
    if isinstance(batch, (tuple, list)) and len(batch) > 2:
        return tuple(batch[:-1]), batch[-1]
    if isinstance(batch, Mapping):
        key = next((key for key in INDEX_KEYS if key in batch), None)
        if key is not None:
            return {name: part for name, part in batch.items() if name != key}, batch[key]
    return batch, None


def _as_ids(index: Any) -> np.ndarray:
    """Return indices as int64 or text ``[B]``."""
    if isinstance(index, (list, tuple)) and index and isinstance(index[0], str):
        return np.array(index, dtype=object)
    try:
        numbers = torch.as_tensor(index).cpu().numpy()
    except (TypeError, ValueError, RuntimeError):
        numbers = np.empty(0)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise DataError(
            "The last part of a batch should be the indices of its samples: whole numbers, or "
            "names, one for each sample."
        )
    return numbers.astype(np.int64)
