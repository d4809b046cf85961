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

SCHEMA = 1
METRICS = ("errors", "accuracy", "nll", "ece", "agreement", "kl_to_teacher")
MEASURES = ("errors", "bits_per_byte")
"""By which a study is judged; by errors where its summary names none."""
VERDICTS = ("helps", "hurts", "not shown")
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
        summary = self.read_json(self.summary)
        check_summary(summary, where=str(self.summary))
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


def check_summary(summary: dict[str, Any], *, where: str = "summary") -> None:
    """Check the keys and types of a summary, schema version 1; further keys are welcome.

    Raises:
        UntrustedFileError: naming the first key that is missing or of the wrong type.
    """

    def need(value: Any, kinds: type | tuple[type, ...], name: str) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            wanted = (
                kinds.__name__
                if isinstance(kinds, type)
                else " or ".join(k.__name__ for k in kinds)
            )
            raise UntrustedFileError(f"{where}: {name} should be {wanted}, found {value!r}.")

    def keys(parent: Any, fields: dict[str, type | tuple[type, ...]], name: str) -> None:
        need(parent, dict, name)
        for key, kinds in fields.items():
            if key not in parent:
                raise UntrustedFileError(f"{where}: {name}.{key} is missing.")
            need(parent[key], kinds, f"{name}.{key}")

    number = (int, float)
    optional = (int, float, type(None))

    keys(
        summary,
        {
            "schema": int,
            "recipe": str,
            "data": dict,
            "teacher": (dict, type(None)),
            "arms": list,
            "comparisons": list,
            "seconds": dict,
        },
        "summary",
    )
    if summary["schema"] != SCHEMA:
        raise UntrustedFileError(
            f"{where}: schema {summary['schema']} is not {SCHEMA}; update limbeck to read it."
        )
    measure = summary.get("measure", "errors")
    of_text = ("bits_per_byte", "perplexity") if measure == "bits_per_byte" else ()
    metric_fields: dict[str, Any] = dict.fromkeys((*METRICS, *of_text), optional)
    if measure not in MEASURES:
        raise UntrustedFileError(f"{where}: measure {measure!r} is none of {MEASURES}.")
    keys(
        summary["data"],
        {"name": str, "classes": int, "train": int, "val": int, "test": int},
        "data",
    )
    if of_text:
        keys(
            summary["data"], {"tokenizer": str, "block": int, "tokens": dict, "bytes": dict}, "data"
        )
        keys(summary["data"]["tokens"], {"train": int, "val": int, "test": int}, "data.tokens")
        keys(summary["data"]["bytes"], {"test": int}, "data.bytes")
    if summary["teacher"] is not None:
        keys(summary["teacher"], {"name": str, "params": int, "test": dict}, "teacher")
        keys(summary["teacher"]["test"], metric_fields, "teacher.test")
    for i, arm in enumerate(summary["arms"]):
        name = f"arms[{i}]"
        keys(
            arm,
            {
                "name": str,
                "student": str,
                "params": int,
                "objective": dict,
                "transfer": str,
                "seeds": list,
                "mean": dict,
                "sd": dict,
            },
            name,
        )
        keys(arm["mean"], metric_fields, f"{name}.mean")
        keys(arm["sd"], metric_fields, f"{name}.sd")
        for j, seed in enumerate(arm["seeds"]):
            keys(seed, {"seed": int, "val": dict, "test": dict}, f"{name}.seeds[{j}]")
            keys(seed["val"], metric_fields, f"{name}.seeds[{j}].val")
            keys(seed["test"], metric_fields, f"{name}.seeds[{j}].test")
    for i, comparison in enumerate(summary["comparisons"]):
        name = f"comparisons[{i}]"
        keys(
            comparison,
            {
                "arm": str,
                "control": str,
                "delta_errors": dict,
                "mcnemar_p": optional,
                "gap_closed": dict,
                "verdict": str,
            },
            name,
        )
        for delta in ("delta_errors", *(["delta_bits_per_byte"] if of_text else [])):
            keys(comparison, {delta: dict}, name)
            keys(comparison[delta], {"mean": number, "ci95": (list, type(None))}, f"{name}.{delta}")
            interval = comparison[delta]["ci95"]
            if interval is not None:
                if len(interval) != 2:
                    raise UntrustedFileError(
                        f"{where}: {name}.{delta}.ci95 should be two numbers, found {interval}."
                    )
                for k, bound in enumerate(interval):
                    need(bound, number, f"{name}.{delta}.ci95[{k}]")
        keys(comparison["gap_closed"], {"errors": optional, "nll": optional}, f"{name}.gap_closed")
        if comparison["verdict"] not in VERDICTS:
            raise UntrustedFileError(
                f"{where}: {name}.verdict {comparison['verdict']!r} is none of {VERDICTS}."
            )
    for i, arm in enumerate(summary["arms"]):
        need(arm.get("adjusted", []), list, f"arms[{i}].adjusted")
        for j, entry in enumerate(arm.get("adjusted", [])):
            name = f"arms[{i}].adjusted[{j}]"
            keys(entry, {"how": str, "seeds": list, "mean": dict, "sd": dict}, name)
            keys(entry["mean"], metric_fields, f"{name}.mean")
            keys(entry["sd"], metric_fields, f"{name}.sd")
            for k, seed in enumerate(entry["seeds"]):
                keys(
                    seed,
                    {"seed": int, "bias": list, "val": dict, "test": dict, "recall": list},
                    f"{name}.seeds[{k}]",
                )
    need(summary.get("failed", []), list, "failed")
    for i, failure in enumerate(summary.get("failed", [])):
        keys(failure, {"arm": str, "seed": int, "reason": str}, f"failed[{i}]")
    keys(
        summary["seconds"],
        dict.fromkeys(("teacher", "store", "training", "evaluation", "total"), number),
        "seconds",
    )
