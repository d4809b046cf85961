"""The answers of a teacher to a whole dataset, written to a file."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.files import remove_new_folder_on_failure
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, NoViews, Split
from limbeck.store.answers import TeacherPass
from limbeck.study.teacher_scores import answer_split
from limbeck.teacher.answer_files.columns import LOGITS, VALUES
from limbeck.teacher.answer_files.rows import TEST, TRAIN, VAL
from limbeck.teacher.answer_files.write import Block, check_target, open_writer
from limbeck.teacher.signal import LiveTeacher


def write_answers(
    teacher: LiveTeacher,
    data: Dataset,
    to: Path,
    *,
    device: torch.device | None = None,
    progress: StageProgress | None = None,
) -> int:
    """Write the logits or values of a teacher for all samples of a dataset.

    The training samples are answered in the batches in which a store is computed, and the others in
    those of an evaluation, so that the numbers are the same.

    Args:
        teacher: Teacher that answers.
        data: Dataset with training, validation and test split.
        to: File (``.csv``, ``.parquet``, ``.npz``, ``.npy``, ``.jsonl``), or folder for Parquet
            files. It is there only when it is complete.
        device: Device of the computation; None for the CPU.
        progress: Progress display; None for none.

    Returns:
        Number of answers.

    Raises:
        ConfigError: If the dataset is a text in blocks or has embeddings, or the form of the file
            does not fit.
        TeacherError: If a logit is infinite or NaN.
    """
    if data.positions is not None:
        raise ConfigError(
            f"'limbeck answers' writes one answer for each sample, but {data.name} is a text in "
            "blocks. Answers for its tokens are kept in a store (store=topk)."
        )
    if data.kind.outputs == "vectors":
        raise ConfigError(
            f"'limbeck answers' is for classes, labels and values, but {data.name} has embeddings. "
            "Use teacher.from= with the encoder."
        )
    kind = VALUES if data.kind.outputs == "values" else LOGITS
    check_target(to)
    device = device or torch.device("cpu")
    progress = progress or StageProgress(enabled=False)
    total = len(data.train) + len(data.val) + data.test_size
    answered = 0
    with (
        remove_new_folder_on_failure(to.absolute().parent),
        progress.stage(f"answers to {total:,} samples", total) as advance,
        open_writer(to, data.class_names, kind) as writer,
    ):
        for block in _blocks(teacher, data, device):
            writer.add(block)
            answered += len(block.ids)
            advance(answered)
    return answered


def _blocks(teacher: LiveTeacher, data: Dataset, device: torch.device) -> Iterator[Block]:
    """Yield the answers to all splits."""
    train = data.train
    teacher_pass = TeacherPass(
        teacher=teacher,
        inputs=train.inputs,
        rows=torch.arange(len(train)),
        views=NoViews(),
        classes=data.classes,
        device=device,
        padding=data.padding,
    ).to_device()
    ids = train.sample_ids
    for number, logits in teacher_pass.compute_all(0, len(train)):
        rows = number.cpu().numpy()
        yield Block(ids[rows], TRAIN, logits.cpu().numpy())
    for part, split in ((VAL, data.val), (TEST, data.open_test())):
        logits = answer_split(teacher, split.to(device)).float()
        _check_finite(logits, split, part)
        yield Block(split.sample_ids, part, logits.numpy())


def _check_finite(logits: Tensor, split: Split, part: str) -> None:
    wrong = ~logits.isfinite().all(-1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise TeacherError(
            f"The teacher's logits of {part} sample {split.sample_ids[row]} are not all finite. "
            "Check the teacher."
        )
