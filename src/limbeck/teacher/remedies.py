"""Lines that mend a teacher, as settings or in Python."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import nn

from limbeck.models.normalizations import Statistics
from limbeck.models.normalized import without_normalization
from limbeck.teacher.class_names import names_setting

MAX_NAMES = 200
"""Largest number of outputs whose names a line lists."""


class Remedies(ABC):
    """The lines that mend what an examination finds, in the words of the user's interface."""

    switch_off: str
    """Sentence that says how to go on without an examination."""

    @abstractmethod
    def order(self, columns: Sequence[int], class_names: Sequence[str], outputs: int) -> str:
        """Return the line that sets the order of the classes.

        Args:
            columns: Number of the output of each class.
            class_names: Names of the classes.
            outputs: Number of outputs.
        """

    @abstractmethod
    def normalization(self, name: str, statistics: Statistics) -> str:
        """Return the line that sets the normalisation of the inputs."""

    @abstractmethod
    def probabilities(self) -> str:
        """Return the line that says that the outputs are probabilities."""


class SettingRemedies(Remedies):
    """Settings of the command line, for a teacher that is loaded from files."""

    switch_off = "If you know better, go on with teacher.check=false."

    def order(self, columns: Sequence[int], class_names: Sequence[str], outputs: int) -> str:
        """See :meth:`Remedies.order`."""
        names: list[str | None] = [None] * outputs
        for name, column in zip(class_names, columns, strict=True):
            names[column] = name
        if outputs > MAX_NAMES:
            first = ", ".join(str(name) for name in names[:5])
            return f"teacher.map=FILE, a file with the name of each output on a line: {first} ..."
        return names_setting(names)

    def normalization(self, name: str, statistics: Statistics) -> str:
        """See :meth:`Remedies.normalization`."""
        return f"teacher.normalization={name}"

    def probabilities(self) -> str:
        """See :meth:`Remedies.probabilities`."""
        return "teacher.outputs=probabilities"


class AnswersRemedies(SettingRemedies):
    """Advice about a file of answers."""

    def order(self, columns: Sequence[int], class_names: Sequence[str], outputs: int) -> str:
        """See :meth:`Remedies.order`."""
        names = [""] * outputs
        for name, column in zip(class_names, columns, strict=True):
            names[column] = name
        order = ", ".join(names[:MAX_NAMES])
        return f"name the columns of the file after their classes, in this order: {order}"


class ModuleRemedies(Remedies):
    """Lines of Python, for a teacher that is passed as a module."""

    switch_off = "If you know better, go on with RunOptions(check_teacher=False)."

    def __init__(self, model: nn.Module):
        self.inner = "teacher" if without_normalization(model) is model else "teacher.net"

    def order(self, columns: Sequence[int], class_names: Sequence[str], outputs: int) -> str:
        """See :meth:`Remedies.order`."""
        numbers = [int(column) for column in columns]
        text = str(numbers)
        if outputs > MAX_NAMES:
            text = f"[{', '.join(map(str, numbers[:5]))}, ...]"
        return f"teacher = limbeck.models.OutputMap(teacher, {text})"

    def normalization(self, name: str, statistics: Statistics) -> str:
        """See :meth:`Remedies.normalization`."""
        mean, std = map(rounded, statistics)
        return f"teacher = limbeck.models.Normalized({self.inner}, mean={mean}, std={std})"

    def probabilities(self) -> str:
        """See :meth:`Remedies.probabilities`."""
        return (
            "remove the softmax at the end of the teacher, or teacher = limbeck.models.OutputMap("
            "teacher, range(classes), probabilities=True)"
        )


def rounded(values: Sequence[float]) -> list[float]:
    """Return numbers with four digits."""
    return [float(f"{value:.4g}") for value in values]
