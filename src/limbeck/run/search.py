"""The search for a student: ``search.json`` as records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from limbeck._base.checks import MAX_SEEDS
from limbeck._base.errors import UntrustedFileError
from limbeck._base.files import write_json
from limbeck.run.folder import RunFolder
from limbeck.run.records import from_json, optional, to_json
from limbeck.run.summary import MeasureKey

SCHEMA = 1
LIMITS, PRECISIONS = {"size", "latency", "memory", "errors"}, {"fp32", "int8"}
TrialState = Literal["waiting", "pruned", "trained", "failed", "over budget", "too costly"]
UNTRAINED: tuple[TrialState, ...] = ("over budget", "too costly")
"""States of proposals that are never trained."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A student that the search has proposed.

    Attributes:
        number: Number of the proposal, from 0.
        round: Number of the round in which it is trained, from 0.
        settings: Settings: ``student``, ``width``, ``depth``, ``stride``, ``temperature``,
            ``soft_weight`` and ``lr``, as far as the student has them.
        architecture: Name of the architecture.
        params: Number of parameters.
        macs: Multiply-adds for one input; None if it was not counted.
        size: Size of the exported model in bytes; a lower bound if it is over the budget.
        latency: Median time for one input in milliseconds; None if it was not measured.
        is_predicted: Whether the latency is that of a latency model, which shows that the student
            is over the budget.
        memory: Peak memory in bytes; None if it was not measured.
        share: Largest share of a limit of the budget, at most 1 within the budget.
        state: ``waiting`` to be trained, ``pruned`` after a short training, ``trained``,
            ``failed``, ``over budget``, or ``too costly`` if a student that needs no more meets the
            goal of errors.
        value: Result on the validation split; None if it was not trained to the end.
        short_value: Result on the validation split after the short training; None without one.
    """

    number: int
    round: int
    settings: Mapping[str, Any]
    architecture: str = ""
    params: int
    macs: float | None = None
    size: float
    latency: float | None = None
    is_predicted: bool = False
    memory: float | None = None
    share: float
    state: TrialState
    value: float | None = None
    short_value: float | None = None

    @property
    def name(self) -> str:
        """Name of the student in the search."""
        return f"trial{self.number}"


@dataclass(frozen=True, kw_only=True)
class WiderControl:
    """A control of the final study that is wider than the chosen student.

    Attributes:
        width: Width, as in the settings of a trial.
        architecture: Name of the architecture.
        params: Number of parameters.
        size: Size of the exported model in bytes.
    """

    width: int
    architecture: str
    params: int
    size: float

    @property
    def name(self) -> str:
        """Name of its arm, as in a sweep of widths."""
        return f"control,width={self.width}"


@dataclass(frozen=True, kw_only=True)
class Search:
    """The content of ``search.json``.

    Attributes:
        schema: Version of the file format.
        measure: Key of what is counted on the validation split.
        validation: Number of validation samples.
        limits: Limits of the budget: ``size`` and ``memory`` in bytes, ``latency`` in milliseconds,
            and ``errors`` on the validation split.
        precision: Number format in which size, latency and memory were measured.
        device: Name of the device of the latency; None for this machine.
        device_factor: Time that the device takes for what takes 1 here; None for this machine.
        seed: Seed of the students of the search. The final students have others.
        seconds: Duration of the search in seconds, without the teacher's answers.
        trials: Proposals in their order.
        choice: Number of the chosen trial; None as long as the search goes on.
        wider_controls: Controls that are wider than the chosen student; None without any.
    """

    schema: int = SCHEMA
    measure: MeasureKey
    validation: int
    limits: Mapping[str, float]
    precision: str = "fp32"
    device: str | None = None
    device_factor: float | None = None
    seed: int
    seconds: float = 0.0
    trials: tuple[Trial, ...] = field(default_factory=tuple)
    choice: int | None = None
    wider_controls: tuple[WiderControl, ...] | None = optional()

    @property
    def winner(self) -> Trial | None:
        """The chosen trial; None as long as the search goes on."""
        return None if self.choice is None else self.trials[self.choice]

    @property
    def results(self) -> list[Trial]:
        """The trials that were trained to the end, with a result on the validation split."""
        return [trial for trial in self.trials if trial.state == "trained"]

    @property
    def number_trained(self) -> int:
        """Number of students that were trained, if only briefly, or whose training failed."""
        states = ("trained", "pruned", "failed")
        return sum(trial.state in states and trial.params > 0 for trial in self.trials)

    def number_of(self, *states: TrialState) -> int:
        """Return the number of trials in one of some states."""
        return sum(trial.state in states for trial in self.trials)

    def front(self) -> list[Trial]:
        """Return the Pareto front: no other trial is both cheaper and better, cheapest first."""
        front: list[Trial] = []
        for trial in sorted(self.results, key=_cost_and_value):
            if not front or value_of(trial) < value_of(front[-1]):
                front.append(trial)
        return front


def value_of(trial: Trial) -> float:
    """Return the result of a trained student on the validation split."""
    assert trial.value is not None
    return trial.value


def _cost_and_value(trial: Trial) -> tuple[float, float, int]:
    return trial.share, value_of(trial), trial.number


def write_search(folder: RunFolder, search: Search) -> None:
    """Write ``search.json`` of a run."""
    write_json(folder.search, to_json(search))


def read_search(folder: RunFolder) -> Search | None:
    """Read ``search.json`` of a run; None for a run without a search.

    Raises:
        UntrustedFileError: If the file is damaged.
    """
    if not folder.search.is_file():
        return None
    where = str(folder.search)
    search = from_json(Search, folder.read_json(folder.search), where=where)
    if search.schema != SCHEMA:
        raise UntrustedFileError(f"{where}: schema should be {SCHEMA}, found {search.schema}.")
    for number, trial in enumerate(search.trials):
        _check_trial(trial, number, where)
    numbers = [*search.limits.values(), search.seconds]
    is_sound = all(isfinite(value) and value >= 0 for value in numbers)
    is_sound = is_sound and 0 <= search.seed <= MAX_SEEDS
    is_known = search.limits.keys() <= LIMITS and search.precision in PRECISIONS
    if not (is_sound and is_known) or search.validation < 1:
        raise UntrustedFileError(f"{where} has limits or numbers that no search writes.")
    factor = search.device_factor
    if (factor is None) != (search.device is None) or not (factor is None or 0 < factor < 1e9):
        raise UntrustedFileError(f"{where}: device_factor={factor} is not that of a device.")
    if search.choice is not None:
        is_trial = 0 <= search.choice < len(search.trials)
        if not is_trial or search.trials[search.choice].state != "trained":
            raise UntrustedFileError(f"{where}: choice={search.choice} is no trained student.")
    for control in search.wider_controls or ():
        is_sound = isfinite(control.size) and control.size > 0
        if not is_sound or control.width < 1 or search.choice is None:
            raise UntrustedFileError(f"{where}: wider_controls has a student that no search has.")
    return search


def _check_trial(trial: Trial, number: int, where: str) -> None:
    place = f"{where}: trials[{number}]"
    if trial.number != number or trial.round < 0:
        raise UntrustedFileError(f"{place}: number should be {number}, found {trial.number}.")
    if not isinstance(trial.settings.get("student"), str):
        raise UntrustedFileError(f"{place}: settings.student should be the name of a student.")
    for name, value in trial.settings.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name != "student" and not (is_number and isfinite(value)):
            raise UntrustedFileError(f"{place}: settings.{name} should be a number.")
    numbers = [trial.share, trial.size, trial.params, trial.value, trial.latency, trial.memory]
    numbers.append(trial.short_value)
    if not all(value is None or (isfinite(value) and value >= 0) for value in numbers):
        raise UntrustedFileError(f"{place} has a number that is negative or not finite.")
    if trial.params < 1 and trial.state != "failed":
        raise UntrustedFileError(f"{place}: a student without parameters cannot be trained.")
    if (trial.state == "trained") != (trial.value is not None):
        raise UntrustedFileError(f"{place}: a student has a value if it is trained, and only then.")
    if trial.state == "pruned" and trial.short_value is None:
        raise UntrustedFileError(f"{place}: a student is pruned after a short training only.")
