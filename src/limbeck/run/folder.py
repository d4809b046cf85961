"""The folder of one run: where each file lies, how it is written, and the schema of
``summary.json``.

Everything is written to a temporary name first and moved into place, so a file that exists is
complete.
"""

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError, LimbeckError, UntrustedFileError
from limbeck._base.files import write_atomically

METRICS = ("errors", "accuracy", "nll", "ece", "agreement", "kl_to_teacher")
SCALAR_COLUMNS = ("stage", "arm", "seed", "epoch", "metric", "value")


class RunFolder:
    """The paths of a run and atomic access to its files."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.manifest = self.path / "manifest.json"
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.metrics = self.path / "metrics.csv"
        self.predictions = self.path / "predictions.npz"
        self.cost = self.path / "cost.json"
        self.examples = self.path / "examples.npz"
        self.teacher = self.path / "teacher"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"

    def student(self, arm: str, seed: int) -> Path:
        """Folder of one trained student."""
        return self.path / "students" / arm / f"seed{seed}"

    def teachers(self) -> list[Path]:
        """Folders of the trained teacher: one, or one for each member."""
        members = sorted(self.teacher.glob("member*"), key=lambda path: (len(path.name), path.name))
        return members or [self.teacher]

    def prepare(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder, or refuse one that holds something; errors as for :meth:`check`."""
        self.check(resume=resume, overwrite=overwrite)
        if overwrite and not resume and self.path.is_dir():
            shutil.rmtree(self.path.resolve())
        self.path.resolve().mkdir(parents=True, exist_ok=True)

    def check(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Check that the folder may be written to, and change nothing.

        Raises:
            ConfigError: the folder is not empty and neither resumed nor overwritten, or is not a
                run of ours.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"out={self.path} is a file; name a folder.")
        filled = self.path.is_dir() and any(self.path.iterdir())
        if resume:
            if not self.manifest.is_file():
                raise ConfigError(
                    f"{self.path} holds no run to resume: manifest.json is missing there."
                )
            return
        if filled and not overwrite:
            held = ", ".join(sorted(p.name for p in self.path.iterdir())[:4])
            raise ConfigError(
                f"out={self.path} is not empty (it holds {held}). Name another folder, continue "
                "that run with "
                f"'limbeck resume {self.path}', or replace it with overwrite=true."
            )
        if filled and not self._is_ours():
            raise ConfigError(
                f"out={self.path} is not a run of limbeck (no manifest.json of limbeck is there), "
                "so overwrite=true "
                "will not delete it. Name another folder."
            )

    def _is_ours(self) -> bool:
        """Whether the manifest is one of limbeck's; programs of other kinds have a
        ``manifest.json`` too.
        """
        try:
            return {"recipe", "seeds", "state"} <= self.read_json(self.manifest).keys()
        except (OSError, LimbeckError):
            return False

    def read_json(self, file: Path) -> dict[str, Any]:
        """Read one of the run's JSON files.

        Raises:
            ConfigError: the file is missing.
            UntrustedFileError: it is not JSON, or not an object.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"{file} is missing: {self.path} is no finished run. Finish it with 'limbeck "
                f"resume {self.path}'."
            ) from None
        except (ValueError, RecursionError) as error:
            raise UntrustedFileError(f"{file} is damaged: {error}.") from None
        if not isinstance(content, dict):
            raise UntrustedFileError(
                f"{file} is damaged: an object was expected, found {type(content).__name__}."
            )
        return content

    def read_summary(self) -> dict[str, Any]:
        """``summary.json``, checked against the schema."""
        from limbeck.run.summary import parse_summary

        summary = self.read_json(self.summary)
        parse_summary(summary, where=str(self.summary))
        return summary

    def read_scalars(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.csv``: stage, arm, seed (int), epoch (int), metric, value (float)."""
        with self.metrics.open(newline="", encoding="utf-8") as file:
            return [
                {
                    **row,
                    "seed": int(row["seed"]),
                    "epoch": int(row["epoch"]),
                    "value": float(row["value"]),
                }
                for row in csv.DictReader(file)
            ]

    def write_scalars(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``metrics.csv``, one scalar a row."""

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, SCALAR_COLUMNS)
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.metrics, write)
