"""The logger of a training in another process."""

from collections.abc import Mapping
from typing import Any

from lightning_fabric.loggers import Logger


class MetricsRelay(Logger):
    """Lightning logger that collects metrics for the loggers on the machine of the study.

    Args:
        rows: List to which each row is added.
    """

    def __init__(self, rows: list[tuple[dict[str, float], int | None]]):
        super().__init__()
        self.rows = rows

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "relay"

    @property
    def version(self) -> int:
        """Version of the logger."""
        return 0

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Collect a row."""
        row = {name: float(value) for name, value in metrics.items()}
        self.rows.append((row, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log no settings: the study logs them."""
