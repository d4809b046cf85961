"""The answers of a teacher to a whole dataset, written to a file or to a folder of parts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset
from limbeck.study.answer_blocks import AnswerWork, ComputeBlocks, compute_in_turn, cut_work
from limbeck.teacher.answer_files.parts import open_parts
from limbeck.teacher.answer_files.target import check_target, open_target
from limbeck.teacher.answer_files.write import open_writer
from limbeck.teacher.signal import LiveTeacher


def write_answers(
    teacher: LiveTeacher,
    data: Dataset,
    to: Path | str,
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
            files; a path or an address for fsspec. It can be used only when it is complete. A
            folder that was interrupted is continued.
        device: Device of the computation; None for the CPU.
        progress: Progress display; None for none.
        top: Number of classes to write for each sample, the most probable ones with their
            probabilities; None for the logits of all.
        compute: Function that computes the blocks elsewhere; None for this process.

    Returns:
        Number of answers.

    Raises:
        ConfigError: If the dataset is a text in blocks or has embeddings, or the form of the file
            does not fit, or another process writes the same folder.
        TeacherError: If a logit is infinite or NaN.
        ResourceError: If the storage at an address cannot be written to.
    """
    form = check_target(to)
    _check_task(data, form, top)
    work = cut_work(teacher, data, top, is_parquet=form == "folder")
    compute = compute or partial(compute_in_turn, device=device)
    progress = progress or StageProgress(enabled=False)
    total = sum(len(piece) for _, piece in work.blocks)
    with progress.stage(f"answers to {total:,} samples", total) as advance:
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


def _write_file(
    work: AnswerWork, to: Path | str, compute: ComputeBlocks, advance: Callable[[int], object]
) -> None:
    """Write the blocks to one file, in their order."""
    waiting: dict[int, bytes] = {}
    done = position = 0
    width = len(work.layout.class_names)
    with open_target(to) as path, open_writer(path, *work.layout) as writer:
        for number, content in compute(work, range(len(work.blocks))):
            done += len(work.blocks[number][1])
            waiting[number] = content
            while position in waiting:
                outputs = np.frombuffer(waiting.pop(position), np.float32).reshape(-1, width)
                writer.add(work.block(position, outputs))
                position += 1
            advance(done)


def _write_parts(
    work: AnswerWork, to: Path | str, compute: ComputeBlocks, advance: Callable[[int], object]
) -> None:
    """Write each block to a file of its own, and skip those that an earlier start has written."""
    with open_parts(to, lambda: work.key, len(work.blocks)) as folder:
        missing = folder.missing
        present = sorted(set(range(len(work.blocks))) - set(missing))
        done = sum(len(work.blocks[number][1]) for number in present)
        advance(done)
        for number, content in compute(work, missing):
            folder.write(number, content)
            done += len(work.blocks[number][1])
            advance(done)
