"""What the transfer sets of a study pick from: the training split, or the inputs of a source, made
once.
"""

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
    """The pool of each transfer set of a study.

    Args:
        data: of the study.
        sources: of all its transfer sets.
        run: its folder.
        progress: shows long stages.

    Attributes:
        teacher: for sources that need one; set as soon as there is one.
        device: where the teacher then is: always the same, whoever asked it before.
    """

    def __init__(
        self, data: Dataset, sources: Sequence[Source], run: RunFolder, progress: StageProgress
    ):
        self.data, self.run, self.progress = data, run, progress
        self.sources = list(dict.fromkeys(sources))
        self.teacher: LiveTeacher | None = None
        self.device = torch.device("cpu")
        self._made: dict[Source, Split] = {}

    def of(self, transfer: TransferSet) -> Split:
        """The pool of a transfer set; the source is asked when its inputs are first needed.

        Raises:
            ConfigError: it makes no such inputs as the data has.
            DataError: what it reads is missing or damaged.
        """
        source = transfer.source
        if source is None:
            return self.data.train
        if source not in self._made:
            made = self._kept(source) if source.needs_teacher else self._make(source)
            self._made[source] = as_pool(source, made, self.data.train.inputs)
        return self._made[source]

    def label(self, source: Source) -> str:
        """The name of a source, with a number where an earlier one of the study has the same."""
        alike = [other for other in self.sources if other.name == source.name]
        place = alike.index(source)
        return source.name + f" ({place + 1})" * (place > 0)

    def _make(self, source: Source) -> Any:
        for model in (
            self.teacher.models if source.needs_teacher and self.teacher is not None else ()
        ):
            model.to(self.device).eval()
        return source.make(
            shape=self.data.shape,
            classes=self.data.classes,
            progress=self.progress,
            teacher=self.teacher if source.needs_teacher else None,
        )

    def _kept(self, source: Source) -> Any:
        """What a source has made with a teacher, which may take long: kept for a run that is
        resumed.
        """
        file = self.run.checkpoints / f"source{self.sources.index(source)}.npy"
        if not file.is_file():
            made = as_pool(source, self._make(source), self.data.train.inputs)
            write_atomically(file, lambda temporary: _save(temporary, made))
        return torch.from_numpy(np.load(file, allow_pickle=False))


def _save(file: Path, pool: Split) -> None:
    np.save(file, pool.inputs.numpy(), allow_pickle=False)
