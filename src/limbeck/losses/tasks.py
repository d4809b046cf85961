"""Kinds of target: what a model predicts, and the losses and the metric that belong to it.

A dataset names its kind (``Dataset.task``); losses, metrics, report, export and ``limbeck predict``
read the properties of its :class:`Task`. This module does not import torch.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from limbeck._base.errors import ConfigError
from limbeck._base.scope import refusal_of
from limbeck.run.summary import MeasureKey

Outputs: TypeAlias = Literal["classes", "values", "labels", "vectors"]
"""Kind of the outputs of a model: logits of classes, values, a logit for each label, or vectors."""


@dataclass(frozen=True)
class Task:
    """A kind of target.

    Attributes:
        name: Value of ``Dataset.task``.
        description: Description for messages, after "for".
        outputs: Kind of the outputs of a model.
        hard: Name of the default hard loss.
        soft: Name of the default soft loss.
        measure: Metric by which a study is judged.
    """

    name: str
    description: str
    outputs: Outputs = "classes"
    hard: str = "cross_entropy"
    soft: str = "kl"
    measure: MeasureKey = "errors"

    @property
    def has_classes(self) -> bool:
        """Whether the outputs are logits of classes, of which one is the label."""
        return self.outputs == "classes"

    @property
    def has_temperature(self) -> bool:
        """Whether the outputs are logits, which a temperature softens."""
        return self.outputs in ("classes", "labels")


_ENTRIES = (
    Task("classes", "classification"),
    Task("ordinal", "classification"),
    Task("next_token", "text", measure="bits_per_byte"),
    Task(
        "regression",
        "regression",
        outputs="values",
        hard="mse",
        soft="mse",
        measure="squared_error",
    ),
    Task(
        "multi_label",
        "several labels per sample",
        outputs="labels",
        hard="binary_cross_entropy",
        soft="binary_kl",
        measure="label_errors",
    ),
    Task(
        "embedding",
        "embeddings",
        outputs="vectors",
        hard="contrastive",
        soft="cosine_distance",
        measure="missed_neighbours",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ENTRIES}
"""Every kind of target by its name."""


def check_task(value: object, *, ordinal: bool = False) -> str:
    """Check the name of a kind of target, and return it.

    Args:
        value: Value of ``data.task``.
        ordinal: Whether another setting says that the classes are grades.

    Raises:
        ConfigError: If it is unknown, or the two settings contradict each other.
    """
    if not isinstance(value, str) or value not in TASKS:
        sentence = f"{refusal_of(value)} ".lstrip()
        raise ConfigError(
            f"data.task={value!r} is unknown. {sentence}Choose one of {', '.join(TASKS)}."
        )
    if not ordinal:
        return value
    if value not in ("classes", "ordinal"):
        raise ConfigError(f"data.ordinal=true is for classes, but data.task={value}. Set one.")
    return "ordinal"
