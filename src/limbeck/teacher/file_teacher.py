"""The signal of a teacher of which only a file of answers is there."""

from collections.abc import Callable

import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.data import Dataset
from limbeck.data.inputs import Inputs, ModelInputs
from limbeck.losses.sparse import SparseTargets
from limbeck.teacher.answer_files.answers import StoredAnswers
from limbeck.teacher.answer_files.rows import MISSING, TEST, TRAIN, VAL, AnswerRows
from limbeck.teacher.signal import MAX_DEVICE_BYTES, TeacherSignal


class FileTeacher(TeacherSignal):
    """Answers of a file, looked up by sample. All views of a sample have the same answer.

    The records of the file are used as they are: they are neither sorted nor copied.

    Args:
        answers: Answers of the file.
        rows: Row of the answer to each training sample, int64 ``[N]``; -1 for no answer.
    """

    def __init__(self, answers: StoredAnswers, rows: Tensor):
        self.answers = answers
        self.rows = rows
        self._records = answers.records
        self._decode: Callable[[Tensor], Tensor | SparseTargets] = answers.decode

    def __call__(
        self, x: ModelInputs, sample: Tensor | None, view: Tensor | None = None
    ) -> Tensor | SparseTargets:
        """Return the answers to a batch, see :class:`TeacherSignal`.

        Raises:
            TeacherError: If the batch has no row numbers, or a sample has no answer.
        """
        if sample is None or isinstance(x, Inputs):
            raise TeacherError(
                "Stored answers need the number of each sample; a plain (x, y) batch has none."
            )
        if self._records.device != x.device and self._records.nbytes <= MAX_DEVICE_BYTES:
            self._records = self._records.to(x.device)
        device = self._records.device
        self.rows = self.rows.to(device)
        rows = self.rows[sample.to(device)]
        if device.type == "cpu":  # elsewhere a check would wait for the device; training checks
            self._check(sample, rows)
        batch = self._records.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        return self._decode(batch.to(x.device))

    def _check(self, sample: Tensor, rows: Tensor) -> None:
        missing = rows == MISSING
        if bool(missing.any()):
            row = int(sample[missing][0])
            raise TeacherError(f"{self.answers.where} has no answer for training sample {row}.")


class DatasetAnswers:
    """Answers of a file to the samples of a dataset.

    Args:
        answers: Answers of the file.
        data: Dataset of the study.

    Attributes:
        signal: Signal for the training split.

    Raises:
        TeacherError: If ids are of another form or there twice.
    """

    def __init__(self, answers: StoredAnswers, data: Dataset):
        self.answers = answers
        self.data = data
        self._rows = AnswerRows(answers, data)
        rows = torch.from_numpy(self._rows.find(data.train.sample_ids, TRAIN))
        self.signal = FileTeacher(answers, rows)

    def check(self, needed: Tensor) -> None:
        """Check that training samples have an answer.

        Args:
            needed: Rows of the training split, int64 ``[M]``.

        Raises:
            TeacherError: If one has none.
        """
        missing = needed[self.signal.rows[needed] == MISSING]
        if len(missing):
            raise self._rows.describe_missing(self.data.train.sample_ids, missing.numpy())

    def val_logits(self) -> Tensor | None:
        """Return logits ``[N, C]`` for the validation split; None unless all have an answer."""
        return self._logits(self.data.val.sample_ids, VAL)

    def test_logits(self) -> Tensor | None:
        """Return logits ``[N, C]`` for the test split; None unless all samples have an answer."""
        return self._logits(self.data.test_ids, TEST)

    def labelled_logits(self) -> tuple[Tensor, Tensor]:
        """Return logits and labels of the validation split; without them, of training samples."""
        logits = self.val_logits()
        if logits is not None:
            return logits, self.data.val.labels
        answered = (self.signal.rows != MISSING).nonzero().flatten().cpu()
        logits = self.answers.logits(self.signal.rows[answered].cpu()).float()
        return logits, self.data.train.labels[answered]

    def _logits(self, ids: NDArray, part: str) -> Tensor | None:
        rows = torch.from_numpy(self._rows.find(ids, part))
        if bool((rows == MISSING).any()):
            return None
        return self.answers.logits(rows).float()
