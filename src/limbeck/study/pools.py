"""Samples that transfer sets select from: the training split, or the inputs of a source."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck._base.files import write_atomically
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, Source, Split, TransferSet
from limbeck.data.sources.base import as_pool
from limbeck.run.folder import RunFolder
from limbeck.teacher.signal import LiveTeacher


class Pools:
    """The pool of each transfer set of a study; a source makes its inputs once.

    Args:
        data: Dataset of the study.
        sources: Sources of all transfer sets.
        run: Folder of the run.
        progress: Progress display.

    Attributes:
        teacher: Teacher for sources that need one; set once there is one.
        device: Device to which the teacher is moved before a source uses it, so that a resumed run
            makes the same inputs.
    """

    def __init__(
        self, data: Dataset, sources: Sequence[Source], run: RunFolder, progress: StageProgress
    ):
        self.data, self.run, self.progress = data, run, progress
        self.sources = list(dict.fromkeys(sources))
        self.teacher: LiveTeacher | None = None
        self.device = torch.device("cpu")
        self._pools: dict[Source, Split] = {}

    def of(self, transfer: TransferSet) -> Split:
        """The pool of a transfer set; a source makes its inputs when they are first needed.

        Raises:
            ConfigError: If the source makes inputs that differ in shape from those of the data.
            DataError: If a file of the source is missing or damaged.
        """
        source = transfer.source
        if source is None:
            return self.data.train
        if source not in self._pools:
            inputs = self._cached(source) if source.needs_teacher else self._make(source)
            self._pools[source] = as_pool(source, inputs, self.data.train.inputs)
        return self._pools[source]

    def label(self, source: Source) -> str:
        """Name of a source, with a number if an earlier source of the study has the same name."""
        same_name = [other for other in self.sources if other.name == source.name]
        position = same_name.index(source)
        return f"{source.name} ({position + 1})" if position else source.name

    def _make(self, source: Source) -> Any:
        teacher = self.teacher if source.needs_teacher else None
        if teacher is not None:
            for model in teacher.models:
                model.to(self.device).eval()
        return source.make(
            shape=self.data.shape,
            classes=self.data.classes,
            progress=self.progress,
            teacher=teacher,
        )

    def _cached(self, source: Source) -> Any:
        """Inputs that a source makes with a teacher; a resumed run loads them."""
        file = self.run.checkpoints / f"source{self.sources.index(source)}.npy"
        if not file.is_file():
            pool = as_pool(source, self._make(source), self.data.train.inputs)
            write_atomically(file, lambda temporary: _save(temporary, pool))
        return torch.from_numpy(np.load(file, allow_pickle=False))


def _save(file: Path, pool: Split) -> None:
    np.save(file, pool.inputs.numpy(), allow_pickle=False)
