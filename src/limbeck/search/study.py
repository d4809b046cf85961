"""A study whose student is searched for under a budget, before the study itself begins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck._base.checks import MAX_SEEDS
from limbeck._base.errors import ConfigError, ResourceError, TeacherError, UntrustedFileError
from limbeck.data import Dataset
from limbeck.deploy.choice import check_has_one_answer
from limbeck.deploy.onnx_export import check_onnx_is_installed
from limbeck.losses import Objective
from limbeck.run.manifest import ManifestWriter
from limbeck.run.search import Search, Trial, read_search, write_search
from limbeck.run.summary import Summary
from limbeck.search.choice import choose_trial, nearest_message
from limbeck.search.device import Device, describe_device, device_of
from limbeck.search.needs import NeedsMeter
from limbeck.search.rounds import Rounds
from limbeck.search.settings import SearchSettings
from limbeck.search.space import ARCHITECTURE, Parameter, architecture_key, student_builder
from limbeck.search.wider_controls import measure_wider_controls, plans_of_wider_controls
from limbeck.study.arms import Arm, ArmPlan, build
from limbeck.study.settings import settings_of
from limbeck.study.study import Study
from limbeck.study.teacher_scores import Teachers

CONTROL, DISTILLED = "control", "distilled"
"""Names of the arms of the final study."""
NO_TEMPERATURE = ("logits",)
"""Soft losses from whose values the temperature cancels."""


def final_arms(objective: Objective) -> dict[str, Arm]:
    """Return the arms of the final study: the student with the teacher, and without it.

    Args:
        objective: Loss of the distilled student.

    Raises:
        ConfigError: If it learns nothing from the teacher.
    """
    if not objective.needs_teacher:
        raise ConfigError(
            "objective.soft_weight=0 learns nothing from the teacher. Leave it out: the search "
            "chooses it (search.soft_weight)."
        )
    hard = replace(objective, hard_weight=1.0, soft_weight=0.0, features=())
    return {CONTROL: Arm(objective=hard), DISTILLED: Arm(objective=objective)}


class SearchStudy(Study):
    """A study of the best student under a budget.

    The search sees the training and the validation split alone: it works on a copy of the dataset
    that has no test split. Its student is then trained anew with the seeds of the study, with the
    teacher and without it, and only these models are scored on the test split.

    Args:
        data: Dataset with training, validation and test splits.
        search: Budget, search space and duration of the search.
        objective: Loss of the distilled student, of which the search changes the temperature and
            the weights.
        options: Further arguments of :class:`~limbeck.study.study.Study`.

    Raises:
        ConfigError: If an argument is out of range, or does not fit the data.
        TeacherError: If there is no teacher.
    """

    def __init__(
        self,
        data: Dataset,
        search: SearchSettings,
        *,
        objective: Objective | None = None,
        **options: Any,
    ):
        if options.get("teacher") is None:
            raise TeacherError(
                "A search for the best distilled student needs a teacher. Choose one, as in "
                "teacher=convnet or teacher.from=RUN."
            )
        self.search = search
        check_has_one_answer(data, "fit")
        search.check(data)
        self._kinds = search.space.kinds(data)
        self._builders: dict[str, Any] = {}
        self._shape = tuple(data.shape)
        smallest = [search.space.cheapest(kind) for kind in self._kinds]
        super().__init__(
            data,
            final_arms(objective or Objective()),
            student=self.builder(smallest[0]),
            **options,
        )
        if self.options.config is None:
            config = {**settings_of(self), "fit": search.as_dict()}
            self.options = replace(self.options, config=config)
        self._device: Device | None = None
        self._is_affordable = False

    def check(self, *, examine: bool = True) -> None:
        """Check all settings before anything is trained; see :meth:`Study.check`.

        Raises:
            ConfigError: If a setting does not fit, or no student is within the budget.
            ResourceError: If a library is missing.
        """
        check_search_libraries()
        if self.processes > 1:
            raise ConfigError(
                "A search trains in one process. Set trainer.devices=1, or launcher=ray to train "
                "several cohorts at the same time."
            )
        if self.store.kind == "sampled" and len(set(self.search.space.temperature)) > 1:
            raise ConfigError(
                "store.kind=sampled samples a teacher's answers at one temperature. Set "
                "search.temperature=4, or use store.kind=dense."
            )
        super().check(examine=examine)
        if self._is_affordable:
            return
        if not (self.options.resume and self.run_folder.search.is_file()):
            self._device = device_of(self.search.budget)
            self._check_students()
            self._check_budget()
        self._is_affordable = True

    def run(self) -> Summary:
        """Search for a student, then run the study with it; see :meth:`Study.run`."""
        self.check()
        with self._open_run() as manifest:
            teachers = self._get_teachers(manifest)
            self._use(self._find(manifest, teachers))
            trainer = self._train_students(manifest, teachers)
            summary = self._summarize(manifest, teachers, trainer)
            manifest.add_files([self.run_folder.search])
            self._finish(manifest, summary)
        return summary

    # The search -----------------------------------------------------------------------------------

    def _find(self, manifest: ManifestWriter, teachers: Teachers) -> Search:
        """Search until the time or the number of students is used up, and choose a student."""
        search = read_search(self.run_folder) or self._new_search()
        self._check_search(search)
        if search.device is not None and search.device_factor is not None:
            self._device = Device(search.device, search.device_factor)  # that of the start
            self.progress.say(describe_device(self._device))
        rounds = Rounds(self, search, manifest, teachers)
        if search.choice is None:
            search = rounds.run()
            search = replace(search, choice=choose_trial(search).number)
            if self.search.wider_controls:
                controls = measure_wider_controls(self, search)
                search = replace(search, wider_controls=controls)
            write_search(self.run_folder, search)
        rounds.remove_files()
        return search

    def _check_search(self, search: Search) -> None:
        """Check that a search is one for this study.

        Raises:
            UntrustedFileError: If it is not.
        """
        is_own = search.measure == self.data.kind.measure
        is_own = is_own and search.validation == len(self.data.val)
        if not is_own or search.seed in self.seeds:
            raise UntrustedFileError(
                f"{self.run_folder.search} is that of another study: its measure is "
                f"{search.measure}, on {search.validation:,} validation samples, with seed "
                f"{search.seed}. Repeat the search with overwrite=true."
            )

    def _use(self, search: Search) -> None:
        """Let the arms of the study have the chosen student and its settings, or wider ones."""
        winner = search.winner
        assert winner is not None
        self.plans = [replace(self.plan_of(winner, plan), name=plan.name) for plan in self.plans]
        control = next(plan for plan in self.plans if plan.is_control)
        self.plans += plans_of_wider_controls(self, search, control)

    def plan_of(self, trial: Trial, plan: ArmPlan) -> ArmPlan:
        """Return the plan of an arm with the student and the settings of a trial."""
        settings = trial.settings
        objective = plan.objective
        if not plan.is_control:
            weights = {"soft_weight": settings["soft_weight"]}
            weights["hard_weight"] = 1 - settings["soft_weight"]
            if "temperature" in settings:
                weights["temperature"] = settings["temperature"]
            objective = replace(objective, **weights)
        return replace(
            plan,
            name=trial.name,
            student=self.builder(settings),
            objective=objective,
            optimizer=replace(plan.optimizer, lr=settings["lr"]),
        )

    @property
    def distilled(self) -> ArmPlan:
        """Plan of the distilled arm."""
        return next(plan for plan in self.plans if not plan.is_control)

    def builder(self, settings: Mapping[str, Any]) -> Any:
        """Return the builder of the student of a trial; equal architectures share one."""
        key = architecture_key(settings)
        if key not in self._builders:
            self._builders[key] = student_builder(settings, self._shape)
        return self._builders[key]

    def parameters(self) -> list[Parameter]:
        """Numbers that the search chooses for the training of a student."""
        has_temperature = (
            self.data.kind.has_temperature and self.distilled.objective.soft not in NO_TEMPERATURE
        )
        return self.search.space.parameters_of_training(
            self.distilled.optimizer.lr, has_temperature=has_temperature
        )

    @property
    def kinds(self) -> Sequence[str]:
        """Kinds of students that the search proposes."""
        return self._kinds

    @property
    def engine(self) -> Any:
        """Engine that trains the cohorts."""
        return self._engine

    def new_meter(self, trials: Sequence[Trial]) -> NeedsMeter:
        """Return a measurement of students that knows the architectures of earlier trials."""
        return NeedsMeter(self.data, self.search.budget, self._device, trials)

    def trial_of(self, meter: NeedsMeter, number: int, settings: dict[str, Any], at: int) -> Trial:
        """Return the trial of a proposal: to be trained, or over the budget.

        Args:
            meter: Measurement of students.
            number: Number of the trial.
            settings: Settings of the trial.
            at: Number of the round.
        """
        try:
            candidate = meter.measure(settings, self.builder(settings))
        except ConfigError as error:  # it cannot be built or exported
            self.progress.say(f"{self._name(settings)} is not trained: {error}")
            return Trial(
                number=number,
                round=at,
                settings=settings,
                architecture=self._name(settings),
                params=0,
                size=0.0,
                share=1.0,
                state="failed",
            )
        budget, needs = self.search.budget, candidate.needs
        return Trial(
            number=number,
            round=at,
            settings=settings,
            architecture=candidate.architecture,
            params=candidate.params,
            macs=candidate.macs,
            size=needs.size or 0.0,
            latency=needs.latency,
            is_predicted=candidate.is_predicted,
            memory=needs.memory,
            share=budget.share(needs),
            state="waiting" if budget.fits(needs) else "over budget",
        )

    # Parts ----------------------------------------------------------------------------------------

    def _new_search(self) -> Search:
        budget = self.search.budget
        limits = {name: value for name, value in budget.limits._asdict().items() if value}
        if budget.errors is not None:
            limits["errors"] = budget.errors
        return Search(
            measure=self.data.kind.measure,
            validation=len(self.data.val),
            limits=limits,
            precision=budget.precision,
            device=None if self._device is None else self._device.name,
            device_factor=None if self._device is None else self._device.factor,
            seed=next(seed for seed in range(MAX_SEEDS + 1) if seed not in self.seeds),
        )

    def _check_students(self) -> None:
        """Check that the smallest student of each kind can be built."""
        for kind in self._kinds:
            try:
                build(self.builder(self.search.space.cheapest(kind)), self.data, 0)
            except ConfigError as error:
                raise ConfigError(f"search.students: {kind}: {error}") from None

    def _check_budget(self) -> None:
        """Check that the smallest student of some kind is within the budget."""
        meter = self.new_meter([])
        trials = []
        with self.progress.stage("measuring the smallest students", len(self._kinds)) as advance:
            for number, kind in enumerate(self._kinds):
                trials.append(self.trial_of(meter, number, self.search.space.cheapest(kind), 0))
                if trials[-1].state == "waiting":
                    return
                advance(number + 1)
        raise ConfigError(nearest_message(trials))

    def _name(self, settings: Mapping[str, Any]) -> str:
        """Return the name of a student that could not be built."""
        numbers = [str(settings[name]) for name in ARCHITECTURE if name in settings]
        return "-".join([settings["student"], *numbers])


def check_search_libraries() -> None:
    """Check that the libraries of a search are installed.

    Raises:
        ResourceError: If one is missing.
    """
    check_onnx_is_installed()
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ResourceError(
            "The search needs Optuna, which is not installed. Install it with 'pip install optuna' "
            "(extra search)."
        ) from None
