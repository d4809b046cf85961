"""Blocks of a teacher's answers to a whole dataset, computed in this process or elsewhere."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.signals import check_interrupt
from limbeck.data import Dataset, NoViews, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.dataset import as_float
from limbeck.data.padding import cut_padding
from limbeck.data.split import digest_of_splits
from limbeck.store.answers import TeacherPass
from limbeck.store.key import rows_per_shard
from limbeck.store.shards import Piece, split_range
from limbeck.teacher.answer_files.columns import LOGITS, VALUES
from limbeck.teacher.answer_files.rows import TEST, TRAIN, VAL
from limbeck.teacher.answer_files.write import Block, Layout, parquet_bytes
from limbeck.teacher.signal import LiveTeacher

HALF_BYTES = 2
"""Size of a number in the default store, whose batches are those of the training split."""
ID_ROWS = 1 << 16
"""Number of ids that are hashed at once."""


@dataclass(frozen=True)
class Samples:
    """The samples of a block.

    Attributes:
        inputs: Inputs ``[N, ...]``.
        ids: Ids of the samples ``[N]``.
        split: Name of their split.
        batch: Number of samples in a batch.
    """

    inputs: Tensor
    ids: np.ndarray
    split: str
    batch: int


@dataclass(frozen=True)
class AnswerComputation:
    """Computation of the answers to blocks of samples.

    Attributes:
        teacher: Teacher that answers.
        padding: Id of the padding of texts of one class each; None for other inputs.
        layout: Parts of an answer to write.
        is_parquet: Whether a block is a Parquet file, and not an array.
        device: Device of the computation.
    """

    teacher: LiveTeacher
    padding: int | None
    layout: Layout
    is_parquet: bool
    device: torch.device

    def to_device(self, device: torch.device) -> "AnswerComputation":
        """The same computation with the teacher on a device."""
        self.teacher.prepare(device)
        return replace(self, device=device)

    def compute(self, samples: Samples) -> bytes:
        """Compute a block: a Parquet file, or the bytes of outputs float32 ``[N, C]``.

        Raises:
            TeacherError: If the outputs have the wrong shape or are not all finite.
        """
        outputs = torch.cat([*self._answers(samples)]).numpy()
        if self.is_parquet:
            return parquet_bytes(Block(samples.ids, samples.split, outputs), self.layout)
        return outputs.tobytes()

    def _answers(self, samples: Samples) -> Iterator[Tensor]:
        """Yield the outputs of each batch, float32 ``[B, C]`` on the CPU."""
        first = 0
        for inputs in samples.inputs.split(samples.batch):
            check_interrupt()
            x = as_float(cut_padding(inputs.to(self.device), self.padding))
            if x.data_ptr() == inputs.data_ptr():
                x = x.clone()  # a teacher may change its inputs, but not the samples
            outputs = self.teacher.answer(x).float().cpu()
            self._check(outputs, samples, first)
            yield outputs
            first += len(outputs)
            MAPPED_FILES.release()

    def _check(self, outputs: Tensor, samples: Samples, first: int) -> None:
        width = len(self.layout.class_names)
        if outputs.shape[1:] != (width,):
            raise TeacherError(
                f"The teacher returned outputs of shape {list(outputs.shape)}. Expected "
                f"{[len(outputs), width]}."
            )
        wrong = ~outputs.isfinite().all(-1)
        if bool(wrong.any()):
            sample = samples.ids[first + int(wrong.nonzero()[0])]
            raise TeacherError(
                f"The teacher's logits of {samples.split} sample {sample} are not all finite. "
                "Check the teacher."
            )


@dataclass(frozen=True)
class AnswerWork:
    """The answers to a dataset, cut into blocks.

    Attributes:
        computation: Computation of a block from its samples.
        splits: Splits by name.
        ids: Ids of the samples of each split.
        blocks: Split and range of each block.
        teacher_pass: Pass over the training split, whose store has the same answers.
    """

    computation: AnswerComputation
    splits: dict[str, Split]
    ids: dict[str, np.ndarray]
    blocks: Sequence[tuple[str, Piece]]
    teacher_pass: TeacherPass

    @property
    def layout(self) -> Layout:
        """Parts of an answer to write."""
        return self.computation.layout

    def part(self, number: int) -> Samples:
        """Return the samples of a block, which are not read here if they are on the disk."""
        name, piece = self.blocks[number]
        rows = slice(piece.first, piece.end)
        return Samples(self.splits[name].inputs[rows], self.ids[name][rows], name, piece.batch)

    def block(self, number: int, outputs: np.ndarray) -> Block:
        """Return a block with its ids and outputs."""
        name, piece = self.blocks[number]
        return Block(self.ids[name][piece.first : piece.end], name, outputs)

    @property
    def key(self) -> str:
        """SHA-256 of all that determines the content of the blocks."""
        ids = hashlib.sha256()
        for values in self.ids.values():
            for start in range(0, len(values), ID_ROWS):
                ids.update(repr(values[start : start + ID_ROWS].tolist()).encode())
        facts = {
            "training": self.teacher_pass.header("float32").key,
            "others": digest_of_splits([self.splits[VAL], self.splits[TEST]]),
            "ids": ids.hexdigest(),
            "blocks": [(part, piece.first, piece.end, piece.batch) for part, piece in self.blocks],
            "layout": [list(self.layout.class_names), self.layout.kind, self.layout.top],
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


ComputeBlocks: TypeAlias = Callable[[AnswerWork, Sequence[int]], Iterator[tuple[int, bytes]]]
"""Function that computes blocks of a work, in this process or elsewhere; it yields the number and
content of each, in any order.
"""


def compute_in_turn(
    work: AnswerWork, numbers: Sequence[int], device: torch.device | None = None
) -> Iterator[tuple[int, bytes]]:
    """Compute blocks one after the other in this process.

    Args:
        work: The blocks.
        numbers: Numbers of the blocks.
        device: Device of the computation; None for the CPU.
    """
    computation = work.computation.to_device(device or torch.device("cpu"))
    for number in numbers:
        yield number, computation.compute(work.part(number))


def cut_work(
    teacher: LiveTeacher, data: Dataset, top: int | None, *, is_parquet: bool
) -> AnswerWork:
    """Cut the answers to a dataset into blocks of whole batches.

    The training samples are in the batches in which a store is computed, and the others in those of
    an evaluation.

    Args:
        teacher: Teacher that answers.
        data: Dataset with training, validation and test split.
        top: Number of most probable classes to write; None for all outputs.
        is_parquet: Whether a block is a Parquet file, and not an array.
    """
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
    computation = AnswerComputation(
        teacher=teacher,
        padding=data.padding,
        layout=Layout(data.class_names, kind, top),
        is_parquet=is_parquet,
        device=torch.device("cpu"),
    )
    splits = {TRAIN: train, VAL: data.val, TEST: data.open_test()}
    return AnswerWork(
        computation=computation,
        splits=splits,
        ids={name: split.sample_ids for name, split in splits.items()},
        blocks=[
            *_training_blocks(teacher_pass),
            *_blocks_of(VAL, data.val, teacher),
            *_blocks_of(TEST, splits[TEST], teacher),
        ],
        teacher_pass=teacher_pass,
    )


def _training_blocks(teacher_pass: TeacherPass) -> Iterator[tuple[str, Piece]]:
    """Yield the blocks of the training split, in the batches of a store."""
    count = teacher_pass.count
    shard_rows = rows_per_shard(1, HALF_BYTES * teacher_pass.classes)
    for first in range(0, count, shard_rows):
        end = min(first + shard_rows, count)
        batch = teacher_pass.batch_of(end - first)
        for piece in split_range(first, end, batch, count):
            yield TRAIN, piece


def _blocks_of(name: str, split: Split, teacher: LiveTeacher) -> Iterator[tuple[str, Piece]]:
    """Yield the blocks of another split, in the batches of an evaluation."""
    batch = EvaluationBatches(split, models=teacher.models).batch_size
    for piece in split_range(0, len(split), batch, len(split)):
        yield name, piece
