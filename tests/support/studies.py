"""Studies from flat options, so that tests need not sort them into groups."""

from dataclasses import fields
from typing import Any

from limbeck import RunOptions, Schedule, Study

SCHEDULE = {item.name for item in fields(Schedule)}
OPTIONS = {item.name for item in fields(RunOptions)}


def make_study(data: Any, arms: Any, out: Any, **settings: Any) -> Study:
    """A silent study; settings may be arguments of the study, its schedule and its options."""
    settings.setdefault("progress", False)
    schedule = {key: settings.pop(key) for key in SCHEDULE & settings.keys()}
    options = {key: settings.pop(key) for key in OPTIONS & settings.keys()}
    return Study(
        data,
        arms,
        out=out,
        schedule=Schedule(**schedule),
        options=RunOptions(**options),
        **settings,
    )
