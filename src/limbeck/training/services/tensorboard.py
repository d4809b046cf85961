"""A study in TensorBoard: curves, hyperparameters with the test results, and the verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers import TensorBoardLogger

from limbeck.training.services.base import Scalar, StudyLogger, StudyResults


class TensorBoardStudy(StudyLogger):
    """Logger of a study for TensorBoard.

    Args:
        save_dir: Folder of the logs.
        options: Further arguments of Fabric's ``TensorBoardLogger``, such as ``name``.
    """

    def __init__(self, save_dir: str | Path, **options: Any):
        super().__init__("tensorboard", save_dir)
        self._logger = TensorBoardLogger(save_dir, **{"default_hp_metric": False, **options})
        self._settings: dict[str, Scalar] = {}

    def send_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Keep the settings: TensorBoard takes them together with the results."""
        self._settings = dict(settings)

    def send_curves(self, values: Mapping[str, float], epoch: int) -> None:
        """Write a scalar for each value."""
        self._logger.log_metrics(values, step=epoch)

    def send_results(self, results: StudyResults) -> None:
        """Write hyperparameters, test results, verdict and the path of the report."""
        self._logger.log_hyperparams(self._settings, dict(results.metrics), step=0)
        text = f"{results.markdown()}\n\nReport: `{results.report}`"
        self._logger.experiment.add_text("verdict", text, 0)

    def finalize(self, status: str) -> None:
        """Write what is still in memory: a cohort has ended."""
        self._attempt(self._logger.finalize, status)

    def end(self, status: str) -> None:
        """Close the file."""
        self._logger.finalize(status)
