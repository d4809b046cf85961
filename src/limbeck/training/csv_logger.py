"""The logger of every training: a CSV file whose rows survive kills and full disks."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_fabric.loggers import Logger
from lightning_fabric.utilities import rank_zero_only

from limbeck._base.files import sync, write_text
from limbeck._base.reading import open_text
from limbeck.run.checkpoints import LOG_FILE

STEP = "step"


class CSVLogger(Logger):
    """Logs metrics to ``metrics.csv``, in a new folder ``version_N`` each time.

    Rows are appended. If a metric is new, the file is replaced in one step by one with its column.

    Args:
        logs: Folder of all logs.
        stage: Name of the stage, which is the name of a subfolder.
    """

    def __init__(self, logs: Path, stage: str):
        super().__init__()
        self._stage = logs / stage
        self._name = stage
        self._version = _next_version(self._stage)
        self.file = self._stage / f"version_{self._version}" / LOG_FILE
        self._columns: list[str] = []
        self._rows = 0

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self._name

    @property
    def version(self) -> int:
        """Number of the folder."""
        return self._version

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write a row.

        Args:
            metrics: Values by name; tensors hold one number.
            step: Number of the step; None for the number of the row.

        Raises:
            OSError: If it cannot be written. Earlier rows stay as they were.
        """
        row = {name: getattr(value, "item", lambda v=value: v)() for name, value in metrics.items()}
        row[STEP] = self._rows if step is None else step
        columns = sorted({*self._columns, *row})
        if columns == self._columns:
            self._append(_text(columns, [row]))
        else:
            rows = [*self._read(), row]
            write_text(self.file, _text(columns, [dict(zip(columns, columns, strict=True)), *rows]))
            self._columns = columns
        self._rows += 1

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log no settings: the run folder holds them."""

    def sync(self) -> None:
        """Bring all rows to the disk."""
        if self.file.is_file():  # only the first of several processes writes it
            sync(self.file)

    def _read(self) -> list[dict[str, str]]:
        if not self._columns:
            return []
        with open_text(self.file) as lines:
            return list(csv.DictReader(lines))

    def _append(self, text: str) -> None:
        with self.file.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                _write_all(file, text.encode("utf-8"))
            except OSError:
                with suppress(OSError):  # half a row would look like other values
                    file.truncate(end)
                raise


def _write_all(file: io.FileIO, content: bytes) -> None:
    while content:
        content = content[file.write(content) :]


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as CSV."""
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue()


def _next_version(folder: Path) -> int:
    """Return the number of the next folder of logs."""
    numbers = [-1]
    for path in folder.glob("version_*"):
        number = path.name.removeprefix("version_")
        if number.isdecimal():
            numbers.append(int(number))
    return max(numbers) + 1
