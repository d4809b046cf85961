"""The answers of a teacher to a whole dataset, written to a file or to a folder of parts."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.files import remove_new_folder_on_failure
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, NoViews, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.split import digest_of_splits
from limbeck.store.answers import TeacherPass
from limbeck.store.key import rows_per_shard
from limbeck.store.shards import Piece, split_range
from limbeck.study.teacher_scores import answer_split
from limbeck.teacher.answer_files.columns import LOGITS, VALUES
from limbeck.teacher.answer_files.parts import open_parts
from limbeck.teacher.answer_files.rows import TEST, TRAIN, VAL
from limbeck.teacher.answer_files.write import (
    Block,
    Layout,
    check_target,
    open_writer,
    parquet_bytes,
)
from limbeck.teacher.signal import LiveTeacher

HALF_BYTES = 2
"""Size of a number in the default store, whose batches are those of the training split."""
ID_ROWS = 1 << 16
"""Number of ids that are hashed at once."""


@dataclass(frozen=True)
class AnswerWork:
    """Computation of the answers to a dataset, block by block.

    Attributes:
        teacher_pass: Pass over the training split.
        splits: Validation and test split by name.
        ids: Ids of the samples of each split.
        blocks: Split and range of each block.
        layout: Parts of an answer to write.
        is_parquet: Whether a block is a Parquet file, and not an array.
    """

    teacher_pass: TeacherPass
    splits: dict[str, Split]
    ids: dict[str, np.ndarray]
    blocks: Sequence[tuple[str, Piece]]
    layout: Layout
    is_parquet: bool

    def to_device(self, device: torch.device) -> "AnswerWork":
        """The same computation with teacher and samples on a device."""
        return replace(
            self,
            teacher_pass=self.teacher_pass.on(device),
            splits={name: split.to(device) for name, split in self.splits.items()},
        )

    def compute(self, number: int) -> bytes:
        """Compute a block: a Parquet file, or the bytes of outputs float32 ``[B, C]``."""
        outputs = self._outputs(*self.blocks[number])
        if self.is_parquet:
            return parquet_bytes(self.block(number, outputs), self.layout)
        return outputs.tobytes()

    def block(self, number: int, outputs: np.ndarray) -> Block:
        """Return a block with its ids."""
        part, piece = self.blocks[number]
        return Block(self.ids[part][piece.first : piece.end], part, outputs)

    def _outputs(self, part: str, piece: Piece) -> np.ndarray:
        if part == TRAIN:
            batches = self.teacher_pass.compute_all(piece.first, piece.end, piece.batch)
            return torch.cat([logits.cpu() for _, logits in batches]).numpy()
        split = self.splits[part]
        rows = slice(piece.first, piece.end)
        some = replace(split, inputs=split.inputs[rows], labels=split.labels[rows], ids=None)
        logits = answer_split(self.teacher_pass.teacher, some).float()
        wrong = ~logits.isfinite().all(-1)
        if bool(wrong.any()):
            sample = self.ids[part][piece.first + int(wrong.nonzero()[0])]
            raise TeacherError(
                f"The teacher's logits of {part} sample {sample} are not all finite. "
                "Check the teacher."
            )
        return logits.numpy()


ComputeBlocks: TypeAlias = Callable[[AnswerWork, Sequence[int]], Iterator[tuple[int, bytes]]]
"""Function that computes blocks of a work, in this process or elsewhere; it yields the number and
content of each, in any order.
"""


def compute_in_turn(
    work: AnswerWork, numbers: Sequence[int], device: torch.device | None = None
) -> Iterator[tuple[int, bytes]]:
    """Compute blocks one after the other in this process.

    Args:
        work: Computation of the blocks.
        numbers: Numbers of the blocks.
        device: Device of the computation; None for the CPU.
    """
    work = work.to_device(device or torch.device("cpu"))
    for number in numbers:
        yield number, work.compute(number)


def write_answers(
    teacher: LiveTeacher,
    data: Dataset,
    to: Path,
    *,
    device: torch.device | None = None,
    progress: StageProgress | None = None,
    top: int | None = None,
    compute: ComputeBlocks | None = None,
) -> int:
    """Write the logits or values of a teacher for all samples of a dataset.

    The training samples are answered in the batches in which a store is computed, and the others in
    those of an evaluation, so that the numbers are the same.

    Args:
        teacher: Teacher that answers.
        data: Dataset with training, validation and test split.
        to: File (``.csv``, ``.parquet``, ``.npz``, ``.npy``, ``.jsonl``), or folder for Parquet
            files. It is there only when it is complete. A folder that was interrupted is continued.
        device: Device of the computation; None for the CPU.
        progress: Progress display; None for none.
        top: Number of classes to write for each sample, the most probable ones with their
            probabilities; None for the logits of all.
        compute: Function that computes the blocks elsewhere; None for this process.

    Returns:
        Number of answers.

    Raises:
        ConfigError: If the dataset is a text in blocks or has embeddings, or the form of the file
            does not fit.
        TeacherError: If a logit is infinite or NaN.
    """
    form = check_target(to)
    _check_task(data, form, top)
    work = _work_of(teacher, data, top, is_parquet=form == "folder")
    compute = compute or partial(compute_in_turn, device=device)
    progress = progress or StageProgress(enabled=False)
    total = sum(len(piece) for _, piece in work.blocks)
    with (
        remove_new_folder_on_failure(to.absolute().parent),
        progress.stage(f"answers to {total:,} samples", total) as advance,
    ):
        if form == "folder":
            _write_parts(work, to, compute, advance)
        else:
            _write_file(work, to, compute, advance)
    return total


def _check_task(data: Dataset, form: str, top: int | None) -> None:
    """Check that a file can hold the answers.

    Raises:
        ConfigError: If it cannot.
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
    if top is None:
        return
    if data.kind.outputs != "classes":
        raise ConfigError(
            f"top={top} writes the most probable classes, but {data.name} has "
            f"{data.kind.description}. Leave out top=."
        )
    if not 1 <= top <= data.classes:
        raise ConfigError(f"top={top} should be from 1 to {data.classes}, the number of classes.")
    if form in ("npz", "npy"):
        raise ConfigError(
            f"top={top} cannot be written to .{form}. Choose .parquet, .csv, .jsonl, or a folder."
        )


def _work_of(
    teacher: LiveTeacher, data: Dataset, top: int | None, *, is_parquet: bool
) -> AnswerWork:
    """Cut the answers to a dataset into blocks of whole batches."""
    train = data.train
    teacher_pass = TeacherPass(
        teacher=teacher,
        inputs=train.inputs,
        rows=torch.arange(len(train)),
        views=NoViews(),
        classes=data.classes,
        padding=data.padding,
    )
    kind = VALUES if data.kind.outputs == "values" else LOGITS
    splits = {VAL: data.val, TEST: data.open_test()}
    work = AnswerWork(
        teacher_pass=teacher_pass,
        splits=splits,
        ids={TRAIN: train.sample_ids, **{name: s.sample_ids for name, s in splits.items()}},
        blocks=[],
        layout=Layout(data.class_names, kind, top),
        is_parquet=is_parquet,
    )
    return replace(work, blocks=[*_training_blocks(teacher_pass), *_blocks_of(teacher, splits)])


def _training_blocks(teacher_pass: TeacherPass) -> Iterator[tuple[str, Piece]]:
    """Yield the blocks of the training split, in the batches of a store."""
    count = teacher_pass.count
    shard_rows = rows_per_shard(1, HALF_BYTES * teacher_pass.classes)
    for first in range(0, count, shard_rows):
        end = min(first + shard_rows, count)
        batch = teacher_pass.batch_of(end - first)
        for piece in split_range(first, end, batch, count):
            yield TRAIN, piece


def _blocks_of(teacher: LiveTeacher, splits: dict[str, Split]) -> Iterator[tuple[str, Piece]]:
    """Yield the blocks of other splits, in the batches of an evaluation."""
    for name, split in splits.items():
        batch = EvaluationBatches(split, models=teacher.models).batch_size
        for piece in split_range(0, len(split), batch, len(split)):
            yield name, piece


def _write_file(
    work: AnswerWork, to: Path, compute: ComputeBlocks, advance: Callable[[int], object]
) -> None:
    """Write the blocks to one file, in their order."""
    waiting: dict[int, bytes] = {}
    done = position = 0
    width = len(work.layout.class_names)
    with open_writer(to, *work.layout) as writer:
        for number, content in compute(work, range(len(work.blocks))):
            done += len(work.blocks[number][1])
            waiting[number] = content
            while position in waiting:
                outputs = np.frombuffer(waiting.pop(position), np.float32).reshape(-1, width)
                writer.add(work.block(position, outputs))
                position += 1
            advance(done)


def _write_parts(
    work: AnswerWork, to: Path, compute: ComputeBlocks, advance: Callable[[int], object]
) -> None:
    """Write each block to a file of its own, and skip those that an earlier start has written."""
    with open_parts(to, _key_of(work), len(work.blocks)) as folder:
        missing = folder.missing
        present = sorted(set(range(len(work.blocks))) - set(missing))
        done = sum(len(work.blocks[number][1]) for number in present)
        advance(done)
        for number, content in compute(work, missing):
            folder.write(number, content)
            done += len(work.blocks[number][1])
            advance(done)


def _key_of(work: AnswerWork) -> str:
    """Return the SHA-256 of all that determines the content of the parts."""
    ids = hashlib.sha256()
    for values in work.ids.values():
        for start in range(0, len(values), ID_ROWS):
            ids.update(repr(values[start : start + ID_ROWS].tolist()).encode())
    facts = {
        "training": work.teacher_pass.header("float32").key,
        "others": digest_of_splits(work.splits.values()),
        "ids": ids.hexdigest(),
        "blocks": [(part, piece.first, piece.end, piece.batch) for part, piece in work.blocks],
        "layout": [list(work.layout.class_names), work.layout.kind, work.layout.top],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
