"""A study whose student is searched for: on validation alone, and resumable."""

import json
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support.searches import ModelOfSize, blobs, make_study, trials_of

import limbeck.search.rounds as rounds_module
import limbeck.search.study as study_module
import limbeck.search.trainer as trainer_module
from limbeck import Arm, Objective, Optimizer, RunOptions, Schedule, Study, Teacher
from limbeck._base.errors import ConfigError, ResourceError, TeacherError, UntrustedFileError
from limbeck.data import Dataset
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search
from limbeck.run.summary import read_summary
from limbeck.search import needs
from limbeck.search.device import Device
from limbeck.study.targets import TeacherSignals


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    """Export and report take seconds; the tests of the command line have the real ones."""
    monkeypatch.setattr(needs, "to_onnx", lambda model, example: ModelOfSize(model))
    monkeypatch.setattr("limbeck.study.study.write_report", lambda *_: None)


def test_the_final_study_has_fresh_seeds_and_a_control_of_the_same_architecture(tmp_path):
    summary = make_study(tmp_path / "run").run()
    search = read_search(RunFolder(tmp_path / "run"))
    winner = search.winner
    control, distilled = summary.arms
    assert (control.name, distilled.name) == ("control", "distilled")
    assert control.student == distilled.student == winner.architecture
    assert search.seed not in [seed.seed for seed in distilled.seeds]
    assert distilled.objective["temperature"] == winner.settings["temperature"]
    assert distilled.objective["soft_weight"] == winner.settings["soft_weight"]
    assert distilled.optimizer["lr"] == control.optimizer["lr"] == winner.settings["lr"]
    assert control.objective["soft_weight"] == 0
    assert summary.main_comparison.arm == "distilled"
    assert summary.main_comparison.control == "control"


def test_students_of_the_search_are_trained_as_those_of_a_study(tmp_path):
    """The chosen student in a study of its own, with the seed of the search."""
    make_study(tmp_path / "run").run()
    search = read_search(RunFolder(tmp_path / "run"))
    settings = search.winner.settings
    arm = Arm(
        objective=Objective(
            hard_weight=1 - settings["soft_weight"],
            soft_weight=settings["soft_weight"],
            temperature=settings["temperature"],
        ),
        student=partial(MLP, hidden=[settings["width"]] * settings["depth"]),
        optimizer=Optimizer(lr=settings["lr"]),
    )
    summary = Study(
        blobs(),
        {"distilled": arm},
        teacher=Teacher(source=[tmp_path / "run"]),
        seeds=[search.seed],
        schedule=Schedule(epochs=2, batch_size=32),
        out=tmp_path / "alone",
        options=RunOptions(progress=False),
    ).run()
    assert summary.arms[0].seeds[0].val.errors == search.winner.value


def test_no_student_over_the_budget_is_trained_or_chosen(tmp_path):
    make_study(tmp_path / "run").run()
    trials = trials_of(tmp_path / "run")
    over = [trial for trial in trials if trial.state == "over budget"]
    results = [trial for trial in trials if trial.state == "trained"]
    assert over
    assert all(trial.size > 1000 and trial.value is None for trial in over)
    assert len(results) == 8
    assert all(trial.size <= 1000 for trial in results)


def test_the_search_does_not_see_the_test_split(tmp_path, monkeypatch):
    """Another test split changes nothing, and it is opened only after the choice is written."""
    states = []
    open_test = Dataset.open_test

    def watch(data):
        states.append(read_search(RunFolder(tmp_path / "run")).choice)
        return open_test(data)

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "open_test", watch)
        make_study(tmp_path / "run").run()
    assert states
    assert None not in states
    poison = np.zeros(80, dtype=int)
    make_study(tmp_path / "other", data=blobs(poison)).run()
    assert trials_of(tmp_path / "other") == trials_of(tmp_path / "run")
    results = [read_summary(RunFolder(tmp_path / name)).arms[1] for name in ("run", "other")]
    assert results[0].mean.errors != results[1].mean.errors


def test_students_of_the_search_are_trained_on_data_without_a_test_split(tmp_path, monkeypatch):
    sizes = []
    train_round = rounds_module.TrialTrainer.train_round

    def watch(self, cohorts, add_values):
        sizes.append(len(self.data.open_test()))
        train_round(self, cohorts, add_values)

    monkeypatch.setattr(rounds_module.TrialTrainer, "train_round", watch)
    make_study(tmp_path / "run").run()
    assert set(sizes) == {0}


@pytest.mark.parametrize(
    "writes", [pytest.param(n, marks=[] if n in (2, 4) else pytest.mark.slow) for n in range(1, 7)]
)
def test_a_search_that_was_killed_goes_on_to_the_same_results(tmp_path, monkeypatch, writes):
    """Killed after each of its writes: of proposals, of results of a cohort, of the choice."""
    make_study(tmp_path / "whole").run()
    write = rounds_module.write_search
    count = 0

    def fail(folder, search):
        nonlocal count
        write(folder, search)
        count += 1
        if count == writes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rounds_module, "write_search", fail)
        patch.setattr(study_module, "write_search", fail)
        study = make_study(tmp_path / "killed")
        with pytest.raises(KeyboardInterrupt):
            study.run()
    make_study(tmp_path / "killed", resume=True).run()
    assert trials_of(tmp_path / "killed") == trials_of(tmp_path / "whole")
    summaries = [read_summary(RunFolder(tmp_path / name)) for name in ("whole", "killed")]
    assert [arm.mean for arm in summaries[0].arms] == [arm.mean for arm in summaries[1].arms]


def test_the_device_of_a_search_that_goes_on_is_that_of_its_start(tmp_path, monkeypatch):
    """Otherwise another measurement of the factor would change what is within the budget."""
    devices = iter([Device("Cortex-A53", 20.0)])
    monkeypatch.setattr(study_module, "device_of", lambda budget: next(devices))
    make_study(tmp_path / "run", trials=2).run()
    study = make_study(tmp_path / "run", trials=2, resume=True)
    study.run()
    search = read_search(RunFolder(tmp_path / "run"))
    assert (search.device, search.device_factor) == ("Cortex-A53", 20.0)


def test_a_search_goes_on_with_its_own_settings_only(tmp_path):
    make_study(tmp_path / "run").run()
    manifest = tmp_path / "run" / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**content, "state": "interrupted"}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"fit.budget.size: '1kB' in the run, '2kB' now"):
        make_study(tmp_path / "run", resume=True, budget={"size": "2kB"}).run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": "mlp", "width": 500}, "is damaged, or of another search"),
        ({"student": "mlp"}, "is damaged, or of another search"),
        ({"student": "spaceship", "width": 8}, "is damaged, or of another search"),
    ],
)
def test_trials_that_the_search_cannot_have_made_are_one_message(tmp_path, settings, message):
    make_study(tmp_path / "run", trials=2).run()
    file = tmp_path / "run" / "search.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["trials"][0]["settings"] |= settings
    if "width" not in settings:
        del content["trials"][0]["settings"]["width"]
    file.write_text(json.dumps({**content, "choice": None}), encoding="utf-8")
    with pytest.raises(UntrustedFileError, match=message):
        make_study(tmp_path / "run", trials=2, resume=True).run()


def test_variants_of_an_architecture_are_one_cohort(tmp_path, monkeypatch):
    cohorts = []
    train_round = rounds_module.TrialTrainer.train_round

    def watch(self, plans, add_values):
        cohorts.append([[arm.name for arm in plan.arms] for plan in plans])
        train_round(self, plans, add_values)

    monkeypatch.setattr(rounds_module.TrialTrainer, "train_round", watch)
    make_study(tmp_path / "run", budget={"size": "1MB"}).run()
    assert cohorts[0] == [["trial0", "trial1"], ["trial2", "trial3"]]
    assert not (tmp_path / "run" / "checkpoints").exists()
    names = [folder.name for folder in (tmp_path / "run" / "logs").iterdir()]
    assert not any(name.startswith("round") for name in names)


def test_the_smallest_student_that_meets_the_goal_is_chosen(tmp_path):
    make_study(tmp_path / "run", budget={"errors": 30}).run()
    search = read_search(RunFolder(tmp_path / "run"))
    sufficient = [trial for trial in search.results if trial.value <= 30]
    assert sufficient
    assert search.winner.size == min(trial.size for trial in sufficient)


def test_only_cheaper_students_are_trained_once_the_goal_is_met(tmp_path):
    make_study(tmp_path / "run", budget={"errors": 30}, trials=16).run()
    trials = trials_of(tmp_path / "run")
    assert "too costly" in {trial.state for trial in trials}
    for number in range(1, max(trial.round for trial in trials) + 1):
        shares = [t.share for t in trials if t.round < number and (t.value or 99) <= 30]
        limit = min(shares, default=float("inf"))
        for trial in trials:
            if trial.round == number:
                assert (trial.state == "too costly") == (trial.share >= limit)
    assert not any(trial.value or trial.short_value for trial in trials if is_too_costly(trial))


def is_too_costly(trial):
    return trial.state == "too costly"


def test_a_search_ends_when_no_student_is_cheaper_than_one_that_meets_the_goal(tmp_path):
    space = {"width": 8, "depth": 1, "variants": 1, "architectures": 1}
    make_study(tmp_path / "run", budget={"errors": 59}, space=space, trials=16).run()
    first, *others = trials_of(tmp_path / "run")
    assert first.state == "trained"
    assert {trial.state for trial in others} == {"too costly"}


def test_a_student_that_diverges_is_a_failed_trial(tmp_path):
    make_study(tmp_path / "run", space={"lr": [0.02, 1e3]}, trials=12).run()
    states = [trial.state for trial in trials_of(tmp_path / "run")]
    assert "trained" in states
    assert set(states) <= {"trained", "failed", "over budget"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"teacher": None}, TeacherError, "needs a teacher"),
        ({"objective": Objective(hard_weight=1, soft_weight=0)}, ConfigError, "soft_weight=0"),
        ({"budget": {"size": "100B"}}, ConfigError, "The nearest one, 6-4-4, needs 292 B, 2.92"),
        ({"budget": {"errors": 60}}, ConfigError, "errors on all 60 samples"),
        ({"space": {"students": ["bag"]}}, ConfigError, "bag does not take the inputs of blobs"),
        ({"space": {"students": ["convnet"]}}, ConfigError, "convnet does not take"),
        ({"space": {"students": ["timm/x"]}}, ConfigError, "timm/x does not take"),
    ],
)
def test_a_mistake_is_one_message_before_anything_is_trained(tmp_path, changes, error, message):
    with pytest.raises(error) as reason:
        make_study(tmp_path / "run", **changes).run()
    assert message in str(reason.value)
    assert not (tmp_path / "run").exists()


def test_sampled_answers_have_one_temperature(tmp_path):
    options = RunOptions(progress=False, store={"kind": "sampled"})
    with pytest.raises(ConfigError, match=r"Set search.temperature=4"):
        make_study(tmp_path / "run", options=options).run()


def test_missing_libraries_are_one_message(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ResourceError, match="needs Optuna, which is not installed"):
        make_study(tmp_path / "run").run()


def test_a_search_that_ran_out_of_memory_trains_the_same_students_again(tmp_path, monkeypatch):
    undisturbed = make_study(tmp_path / "undisturbed")
    undisturbed.run()
    finish = trainer_module.TrialTrainer._finish

    def fail(trainer, plan, result):
        return finish(trainer, plan, replace(result, error=ResourceError("Memory ran out.")))

    monkeypatch.setattr(trainer_module.TrialTrainer, "_finish", fail)
    with pytest.raises(ResourceError, match="Memory ran out"):
        make_study(tmp_path / "run").run()
    assert {trial.state for trial in trials_of(tmp_path / "run")} <= {"waiting", "over budget"}
    monkeypatch.setattr(trainer_module.TrialTrainer, "_finish", finish)
    make_study(tmp_path / "run", resume=True).run()
    assert trials_of(tmp_path / "run") == trials_of(tmp_path / "undisturbed")


def test_memory_that_cannot_be_read_is_one_message(tmp_path, monkeypatch):
    class Row:
        memory = None

    monkeypatch.setattr(needs, "measure", lambda *_: [Row()])
    monkeypatch.setattr(needs, "multiply_adds", lambda *_: 1)
    with pytest.raises(ResourceError, match=r"budget\.memory: this system does not tell"):
        make_study(tmp_path / "run", budget={"memory": "80MB"}).run()


def test_a_student_that_cannot_be_exported_does_not_end_the_search(tmp_path, monkeypatch):
    def export(model, example):
        if ModelOfSize(model).size > 500:
            raise ConfigError("This model cannot be exported to ONNX: too wide.")
        return ModelOfSize(model)

    monkeypatch.setattr(needs, "to_onnx", export)
    make_study(tmp_path / "run").run()
    trials = trials_of(tmp_path / "run")
    assert {trial.state for trial in trials} >= {"trained", "failed"}
    assert all(trial.size <= 500 for trial in trials if trial.state == "trained")


def test_a_regression_is_searched_by_its_squared_error(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(200, 5)
    y = x[:, :2] @ torch.randn(2, 1)
    data = Dataset.from_arrays(x[:140], y[:140], x[140:], y[140:], task="regression", val=40)
    summary = make_study(tmp_path / "run", data=data, trials=4).run()
    search = read_search(RunFolder(tmp_path / "run"))
    assert search.measure == "squared_error"
    assert "temperature" not in search.winner.settings
    assert summary.main_comparison is not None


def test_seeds_of_several_splits_are_those_of_the_final_study(tmp_path):
    options = RunOptions(progress=False, splits=2)
    summary = make_study(tmp_path / "run", options=options, trials=4).run()
    assert summary.splits == 2


def test_the_first_seed_that_the_study_does_not_have_is_that_of_the_search(tmp_path):
    study = make_study(tmp_path / "run", seeds=[0, 2], trials=2)
    study.run()
    assert read_search(RunFolder(tmp_path / "run")).seed == 1


def test_settings_of_a_study_in_python_are_written(tmp_path):
    study = make_study(tmp_path / "run")
    assert study.options.config["fit"]["budget"]["size"] == "1kB"
    assert replace(study.search, trials=3).limit == 3


def test_the_teachers_answers_do_not_count_as_time_of_the_search(tmp_path, monkeypatch):
    """Otherwise a search with a limit of time would end after the round that computes them."""
    clock = 0.0
    get = TeacherSignals.get

    def answer_slowly(*args):
        nonlocal clock
        clock += 1000.0
        return get(*args)

    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    monkeypatch.setattr(TeacherSignals, "get", answer_slowly)
    make_study(tmp_path / "run").run()
    assert clock > 0
    assert read_search(RunFolder(tmp_path / "run")).seconds == 0
