"""Controls that are wider than the chosen student: the size at which no teacher is needed."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.run.search import Search, WiderControl
from limbeck.search.budget import Budget
from limbeck.search.needs import NeedsMeter
from limbeck.search.space import MAX_WIDTH
from limbeck.study.arms import ArmPlan

if TYPE_CHECKING:
    from limbeck.search.study import SearchStudy

MAX_FACTOR = 100.0


def check_factors(value: Any) -> tuple[float, ...]:
    """Check the widths of the controls, in widths of the chosen student.

    Raises:
        ConfigError: If they are not different numbers above 1.
    """
    factors = [value] if isinstance(value, int | float) else value
    is_list = isinstance(factors, Sequence) and not isinstance(factors, str)
    if not is_list or not all(_is_factor(factor) for factor in factors):
        raise ConfigError(
            f"wider_controls={value!r} should be a list of numbers above 1, up to "
            f"{MAX_FACTOR:g}: how many times as wide as the chosen student a control is, as in "
            "wider_controls=[2,3]."
        )
    if len(set(factors)) < len(factors):
        raise ConfigError(f"wider_controls={value!r} should have each number once.")
    return tuple(sorted(float(factor) for factor in factors))


def measure_wider_controls(study: "SearchStudy", search: Search) -> tuple[WiderControl, ...]:
    """Return the wider controls of the chosen student, each with the size of its exported model.

    Those that differ from another one by rounding alone are left out, as are those, with a message,
    that cannot be built, exported, or as wide as asked for.

    Args:
        study: Study of the search.
        search: Search with a choice.
    """
    winner = search.winner
    assert winner is not None
    meter = NeedsMeter(study.data, Budget(errors=0.0, precision=study.search.budget.precision))
    factors = study.search.wider_controls
    controls: list[WiderControl] = []
    widths = {winner.settings["width"]}
    with study.progress.stage("measuring wider controls", len(factors)) as advance:
        for number, factor in enumerate(factors):
            width = round(winner.settings["width"] * factor)
            advance(number + 1)
            if width in widths:
                continue
            widths.add(width)
            settings = {**winner.settings, "width": width}
            try:
                if width > MAX_WIDTH:
                    raise ConfigError(f"its width would be {width:,}, above {MAX_WIDTH:,}.")
                candidate = meter.measure(settings, study.builder(settings))
            except (ConfigError, ResourceError) as error:
                study.progress.say(
                    f"The control of {factor:g} times the width is left out: {error}"
                )
                continue
            controls.append(
                WiderControl(
                    width=width,
                    architecture=candidate.architecture,
                    params=candidate.params,
                    size=candidate.needs.size or 0.0,
                )
            )
    return tuple(controls)


def plans_of_wider_controls(
    study: "SearchStudy", search: Search, control: ArmPlan
) -> list[ArmPlan]:
    """Return the arms of the wider controls: the control of the study with other students.

    Args:
        study: Study of the search.
        search: Search with a choice.
        control: Control with the chosen student.
    """
    winner = search.winner
    assert winner is not None
    return [
        replace(
            control,
            name=wider.name,
            student=study.builder({**winner.settings, "width": wider.width}),
            is_reference=True,
        )
        for wider in search.wider_controls or ()
    ]


def _is_factor(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 1 < value <= MAX_FACTOR
