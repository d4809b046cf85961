"""One stage of an export, compared with the stage before it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of the export, compared with the stage before it.

    Attributes:
        name: Name of the stage.
        errors: Number of errors on the test split.
        max_difference: Largest absolute difference between logits and reference.
        class_changes: Number of samples whose top class changed. Where no class may change, near
            ties are not counted.
        failures: Reasons why the stage fails, empty if it passes.
        squared_error: Mean squared error on the test split, of a regression, whose differences are
            in standard deviations of the targets; None for others.
        predictions: Number of predictions that may be errors, if a sample has several labels.
        missed_neighbours: Mean number of the 10 nearest test texts of the stage before that this
            one misses, of embeddings; None for others.
    """

    name: str
    errors: int
    max_difference: float
    class_changes: int
    failures: tuple[str, ...] = ()
    squared_error: float | None = None
    predictions: int | None = None
    missed_neighbours: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the model may be written."""
        return not self.failures
