"""A study in MLflow."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.training.services.base import Scalar, StudyLogger, StudyResults

MAX_PARAMS = 100
"""Number of settings that MLflow takes at once."""
_INVALID = re.compile(r"[^\w\-. :/]")


class MLflowStudy(StudyLogger):
    """Logger of a study for MLflow.

    Args:
        save_dir: Folder of the logs; the runs are in its folder ``mlflow``, without an address.
        experiment: Name of the experiment.
        tracking_uri: Address of the server or database; None for a database in the folder.
        name: Name of the run; None for the name of the run folder.
        tags: Tags of the run.
    """

    def __init__(
        self,
        save_dir: str | Path,
        *,
        experiment: str = "limbeck",
        tracking_uri: str | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ):
        super().__init__("mlflow", save_dir)
        self._experiment, self._uri = experiment, tracking_uri
        self._name = name or self.save_dir.absolute().parent.name
        self._tags = dict(tags or {})
        self._client: Any = None
        self._run = ""

    def send_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Start the run, or continue it, and log the settings as parameters."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        folder = self.save_dir.absolute() / "mlflow"
        is_local = self._uri is None
        if is_local:
            folder.mkdir(parents=True, exist_ok=True)
            self._uri = f"sqlite:///{folder / 'mlflow.db'}"
        self._client = client = MlflowClient(self._uri)
        existing = client.get_experiment_by_name(self._experiment)
        if existing is not None:
            experiment = existing.experiment_id
        else:
            place = (folder / "artifacts").as_uri() if is_local else None
            experiment = client.create_experiment(self._experiment, artifact_location=place)
        self._run = self._start(experiment)
        params = [Param(_valid(key), str(value)) for key, value in settings.items()]
        for start in range(0, len(params), MAX_PARAMS):
            client.log_batch(self._run, params=params[start : start + MAX_PARAMS])

    def _start(self, experiment: str) -> str:
        """Return the number of the run of this study, after it was resumed that of before."""
        identifier = self.run_id()
        for run in self._client.search_runs([experiment], f"tags.`limbeck` = '{identifier}'"):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        run = self._client.create_run(
            experiment, run_name=self._name, tags={**self._tags, "limbeck": identifier}
        )
        return str(run.info.run_id)

    def send_curves(self, values: Mapping[str, float], epoch: int) -> None:
        """Log the values of an epoch."""
        self._log(values, epoch)

    def send_results(self, results: StudyResults) -> None:
        """Log test results, table and report, and the verdict as a tag."""
        self._log(results.metrics, 0)
        self._client.set_tag(self._run, "verdict", results.verdict)
        self._client.set_tag(self._run, "mlflow.note.content", results.markdown())
        columns = zip(*results.rows, strict=True)
        table = {name: list(cells) for name, cells in zip(results.columns, columns, strict=False)}
        self._client.log_table(self._run, table, "test_results.json")
        self._client.log_artifact(self._run, str(results.report))

    def end(self, status: str) -> None:
        """End the run."""
        if self._run:
            state = "FINISHED" if status == "success" else "FAILED"
            self._client.set_terminated(self._run, state)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_valid(name), value, now, step) for name, value in values.items()]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(self._run, metrics=metrics[start : start + 1000])


def _valid(name: str) -> str:
    """Return a name with underscores in place of characters that MLflow refuses."""
    return _INVALID.sub("_", name)
