"""What a teacher is worth in bytes: the size at which a student is as good without it."""

import math
from collections.abc import Sequence

from limbeck.evaluation.equal_size import size_for
from limbeck.evaluation.measure import MEASURES, Measure
from limbeck.report.formats import file_size
from limbeck.report.measure_wording import value_text
from limbeck.run.metrics import Metrics
from limbeck.run.search import Search
from limbeck.run.summary import ArmResult, Summary


def worth_in_bytes(search: Search, summary: Summary) -> str:
    """Describe the size at which a control is as good as the distilled student.

    It is that of the mean results, with the smallest and the largest size that single seeds give.
    Empty if the search was not asked for wider controls.

    Args:
        search: Search with a choice.
        summary: Final study of the search.
    """
    winner = search.winner
    arms = {arm.name: arm for arm in summary.arms}
    if winner is None or search.wider_controls is None or not {"control", "distilled"} <= {*arms}:
        return ""
    wider = [control for control in search.wider_controls if control.name in arms]
    if not wider:
        return "Worth of the teacher in bytes: unknown, as no wider control could be trained."
    measure = MEASURES[search.measure]
    sizes = [winner.size, *(control.size for control in wider)]
    controls = [arms["control"], *(arms[control.name] for control in wider)]
    distilled = arms["distilled"]
    target = measure.value(distilled.mean)
    values = _values(measure, [control.mean for control in controls])
    if target is None or values is None:
        return ""
    size = size_for(target, sizes, values)
    goal = f"the {value_text(measure, target)} {measure.unit} of the distilled student"
    if size is None:
        largest = max(sizes)
        answer = (
            f"no control reaches {goal}, not even with {file_size(largest)}, "
            f"{largest / winner.size:.2g} times its size"
        )
    elif size == winner.size:
        answer = f"the control of the same size reaches {goal}"
    else:
        answer = (
            f"a control reaches {goal} at about {file_size(size)}, {size / winner.size:.2g} "
            "times its size"
        )
    points = ", ".join(
        f"{file_size(size)}: {value_text(measure, value)}"
        for size, value in zip(sizes, values, strict=True)
    )
    return (
        f"Worth of the teacher in bytes: {answer}"
        f"{_span(sizes_of_seeds(measure, sizes, controls, distilled), max(sizes))} "
        f"(test {measure.unit} of controls: {points})."
    )


def sizes_of_seeds(
    measure: Measure, sizes: Sequence[float], controls: Sequence[ArmResult], distilled: ArmResult
) -> list[float]:
    """Return the size at which the controls of each seed are as good as its distilled student.

    Args:
        measure: Metric of the study.
        sizes: Size of each control in bytes.
        controls: Controls, one for each size.
        distilled: Arm of the distilled student.

    Returns:
        The size in bytes for each seed that all arms have; infinite if no control is as good.
    """
    tests = [{(seed.seed, seed.split): seed.test for seed in arm.seeds} for arm in controls]
    seed_sizes = []
    for seed in distilled.seeds:
        key = seed.seed, seed.split
        target = measure.value(seed.test)
        values = _values(measure, [test.get(key) for test in tests])
        if target is None or values is None:
            continue
        size = size_for(target, sizes, values)
        seed_sizes.append(math.inf if size is None else size)
    return seed_sizes


def _values(measure: Measure, metrics: Sequence[Metrics | None]) -> list[float] | None:
    """Return the value of each model; None if one has none."""
    values = [None if model is None else measure.value(model) for model in metrics]
    finite = [value for value in values if value is not None]
    return finite if len(finite) == len(values) else None


def _span(sizes: Sequence[float], largest: float) -> str:
    """Describe the sizes of single seeds; empty with fewer than two."""
    if len(sizes) < 2:
        return ""
    low, high = (
        f"more than {file_size(largest)}" if math.isinf(size) else file_size(size)
        for size in (min(sizes), max(sizes))
    )
    span = low if low == high else f"{low} to {high}"
    return f"; by each seed alone: {span}"
