"""The signal of a teacher of which only a file of answers is there."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.data.inputs import Inputs, ModelInputs
from limbeck.data.resampling import ResampledSplits
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
        splits: Dataset of the study, and its training and validation splits.

    Attributes:
        signal: Signal for the samples of the training splits.

    Raises:
        TeacherError: If ids are of another form or there twice.
    """

    def __init__(self, answers: StoredAnswers, splits: ResampledSplits):
        self.answers = answers
        self.splits = splits
        data = splits.data
        self._rows = AnswerRows(answers, data)
        rows = [self._rows.find(data.train.sample_ids, TRAIN)]
        self._val = torch.from_numpy(self._rows.find(data.val.sample_ids, VAL))
        if splits.count > 1:  # the pool holds the validation samples too
            rows.append(self._val.numpy())
        self.signal = FileTeacher(answers, torch.from_numpy(np.concatenate(rows)))

    def check(self, needed: Tensor) -> None:
        """Check that training samples have an answer.

        Args:
            needed: Rows of the pool of the splits, int64 ``[M]``.

        Raises:
            TeacherError: If one has none.
        """
        missing = needed[self.signal.rows[needed] == MISSING]
        if len(missing):
            raise self._rows.describe_missing(self.splits.pool.sample_ids, missing.numpy())

    def val_logits(self, number: int = 0) -> Tensor | None:
        """Return logits ``[N, C]`` for a validation split; None unless all have an answer."""
        if number == 0:
            return self._logits(self._val)
        return self._logits(self.signal.rows.cpu()[self.splits.val_rows(number)])

    def test_logits(self) -> Tensor | None:
        """Return logits ``[N, C]`` for the test split; None unless all samples have an answer."""
        return self._logits(torch.from_numpy(self._rows.find(self.splits.data.test_ids, TEST)))

    def labelled_logits(self) -> tuple[Tensor, Tensor]:
        """Return logits and labels of the validation split; without them, of training samples."""
        logits = self.val_logits()
        if logits is not None:
            return logits, self.splits.data.val.labels
        answered = (self.signal.rows != MISSING).nonzero().flatten().cpu()
        logits = self.answers.logits(self.signal.rows[answered].cpu()).float()
        return logits, self.splits.pool.labels[answered]

    def _logits(self, rows: Tensor) -> Tensor | None:
        if bool((rows == MISSING).any()):
            return None
        return self.answers.logits(rows).float()
