"""Proposals: a function of the results, in groups of one architecture."""

import json
from dataclasses import replace
from itertools import groupby, pairwise

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from limbeck.run.search import Trial
from limbeck.search.proposals import MAX_REFUSALS, WIDTH_STEP, MemoryBackend, Proposer
from limbeck.search.space import SearchSpace


@pytest.fixture
def proposer():
    space = SearchSpace(students=["mlp", "convnet"], variants=3)
    training = space.parameters_of_training(0.01, has_temperature=True)
    return Proposer(space, ["mlp", "convnet"], training, worst=200.0)


def measure(limit, round_number=0):
    """Function that puts students of more than some width over the budget."""

    def evaluate(number, settings):
        share = settings["width"] / limit
        return Trial(
            number=number,
            round=round_number,
            settings=settings,
            params=1,
            size=1.0,
            share=share,
            state="waiting" if share <= 1 else "over budget",
        )

    return evaluate


def three(trial):
    return 3


def trained(trials):
    """The trials with results that favour a temperature of 4."""
    results = []
    for trial in trials:
        if trial.state == "waiting":
            value = 10 + abs(trial.settings["temperature"] - 4)
            trial = replace(trial, state="trained", value=value)
        results.append(trial)
    return results


def search(proposer, rounds, limit=64):
    trials = []
    for number in range(rounds):
        trials += trained(proposer.propose(trials, number, 6, measure(limit, number), three))
    return trials


def architecture(trial):
    return [trial.settings.get(name) for name in ("student", "width", "depth")]


def test_students_of_one_architecture_follow_each_other(proposer):
    proposals = proposer.propose([], 0, 6, measure(1e9), three)
    groups = [list(group) for _, group in groupby(proposals, architecture)]
    assert [len(group) for group in groups] == [3, 3]
    for group in groups:
        assert len({trial.settings["temperature"] for trial in group}) == 3
        assert len({trial.settings["lr"] for trial in group}) == 3


def test_an_architecture_that_cannot_be_stacked_has_one_student(proposer):
    def variants_of(trial):
        return 3 if trial.settings["student"] == "mlp" else 1

    proposals = proposer.propose([], 0, 12, measure(1e9), variants_of)
    assert len(proposals) == 12
    for (kind, *_), group in groupby(proposals, architecture):
        assert len(list(group)) == (3 if kind == "mlp" else 1)


def test_a_student_without_a_result_counts_as_the_worst(proposer):
    """Squared errors may be larger than any number of samples."""
    results = [
        replace(trial, state="trained", value=900.0 + trial.number)
        for trial in proposer.propose([], 0, 3, measure(1e9), three)
    ]
    results[1] = replace(results[1], state="failed", value=None)
    study = proposer._study(results, MemoryBackend(), 1)
    assert [trial.values[1] for trial in study.trials] == [900, 902, 902]


def test_students_over_the_goal_of_errors_are_over_a_limit(proposer):
    aimed = replace(proposer, goal=20.0)
    trials = [
        replace(trial, state="trained", value=value)
        for trial, value in zip(
            proposer.propose([], 0, 3, measure(1e9), three), (10, 20, 30), strict=True
        )
    ]
    study = aimed._study(trials, MemoryBackend(), 1)
    assert [trial.constraints["errors"] for trial in study.trials] == [0, 0, 0.5]
    assert [trial.constraints["budget"] for trial in study.trials] == [0, 0, 0]


def test_a_round_has_no_more_students_than_remain(proposer):
    assert len(proposer.propose([], 0, 4, measure(1e9), three)) == 4


def test_students_over_the_budget_take_no_place_and_have_no_variants(proposer):
    proposals = proposer.propose([], 0, 6, measure(7), three)
    over = [trial for trial in proposals if trial.state == "over budget"]
    assert over
    assert len(proposals) - len(over) == 6
    assert [trial.number for trial in proposals] == list(range(len(proposals)))


@pytest.mark.parametrize("limit", [5, 9, 17, 40])
def test_a_proposal_over_the_budget_is_followed_by_one_near_the_limit(proposer, limit):
    proposals = proposer.propose([], 0, 12, measure(limit), lambda trial: 1)
    assert sum(trial.state == "waiting" for trial in proposals) == 12
    followers = [
        (trial, follower) for trial, follower in pairwise(proposals) if trial.state == "over budget"
    ]
    assert followers
    for trial, follower in followers:
        names = ("student", "depth", "stride")
        assert [follower.settings.get(n) for n in names] == [trial.settings.get(n) for n in names]
        assert follower.settings["width"] <= limit
        assert follower.settings["width"] > limit / WIDTH_STEP - 1


def test_a_student_without_a_width_is_not_narrowed():
    space = SearchSpace(students=["torchvision/resnet18"], variants=1)
    training = space.parameters_of_training(0.01, has_temperature=True)
    proposer = Proposer(space, ["torchvision/resnet18"], training, worst=200.0)

    def evaluate(number, settings):
        return replace(measure(1)(number, {**settings, "width": 2}), settings=settings)

    proposals = proposer.propose([], 0, 2, evaluate, three)
    assert {trial.state for trial in proposals} == {"over budget"}


def test_students_that_cannot_be_built_take_no_place(proposer):
    def evaluate(number, settings):
        trial = measure(1e9)(number, settings)
        is_wide = settings["width"] > 12
        return replace(trial, state="failed") if is_wide else trial

    proposals = proposer.propose([], 0, 6, evaluate, three)
    states = [trial.state for trial in proposals]
    assert states.count("waiting") == 6
    assert "failed" in states


def test_a_round_ends_if_nothing_is_within_the_budget(proposer):
    proposals = proposer.propose([], 0, 6, measure(1), three)
    assert len(proposals) == MAX_REFUSALS + 2, "the smallest student of each kind is the last"
    assert {trial.state for trial in proposals} == {"over budget"}


def test_a_round_without_luck_has_the_smallest_students_or_variants_of_the_best(proposer):
    def evaluate(number, settings):
        trial = measure(1e9)(number, settings)
        is_smallest = settings["student"] == "convnet" and settings["width"] == low
        return trial if is_smallest else replace(trial, state="over budget", share=2.0)

    convnet = {p.name: p for p in proposer.space.parameters_of_student("convnet")}
    low = int(convnet["width"].low)
    proposals = proposer.propose([], 0, 6, evaluate, three)
    within = [trial for trial in proposals if trial.state == "waiting"]
    assert {trial.settings["width"] for trial in within} == {low}
    trials = trained(proposals)
    best = min((t for t in trials if t.value is not None), key=lambda trial: trial.value)
    later = proposer.propose(
        trials,
        1,
        3,
        lambda n, s: replace(measure(1e9)(n, s), state="over budget", share=2.0),
        three,
    )
    assert architecture(later[MAX_REFUSALS]) == architecture(best)


def test_proposals_are_a_function_of_the_results(proposer):
    """Also those of a search that is read from its file: no state is kept between rounds."""
    whole = search(proposer, rounds=5)
    assert search(proposer, rounds=5) == whole
    first = [trial for trial in whole if trial.round < 3]
    text = json.dumps([vars(trial) for trial in first])
    read = [Trial(**content) for content in json.loads(text)]
    again = trained(proposer.propose(read, 3, 6, measure(64, 3), three))
    assert again == [trial for trial in whole if trial.round == 3]


def test_another_seed_proposes_others(proposer):
    other = replace(proposer, space=replace(proposer.space, seed=1))
    assert search(other, 1) != search(proposer, 1)


def test_the_sampler_learns_from_results_and_refusals(proposer):
    trials = search(proposer, rounds=20, limit=24)
    late = [trial for trial in trials if trial.round >= 12]
    early = [trial for trial in trials if trial.round < 4]

    def distance(part):
        values = [trial.value - 10 for trial in part if trial.value is not None]
        return sum(values) / len(values)

    assert distance(late) < distance(early) / 2


def test_optuna_reads_the_journal(proposer, tmp_path):
    trials = search(proposer, rounds=2, limit=24)
    file = tmp_path / "search.log"
    file.write_text(proposer.journal(trials), encoding="utf-8")
    storage = JournalStorage(JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="limbeck", storage=storage)
    assert len(study.trials) == len(trials)
    for entry, trial in zip(study.trials, trials, strict=True):
        assert entry.params["temperature"] == trial.settings["temperature"]
        assert (entry.constraints["budget"] > 0) == (trial.state == "over budget")
    front = study.best_trials
    assert front
    assert all(trial.constraints["budget"] <= 0 for trial in front)
