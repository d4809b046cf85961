"""The rounds of a search."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import UntrustedFileError
from limbeck._base.files import write_text
from limbeck._base.signals import check_interrupt
from limbeck.data.resampling import ResampledSplits
from limbeck.report.search import describe_round
from limbeck.run.manifest import ManifestWriter
from limbeck.run.search import UNTRAINED, Search, Trial, write_search
from limbeck.search.pruning import lowest_sufficient_share, prune, revive, short_epochs
from limbeck.search.trainer import TrialTrainer, Values, search_cohorts
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cohorts import can_stack, plan_cohorts
from limbeck.study.pools import TransferPools
from limbeck.study.teacher_scores import Teachers
from limbeck.teacher.signal import LiveTeacher

if TYPE_CHECKING:
    from limbeck.search.study import SearchStudy

REPEATS = 10
"""Number of rounds of a usual search, each of which reads the teacher's answers."""


class Rounds:
    """The rounds of a search: propose, measure, train, score on the validation split, write.

    All students of a round have a short training first, and those that it prunes have no other.
    ``search.json`` holds the proposals of a round before it is trained, and the result of each
    cohort as soon as it has one, so that a search that was killed goes on where it was.

    Args:
        study: Study whose student is searched for.
        search: Search as far as it has gone.
        manifest: Manifest of the run.
        teachers: Teacher of each training and validation split.
    """

    def __init__(
        self, study: "SearchStudy", search: Search, manifest: ManifestWriter, teachers: Teachers
    ):
        from limbeck.search.proposals import Proposer

        self.study, self.search, self.manifest = study, search, manifest
        self.settings = study.search
        data = study.data.without_test()
        splits = ResampledSplits(data, [search.seed])
        source = study.distilled.transfer.source
        pools = TransferPools(
            splits, [] if source is None else [source], study.run_folder, study.progress
        )
        first = teachers[0]
        pools.teacher = first if isinstance(first, LiveTeacher) else None
        pools.device = study.engine.device
        worst = float(len(data.val)) if data.kind.has_classes else 0.0
        self.proposer = Proposer(
            self.settings.space,
            study.kinds,
            study.parameters(),
            worst,
            goal=self.settings.budget.errors,
        )
        epochs = study.distilled.epochs
        self.trainer = TrialTrainer(
            data=data,
            run=study.run_folder,
            manifest=manifest,
            engine=study.engine,
            pools=pools,
            store=study.store,
            teachers=teachers[:1],
            cohorts=[],
            batch_size=study.schedule.batch_size,
            repeats=REPEATS,
            epochs=epochs,
        )
        self.short_epochs = short_epochs(epochs) if self.settings.space.pruning else None
        self._check_trials()
        self.meter = study.new_meter(search.trials)
        self._start = self._clock()

    def run(self) -> Search:
        """Run rounds until the search is over."""
        seconds_per_student = 0.0
        while True:
            waiting = [trial for trial in self.search.trials if trial.state == "waiting"]
            if not waiting:
                size = self._size_of_round(seconds_per_student)
                if not size or not self._propose(size):
                    if self.search.results or not self.search.number_of("pruned"):
                        break
                    self._write(replace(self.search, trials=revive(self.search.trials)))
                continue
            before = self.search.seconds
            number = min(trial.round for trial in waiting)
            self._train(number)
            students = len(self._students(number))
            seconds_per_student = (self.search.seconds - before) / max(students, 1)
        return self.search

    def remove_files(self) -> None:
        """Remove logs and checkpoints of students of the search.

        A cohort removes its own; a process that was killed may have left some behind, which would
        be taken for those of the study.
        """
        run = self.study.run_folder
        for folder in (run.checkpoints, run.logs):
            for leftover in folder.glob("round*cohort*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def _check_trials(self) -> None:
        """Check that the trials of an earlier process are those of this search space.

        Raises:
            UntrustedFileError: If they are not.
        """
        try:
            self.proposer.journal(self.search.trials)
        except KeyError as error:
            reason = f"a trial has no {error}"
        except ValueError as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
        else:
            return
        raise UntrustedFileError(
            f"{self.study.run_folder.search} is damaged, or of another search: {reason}. "
            "Repeat the search with overwrite=true."
        )

    def _size_of_round(self, seconds_per_student: float) -> int:
        """Return the number of students of the next round; 0 if the search is over."""
        space, search = self.settings.space, self.search
        trials = len(search.trials) - search.number_of(*UNTRAINED)
        largest = space.variants * space.architectures
        return self.settings.size_of_round(largest, trials, search.seconds, seconds_per_student)

    def _propose(self, size: int) -> bool:
        """Propose the students of the next round; return whether one is within the budget."""
        trials = self.search.trials
        number = max((trial.round for trial in trials), default=-1) + 1
        space = self.settings.space
        study, meter = self.study, self.meter
        sufficient_share = lowest_sufficient_share(trials, self.settings.budget.errors)

        def variants_of(trial: Trial) -> int:
            builder = study.plan_of(trial, study.distilled).student
            return space.variants if can_stack(builder, study.data, space.variants) else 1

        def evaluate(trial: int, settings: dict[str, Any]) -> Trial:
            check_interrupt()
            proposal = study.trial_of(meter, trial, settings, number)
            is_needless = proposal.state == "waiting" and proposal.share >= sufficient_share
            return replace(proposal, state="too costly") if is_needless else proposal

        with study.progress.stage(f"round {number + 1}: measuring students", 1.0) as advance:
            proposals = self.proposer.propose(trials, number, size, evaluate, variants_of)
            advance(1.0)
        self._write(replace(self.search, trials=(*trials, *proposals)))
        return any(trial.state == "waiting" for trial in proposals)

    def _train(self, number: int) -> None:
        """Train the students of a round that have no result yet."""
        if self.short_epochs is not None:
            self._train_cohorts(number, self._students(number), epochs=self.short_epochs)
            trials = prune(self.search.trials, number, self.settings.budget.errors)
            self._write(replace(self.search, trials=trials))
        students = [trial for trial in self._students(number) if trial.state != "pruned"]
        if self.short_epochs is not None:
            students = [trial for trial in students if trial.short_value is not None]
        self._train_cohorts(number, students)

        journal = self.proposer.journal(self.search.trials)
        write_text(self.study.run_folder.search_journal, journal)
        limit = self.settings.limit if self.settings.hours is None else self.settings.trials
        self.study.progress.say(describe_round(self.search, limit))

    def _students(self, number: int) -> list[Trial]:
        """Return the students of a round that could be built and are within the budget."""
        return [
            trial
            for trial in self.search.trials
            if trial.round == number and trial.state not in UNTRAINED and trial.params
        ]

    def _train_cohorts(
        self, number: int, students: Sequence[Trial], epochs: int | None = None
    ) -> None:
        """Train those of some students that wait for it.

        Args:
            number: Number of the round.
            students: All students of this training, with a result or without one. The cohorts are
                those of all, so that each finds its checkpoint after an interruption.
            epochs: Number of epochs of a short training; None for a whole one.
        """
        is_short = epochs is not None
        waiting = {
            trial.name
            for trial in students
            if trial.state == "waiting" and not (is_short and trial.short_value is not None)
        }
        if not waiting:
            return
        study = self.study
        plans = [study.plan_of(trial, study.distilled) for trial in students]
        if epochs is not None:
            plans = [replace(plan, epochs=epochs) for plan in plans]
        cohorts = plan_cohorts(
            plans,
            [self.search.seed],
            self.trainer.data,
            study.schedule.batch_size,
            together=study.engine.trains_cohorts,
            limit=Launcher.of(study.options.launcher).students,
        )
        rest = [cohort for cohort in cohorts if waiting & {plan.name for plan in cohort.arms}]
        add_values = self._add_short_values if is_short else self._add_values
        self.trainer.train_round(search_cohorts(rest, number, is_short=is_short), add_values)

    def _add_short_values(self, values: Values) -> None:
        """Write the results of a cohort after its short training."""

        def add(trial: Trial, value: float | None) -> Trial:
            if value is None:
                return replace(trial, state="failed")
            return replace(trial, short_value=value)

        self._add(values, add)

    def _add_values(self, values: Values) -> None:
        """Write the results of a cohort."""

        def add(trial: Trial, value: float | None) -> Trial:
            return replace(trial, state="failed" if value is None else "trained", value=value)

        self._add(values, add)

    def _add(self, values: Values, add: Callable[[Trial, float | None], Trial]) -> None:
        """Write the search with results of trials by their names."""
        trials = tuple(
            add(trial, values[trial.name]) if trial.name in values else trial
            for trial in self.search.trials
        )
        self._write(replace(self.search, trials=trials))

    def _clock(self) -> float:
        """Return a time in seconds that stands still while the teacher's answers are computed.

        They are computed once, so no later round takes as long as one in which they are.
        """
        return time.perf_counter() - self.manifest.content.seconds["store"]

    def _write(self, search: Search) -> None:
        now = self._clock()
        self.search = replace(search, seconds=search.seconds + now - self._start)
        self._start = now
        write_search(self.study.run_folder, self.search)
