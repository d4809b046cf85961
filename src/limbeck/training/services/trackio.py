"""A study in trackio."""

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from limbeck._base.signals import received_signal
from limbeck.training.services.base import Scalar, StudyLogger, StudyResults


class TrackioStudy(StudyLogger):
    """Logger of a study for trackio.

    Args:
        save_dir: Folder of the logs; the database is in its folder ``trackio``, unless the variable
            ``TRACKIO_DIR`` names another one.
        project: Name of the project.
        name: Name of the run; None for the name of the run folder.
        options: Further arguments of ``trackio.init``, such as ``space_id``.
    """

    def __init__(
        self,
        save_dir: str | Path,
        *,
        project: str = "limbeck",
        name: str | None = None,
        **options: Any,
    ):
        super().__init__("trackio", save_dir)
        self._name = name or self.save_dir.absolute().parent.name
        self._options = {"project": project, **options}
        self._run: Any = None

    def send_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Start the run with the settings as its config."""
        # It is read when trackio is imported.
        os.environ.setdefault("TRACKIO_DIR", str(self.save_dir.absolute() / "trackio"))
        import trackio

        options = {
            "name": f"{self._name}-{self.run_id()[:6]}",
            "config": dict(settings),
            "resume": "allow",
            "embed": False,
            "auto_log_gpu": False,
            "auto_log_cpu": False,
            **self._options,
        }
        with redirect_stdout(sys.stderr):  # standard output is for results
            self._run = trackio.init(**options)

    def send_curves(self, values: Mapping[str, float], epoch: int) -> None:
        """Log the values of an epoch."""
        self._run.log(dict(values), step=epoch)

    def send_results(self, results: StudyResults) -> None:
        """Log test results, verdict, table and report."""
        import trackio

        text = trackio.Markdown(results.markdown())
        self._run.log({**results.metrics, "verdict": results.verdict, "test results": text})
        self._run.log_artifact(str(results.report), name="report", type="report")

    def end(self, status: str) -> None:
        """End the run."""
        if self._run is None:
            return
        import trackio

        # In a thread, as after an interrupt, trackio does not know its current run.
        finish = trackio.finish if received_signal() is None else self._run.finish
        with redirect_stdout(sys.stderr):
            finish()
        self._run = None
