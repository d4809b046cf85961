"""Teacher, control and student of a finished run, side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.deploy.choose import choose_student
from limbeck.models import load_model
from limbeck.run.folder import RunFolder
from limbeck.teacher.signal import LiveTeacher

Answer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shown:
    """A model of a run.

    Attributes:
        role: ``teacher``, ``control`` or ``student``.
        name: of the arm.
        about: architecture, size and test errors.
        answer: logits ``[N, classes]`` of inputs ``[N, ...]`` as a model sees them; of text ``[N,
            t, V]``.
    """

    role: str
    name: str
    about: str
    answer: Answer


def shown_models(
    run: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    combine: str = "probabilities",
    build: Callable[[str], Any] | None = None,
) -> list[Shown]:
    """Teacher, control and student of a run: the best distilled student on validation unless
    another is named.

    Raises:
        ConfigError: there is no such student.
    """
    folder = RunFolder(run)
    summary = folder.read_summary()
    arm, seed = choose_student(summary, arm, seed)
    entries = {entry["name"]: entry for entry in summary["arms"]}
    control = next((c["control"] for c in summary["comparisons"] if c["arm"] == arm), None)
    shown = []
    if summary["teacher"] is not None:
        teacher = LiveTeacher(
            [load_model(place).model for place in folder.teachers()], combine=combine
        )
        entry = summary["teacher"]
        shown.append(
            Shown(
                "teacher",
                "teacher",
                _about(entry["name"], entry["params"], entry["test"]),
                teacher.answer,
            )
        )
    for role, name in (("control", control), ("student", arm)):
        if name is None:
            continue
        model = load_model(
            folder.student(name, seed), None if build is None else _builder(build, name)
        ).model
        test = next(found["test"] for found in entries[name]["seeds"] if found["seed"] == seed)
        about = _about(entries[name]["student"], entries[name]["params"], test)
        shown.append(Shown(role, name, about, LiveTeacher(model).answer))
    return shown


def _builder(build: Callable[[str], Any], name: str) -> Callable[[], Any]:
    return lambda: build(name)


def _about(kind: str, params: int, test: Mapping[str, Any]) -> str:
    if "bits_per_byte" in test:
        return f"{kind}, {params:,} parameters, {test['bits_per_byte']:.3f} bits per byte"
    return f"{kind}, {params:,} parameters, {test['errors']:,} test errors"
