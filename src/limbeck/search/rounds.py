"""The rounds of a search."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import UntrustedFileError
from limbeck._base.files import write_text
from limbeck._base.signals import check_interrupt
from limbeck.data.resampling import ResampledSplits
from limbeck.report.search import describe_round
from limbeck.run.manifest import ManifestWriter
from limbeck.run.search import Search, Trial, TrialState, write_search
from limbeck.search.trainer import TrialTrainer, search_cohorts
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cohorts import plan_cohorts
from limbeck.study.pools import TransferPools
from limbeck.study.teacher_scores import Teachers
from limbeck.teacher.signal import LiveTeacher

if TYPE_CHECKING:
    from limbeck.search.study import SearchStudy

REPEATS = 10
"""Number of rounds of a usual search, each of which reads the teacher's answers."""


class Rounds:
    """The rounds of a search: propose, measure, train, score on the validation split, write.

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

        self.study, self.search = study, search
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
        self.proposer = Proposer(
            self.settings.space, study.kinds, study.parameters(), float(len(data.val))
        )
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
            on_values=self._add_values,
        )
        self._check_trials()
        self.meter = study.new_meter(search.trials)
        self._start = time.perf_counter()

    def run(self) -> Search:
        """Run rounds until the search is over."""
        seconds_of_round = 0.0
        while True:
            waiting = [trial for trial in self.search.trials if trial.state == "waiting"]
            if not waiting:
                if self._is_over(seconds_of_round) or not self._propose():
                    break
                continue
            before = self.search.seconds
            self._train(waiting[0].round)
            seconds_of_round = self.search.seconds - before
        return self.search

    def _check_trials(self) -> None:
        """Check that the trials of an earlier process are those of this search space.

        Raises:
            UntrustedFileError: If they are not.
        """
        try:
            self.proposer.journal(self.search.trials)
        except (KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UntrustedFileError(
                f"{self.study.run_folder.search} is damaged, or of another search: {reason}. "
                "Repeat the search with overwrite=true."
            ) from None

    def _is_over(self, seconds_of_round: float) -> bool:
        results = [trial for trial in self.search.trials if trial.state != "over budget"]
        return self.settings.is_over(len(results), self.search.seconds, seconds_of_round)

    def _propose(self) -> bool:
        """Propose the students of the next round; return whether one is within the budget."""
        trials = self.search.trials
        number = trials[-1].round + 1 if trials else 0
        done = sum(trial.state != "over budget" for trial in trials)
        space = self.settings.space
        count = min(space.variants * space.architectures, self.settings.limit - done)
        study, meter = self.study, self.meter

        def evaluate(trial: int, settings: dict[str, Any]) -> Trial:
            check_interrupt()
            return study.trial_of(meter, trial, settings, number)

        with study.progress.stage(f"round {number + 1}: measuring students", 1.0) as advance:
            proposals = self.proposer.propose(trials, number, count, evaluate)
            advance(1.0)
        self._write(replace(self.search, trials=(*trials, *proposals)))
        return any(trial.state == "waiting" for trial in proposals)

    def _train(self, number: int) -> None:
        """Train the students of a round that have no result yet.

        The cohorts are those of all students of the round, so that each finds its checkpoint.
        """
        study = self.study
        trials = [trial for trial in self.search.trials if trial.round == number]
        plans = [
            study.plan_of(trial, study.distilled)
            for trial in trials
            if trial.state != "over budget"
        ]
        cohorts = plan_cohorts(
            plans,
            [self.search.seed],
            self.trainer.data,
            study.schedule.batch_size,
            together=study.engine.trains_cohorts,
            limit=Launcher.of(study.options.launcher).students,
        )
        waiting = {trial.name for trial in trials if trial.state == "waiting"}
        rest = [cohort for cohort in cohorts if waiting & {plan.name for plan in cohort.arms}]
        self.trainer.train_round(search_cohorts(rest, number))
        write_text(study.run_folder.search_journal, self.proposer.journal(self.search.trials))
        limit = self.settings.limit if self.settings.hours is None else self.settings.trials
        study.progress.say(describe_round(self.search, limit))

    def _add_values(self, values: Mapping[str, float | None]) -> None:
        """Write the results of a cohort."""
        trials = []
        for trial in self.search.trials:
            if trial.name in values:
                value = values[trial.name]
                state: TrialState = "failed" if value is None else "trained"
                trial = replace(trial, state=state, value=value)
            trials.append(trial)
        self._write(replace(self.search, trials=tuple(trials)))

    def _write(self, search: Search) -> None:
        now = time.perf_counter()
        self.search = replace(search, seconds=search.seconds + now - self._start)
        self._start = now
        write_search(self.study.run_folder, self.search)
