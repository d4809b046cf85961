"""Lines that mend a teacher of another library, which is no module that others could wrap."""

from collections.abc import Sequence

from torch import nn

from limbeck.models.normalizations import Statistics
from limbeck.teacher.adapter import adapter_of
from limbeck.teacher.estimator import EstimatorTeacher
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.probabilities import FLOOR
from limbeck.teacher.program import ProgramTeacher
from limbeck.teacher.remedies import ModuleRemedies, Remedies, SettingRemedies, rounded

CALLS = (
    (FunctionTeacher, "f({x})"),
    (EstimatorTeacher, f"numpy.log(f.predict_proba({{x}}.flatten(1).numpy()) + {FLOOR:g})"),
    (ProgramTeacher, "f.module()({x})"),
)
"""Expression of the logits that a teacher ``f`` gives for inputs ``x``."""


class AdapterRemedies(Remedies):
    """Lines of Python that put a function around a teacher.

    Args:
        call: Expression of its logits, from :data:`CALLS`.
    """

    switch_off = ModuleRemedies.switch_off

    def __init__(self, call: str):
        self.call = call

    def order(self, columns: Sequence[int], class_names: Sequence[str], outputs: int) -> str:
        """See :meth:`Remedies.order`."""
        return self._line(f"{self.call.format(x='x')}[:, {[int(column) for column in columns]}]")

    def normalization(self, name: str, statistics: Statistics) -> str:
        """See :meth:`Remedies.normalization`."""
        mean, std = map(_tensor, statistics)
        return self._line(self.call.format(x=f"((x - {mean}) / {std})"))

    def probabilities(self) -> str:
        """See :meth:`Remedies.probabilities`."""
        answers = f"torch.as_tensor({self.call.format(x='x')})"
        return self._line(f"{answers}.clamp(min={FLOOR:g}).log()")

    def _line(self, expression: str) -> str:
        return f"teacher = lambda x, f=teacher: {expression}"


def remedies_of(model: nn.Module) -> Remedies:
    """Return the lines that mend a teacher, which a user passed in Python."""
    adapter = adapter_of(model)
    if adapter is None:
        return ModuleRemedies(model)
    for kind, call in CALLS:
        if isinstance(adapter, kind):
            return AdapterRemedies(call)
    return SettingRemedies()  # of an ONNX model, from a file


def _tensor(values: Sequence[float]) -> str:
    """Return a number, or a tensor of numbers, one per channel."""
    numbers = rounded(values)
    if len(numbers) == 1:
        return f"{numbers[0]:g}"
    return f"torch.tensor({numbers}).view(-1, 1, 1)"
