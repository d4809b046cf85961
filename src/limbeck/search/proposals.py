"""Proposals of students by Optuna: asked for in rounds, told from the results so far.

Every round begins with a study that is told all earlier results, and its sampler has the seed of
the round. The proposals are thus a function of the results alone, so that a search that was killed
goes on to the same ones.
"""

import copy
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from limbeck.run.search import Trial, value_of
from limbeck.search.pruning import cost_of
from limbeck.search.space import Parameter, SearchSpace

WIDTH_STEP = 1.15
"""Ratio of two widths of which the smaller is near enough to the widest within the budget."""
MAX_REFUSALS = 30
"""Number of proposals over the budget, one after the other, after which a round takes none."""

Variants = Callable[[Trial], int]
"""Function from a trial to the number of students of its architecture in a round."""
Evaluate = Callable[[int, dict[str, Any]], Trial]
"""Function from the number and the settings of a proposal to its trial, with its state."""


class MemoryBackend(BaseJournalBackend):
    """Journal of Optuna in memory.

    Attributes:
        logs: Entries of the journal.
    """

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the entries from a number on."""
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries."""
        self.logs += copy.deepcopy(logs)

    def text(self) -> str:
        """Return the journal as the file that ``optuna.storages.journal`` reads."""
        lines = [json.dumps(log, separators=(",", ":")) for log in self.logs]
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class Proposer:
    """Proposer of students in rounds.

    Attributes:
        space: Search space.
        students: Kinds of students.
        training: Numbers to choose for the training of a student.
        goal: Largest result that suffices; None for as small a result as possible.
        worst: Result that stands for those of students without one, as long as no other is worse.
    """

    space: SearchSpace
    students: Sequence[str]
    training: Sequence[Parameter]
    worst: float
    goal: float | None = None

    def propose(
        self,
        trials: Sequence[Trial],
        round_number: int,
        count: int,
        evaluate: Evaluate,
        variants_of: Variants,
    ) -> list[Trial]:
        """Propose the students of a round.

        The proposal after one over the budget is, if there is one, a narrower student of the same
        kind within it.

        Args:
            trials: Trials of all earlier rounds.
            round_number: Number of the round.
            count: Maximum number of students to train.
            evaluate: Function that measures a proposal and says whether it is within the budget.
            variants_of: Function that says how many students of an architecture to train.

        Returns:
            The trials of the round, those over the budget included.
        """
        study = self._study(trials, MemoryBackend(), round_number)
        proposals: list[Trial] = []
        waiting = refusals = 0

        def add() -> bool:
            """Add a proposal and its variants; returns whether it is within the budget."""
            nonlocal waiting
            proposal, settings = self._ask(study)
            trial = evaluate(len(trials) + len(proposals), settings)
            proposals.append(trial)
            if trial.state != "waiting":
                self._tell(study, proposal, trial, self._worst(trials))
                if width := self._width_within(trial, evaluate):
                    study.enqueue_trial(self._fixed({**settings, "width": width}))
                return False
            waiting += 1
            for _ in range(min(variants_of(trial) - 1, count - waiting)):
                study.enqueue_trial(self._fixed(settings))
                _, settings = self._ask(study)
                proposals.append(evaluate(len(trials) + len(proposals), settings))
                waiting += 1
            return True

        while waiting < count and refusals < MAX_REFUSALS:
            refusals = 0 if add() else refusals + 1
        if not waiting:
            for architecture in self._safe_architectures(trials):
                if waiting < count:
                    study.enqueue_trial(architecture)
                    add()
        return proposals

    def _safe_architectures(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        """Return architectures for a round without a proposal within the budget.

        They are the best ones so far; without any, the cheapest student of each kind.
        """
        results = sorted(
            (trial for trial in trials if trial.value is not None),
            key=lambda trial: (value_of(trial), trial.number),
        )
        settings = [dict(trial.settings) for trial in results]
        if not settings:
            settings = [self.space.cheapest(student) for student in self.students]
        architectures: list[dict[str, Any]] = []
        for entry in settings:
            architecture = self._fixed(entry)
            if architecture not in architectures:
                architectures.append(architecture)
        return architectures if not results else architectures[: self.space.architectures]

    def journal(self, trials: Sequence[Trial]) -> str:
        """Return the journal of a study with all results, for the tools of Optuna."""
        backend = MemoryBackend()
        self._study(trials, backend, 0)
        return backend.text()

    def _study(
        self, trials: Sequence[Trial], backend: MemoryBackend, round_number: int
    ) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # integers below 2^32, of which no two rounds of a search share one
        seed = (self.space.seed * 100_003 + round_number) % (1 << 32)
        study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name="limbeck",
            directions=["minimize", "minimize"],
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
        study.set_user_attr("objectives", ["cost", "validation"])
        worst = self._worst(trials)
        study.add_trials([self._frozen(trial, worst) for trial in trials])
        return study

    def _ask(self, study: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
        """Return the next proposal and its settings."""
        proposal = study.ask()
        student = proposal.suggest_categorical("student", list(self.students))
        settings: dict[str, Any] = {"student": student}
        for parameter in self.space.parameters_of_student(student):
            settings[parameter.name] = _suggest(proposal, f"{student}.{parameter.name}", parameter)
        for parameter in self.training:
            settings[parameter.name] = _suggest(proposal, parameter.name, parameter)
        return proposal, settings

    def _worst(self, trials: Sequence[Trial]) -> float:
        """Return a result that is no better than that of any trial."""
        return max([self.worst, *(r for trial in trials if (r := _result(trial)) is not None)])

    def _tell(
        self, study: optuna.Study, proposal: optuna.Trial, trial: Trial, worst: float
    ) -> None:
        for name, excess in self._constraints(trial, worst).items():
            proposal.set_constraint(name, excess)
        study.tell(proposal, [cost_of(trial.share, self.goal), worst])

    def _constraints(self, trial: Trial, result: float) -> dict[str, float]:
        """Return how far a student is over each limit; 0 if it is within.

        Students over the goal of errors are as useless as those over the budget of the device, so
        that the search looks for small ones among the others.
        """
        if self.goal is None:
            return {"budget": _excess(trial)}
        errors = max(result - self.goal, 0.0) / max(self.goal, 1.0)
        return {"budget": _excess(trial), "errors": errors}

    def _fixed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of an architecture, for proposals that have no other."""
        student = settings["student"]
        architecture = {"student": student}
        for parameter in self.space.parameters_of_student(student):
            architecture[f"{student}.{parameter.name}"] = settings[parameter.name]
        return architecture

    def _width_within(self, trial: Trial, evaluate: Evaluate) -> int | None:
        """Return nearly the largest width with which a student over the budget would be within it.

        None if there is none, or the student has no width.
        """
        student, high = trial.settings["student"], trial.settings.get("width")
        if trial.state != "over budget" or high is None:
            return None
        widths = {
            parameter.name: parameter for parameter in self.space.parameters_of_student(student)
        }
        low = int(widths["width"].low)

        def fits(width: int) -> bool:
            return evaluate(trial.number, {**trial.settings, "width": width}).state == "waiting"

        if low >= high or not fits(low):
            return None
        while high > low + 1 and high > WIDTH_STEP * low:
            middle = round(math.sqrt(low * high))
            if fits(middle):
                low = middle
            else:
                high = middle
        return low

    def _frozen(self, trial: Trial, worst: float) -> optuna.trial.FrozenTrial:
        """Return a trial of an earlier round as Optuna sees it."""
        student = trial.settings["student"]
        params: dict[str, Any] = {"student": student}
        distributions: dict[str, BaseDistribution] = {
            "student": CategoricalDistribution(list(self.students))
        }
        for parameter in self.space.parameters_of_student(student):
            name = f"{student}.{parameter.name}"
            params[name] = trial.settings[parameter.name]
            distributions[name] = _distribution(parameter)
        for parameter in self.training:
            params[parameter.name] = trial.settings[parameter.name]
            distributions[parameter.name] = _distribution(parameter)
        own_result = _result(trial)
        result = worst if own_result is None else own_result
        return optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            values=[cost_of(trial.share, self.goal), result],
            params=params,
            distributions=distributions,
            constraints=self._constraints(trial, result),
            user_attrs={"architecture": trial.architecture, "state": trial.state},
        )


def _result(trial: Trial) -> float | None:
    """Return the result of a student, if need be that of its short training."""
    return trial.short_value if trial.value is None else trial.value


def _excess(trial: Trial) -> float:
    """Return how far a student is over the budget; 0 if it is within.

    Without limits of the device, a share is a size, and nothing is over the budget.
    """
    return trial.share - 1 if trial.state == "over budget" else 0.0


def _suggest(proposal: optuna.Trial, name: str, parameter: Parameter) -> float:
    if parameter.is_whole:
        low, high = int(parameter.low), int(parameter.high)
        return proposal.suggest_int(name, low, high, log=parameter.is_log)
    return proposal.suggest_float(name, parameter.low, parameter.high, log=parameter.is_log)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.is_whole:
        low, high = int(parameter.low), int(parameter.high)
        return IntDistribution(low, high, log=parameter.is_log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.is_log)
