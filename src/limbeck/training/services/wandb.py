"""A study in Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.training.services.base import Scalar, StudyLogger, StudyResults


class WandbStudy(StudyLogger):
    """Logger of a study for Weights & Biases.

    W&B would also record the command line, the terminal and the Git repository, which may contain
    secrets: this is switched off.

    Args:
        save_dir: Parent folder of the folder ``wandb``.
        project: Name of the W&B project.
        mode: Whether to send the run (``online``) or to keep it (``offline``).
        options: Further arguments of ``wandb.init``, such as ``name``, ``entity`` or ``tags``.
    """

    def __init__(self, save_dir: str | Path, *, project: str, mode: str, **options: Any):
        super().__init__("wandb", save_dir)
        self._options = {"project": project, "mode": mode, **options}
        self._run: Any = None

    def start(self) -> None:
        """Start the run, before anything is trained.

        Raises:
            wandb.errors.Error: If the server rejects the run.
        """
        import wandb

        settings = wandb.Settings(
            silent=self._options["mode"] == "offline",
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self.save_dir.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            **{
                "dir": str(self.save_dir),
                "id": self.run_id(),
                "resume": "allow",
                "reinit": "create_new",
                "job_type": "study",
                "settings": settings,
                **self._options,
            }
        )
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def send_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Start the run if it has not started, and set its config."""
        if self._run is None:
            self.start()
        self._run.config.update(dict(settings), allow_val_change=True)

    def send_curves(self, values: Mapping[str, float], epoch: int) -> None:
        """Log the values of an epoch."""
        self._run.log({**values, "epoch": epoch})

    def send_results(self, results: StudyResults) -> None:
        """Set the summary, and log the table and the report."""
        import wandb

        self._run.summary.update({"verdict": results.verdict, **results.metrics})
        self._run.summary["conclusion"] = "\n".join(results.sentences)
        table = wandb.Table(columns=list(results.columns), data=[list(row) for row in results.rows])
        self._run.log({"test results": table})
        artifact = wandb.Artifact(f"report-{self._run.id}", type="report")
        artifact.add_file(str(results.report))
        self._run.log_artifact(artifact)

    def end(self, status: str) -> None:
        """End the run."""
        if self._run is not None:
            self._run.finish(exit_code=0 if status == "success" else 1)
            self._run = None
