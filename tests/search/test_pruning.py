"""Pruning: which students have a whole training, and that a search with it can be resumed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.searches import ModelOfSize, make_study, make_trial, trials_of

import limbeck.search.rounds as rounds_module
from limbeck._base.errors import ConfigError, DivergedError
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search
from limbeck.search import needs
from limbeck.search.pruning import cost_of, lowest_sufficient_share, prune, revive, short_epochs
from limbeck.search.space import SearchSpace

SHARES = st.sampled_from([0.5, 0.6, 0.9])
VALUES = st.sampled_from([3.0, 4.0, 5.0, 9.0])


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    """Export and report take seconds; the tests of the command line have the real ones."""
    monkeypatch.setattr(needs, "to_onnx", lambda model, example: ModelOfSize(model))
    monkeypatch.setattr("limbeck.study.study.write_report", lambda *_: None)


def waiting(number, share, short_value, round_number=0):
    return make_trial(number, share, None, "waiting", short_value=short_value, round=round_number)


def states(trials):
    return [trial.state for trial in trials]


@pytest.mark.parametrize(
    ("epochs", "short"), [(1, None), (3, None), (4, 1), (5, 2), (10, 3), (60, 15)]
)
def test_a_short_training_is_a_quarter_of_the_epochs(epochs, short):
    assert short_epochs(epochs) == short


def test_of_one_architecture_the_best_two_are_left():
    trials = [waiting(n, 0.2, value) for n, value in enumerate([9.0, 4.0, 4.0, 3.0])]
    assert states(prune(trials, 0)) == ["pruned", "waiting", "pruned", "waiting"]


def test_a_cheaper_student_does_not_compete_with_expensive_ones():
    trials = [waiting(0, 0.9, 3.0), waiting(1, 0.9, 3.0), waiting(2, 0.6, 90.0)]
    assert states(prune(trials, 0)) == ["waiting", "waiting", "waiting"]


def test_without_a_goal_nothing_is_gained_below_half_the_budget():
    trials = [waiting(0, 0.5, 3.0), waiting(1, 0.4, 3.0), waiting(2, 0.1, 9.0)]
    assert states(prune(trials, 0)) == ["waiting", "waiting", "pruned"]
    assert states(prune(trials, 0, goal=5)) == ["waiting", "waiting", "waiting"]
    assert cost_of(trials[2].share, None) == 0.5
    assert cost_of(trials[2].share, 5) == 0.1


def test_an_expensive_student_has_to_be_better_than_cheap_ones():
    trials = [waiting(0, 0.1, 5.0), waiting(1, 0.2, 4.0), waiting(2, 0.5, 6.0)]
    assert states(prune(trials, 0)) == ["waiting", "waiting", "pruned"]


def test_students_of_earlier_rounds_compete_and_keep_their_state():
    earlier = [
        make_trial(0, 0.2, 2.0, short_value=3.0),
        make_trial(1, 0.2, None, "pruned", short_value=4.0),
    ]
    trials = [*earlier, waiting(2, 0.2, 5.0, 1), waiting(3, 0.2, 3.5, 1)]
    assert states(prune(trials, 1)) == ["trained", "pruned", "pruned", "waiting"]


def test_students_without_a_result_do_not_compete():
    trials = [
        make_trial(0, 0.1, None, "failed"),
        make_trial(1, 0.1, None, "failed", short_value=1.0),
        make_trial(2, 2.0, None, "over budget"),
        waiting(3, 0.2, None),
        waiting(4, 0.2, 9.0),
    ]
    assert prune(trials, 0) == tuple(trials)


@given(st.lists(st.tuples(SHARES, VALUES), min_size=1, max_size=12))
def test_the_pareto_front_of_the_short_training_is_never_pruned(points):
    trials = [waiting(n, share, value) for n, (share, value) in enumerate(points)]
    decided = prune(trials, 0)
    best_of_share = {
        share: min(value for other, value in points if other <= share) for share, _ in points
    }
    for share, best in best_of_share.items():
        is_left = [
            trial.state == "waiting"
            for trial in decided
            if trial.share <= share and trial.short_value == best
        ]
        assert any(is_left), "one of the best of its share and below is trained to the end"
    assert sum(trial.state == "waiting" for trial in decided) <= 2 * len(best_of_share)
    assert prune(decided, 0) == decided


def test_students_far_from_the_goal_are_pruned():
    trials = [waiting(0, 0.6, 41.0), waiting(1, 0.7, 40.0), waiting(2, 0.8, 9.0)]
    assert states(prune(trials, 0, goal=10)) == ["pruned", "waiting", "waiting"]
    assert states(prune(trials, 0)) == ["waiting"] * 3


def test_the_best_student_is_trained_however_far_the_goal_is():
    trials = [waiting(0, 0.1, 90.0), waiting(1, 0.2, 80.0), waiting(2, 0.3, 80.0)]
    assert states(prune(trials, 0, goal=1)) == ["pruned", "waiting", "waiting"]
    assert states(prune(trials, 0, goal=0)) == ["waiting"] * 3


def test_students_that_need_more_than_one_that_meets_the_goal_are_pruned():
    earlier = make_trial(0, 0.2, 10.0, short_value=30.0)
    trials = [earlier, waiting(1, 0.1, 12.0, 1), waiting(2, 0.2, 5.0, 1), waiting(3, 0.3, 5.0, 1)]
    assert states(prune(trials, 1, goal=10))[1:] == ["waiting", "pruned", "pruned"]
    assert states(prune(trials, 1, goal=9))[1:] == ["waiting"] * 3


def test_the_cheapest_student_that_meets_the_goal_limits_the_others():
    trials = [make_trial(0, 0.3, 9.0), make_trial(1, 0.2, 10.0), make_trial(2, 0.1, 11.0)]
    trials.append(make_trial(3, 0.05, None, "pruned", short_value=3.0))
    assert lowest_sufficient_share(trials, 10) == 0.2
    assert lowest_sufficient_share(trials, 8) == float("inf")
    assert lowest_sufficient_share(trials, None) == float("inf")


@given(st.lists(st.tuples(SHARES, VALUES), min_size=1, max_size=12), VALUES)
def test_a_student_that_meets_the_goal_after_a_short_training_is_never_lost(points, goal):
    """One that is as cheap has a whole training."""
    trials = [waiting(n, share, value) for n, (share, value) in enumerate(points)]
    decided = prune(trials, 0, goal)
    for trial in decided:
        if trial.short_value <= goal:
            assert any(other.state == "waiting" and other.share <= trial.share for other in decided)
    assert prune(decided, 0, goal) == decided


def test_the_best_pruned_student_is_revived_in_a_round_of_its_own():
    trials = [
        make_trial(0, 0.2, None, "failed", short_value=1.0),
        make_trial(1, 0.2, None, "pruned", short_value=5.0),
        make_trial(2, 0.2, None, "pruned", short_value=4.0),
    ]
    revived = revive(trials)
    assert states(revived) == ["failed", "pruned", "waiting"]
    assert revived[2].round == 1
    assert prune(revived, 1) == revived


def test_only_true_and_false_are_values_of_pruning():
    with pytest.raises(ConfigError, match=r"search.pruning=0.5 should be true or false."):
        SearchSpace.of({"pruning": 0.5})


# Searches ---------------------------------------------------------------------------------------


def search_of(out, **settings):
    return make_study(out, trials=12, budget={"size": "1MB"}, epochs=4, **settings)


def epochs_of_trainings(monkeypatch, study):
    """Epochs and students of each cohort that a search trains."""
    cohorts = []
    train_round = rounds_module.TrialTrainer.train_round

    def watch(self, plans, add_values):
        cohorts.extend((plan.arms[0].epochs, [arm.name for arm in plan.arms]) for plan in plans)
        train_round(self, plans, add_values)

    monkeypatch.setattr(rounds_module.TrialTrainer, "train_round", watch)
    study.run()
    return cohorts


def test_pruned_students_have_a_short_training_alone(tmp_path, monkeypatch):
    cohorts = epochs_of_trainings(monkeypatch, search_of(tmp_path / "run"))
    trials = trials_of(tmp_path / "run")
    assert {trial.state for trial in trials} == {"trained", "pruned"}
    short = [name for epochs, names in cohorts if epochs == 1 for name in names]
    whole = [name for epochs, names in cohorts if epochs == 4 for name in names]
    assert short == [trial.name for trial in trials]
    assert whole == [trial.name for trial in trials if trial.state == "trained"]
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_results_of_students_do_not_depend_on_pruning(tmp_path, monkeypatch):
    """The first round proposes the same; a student is trained anew after its short training."""
    search_of(tmp_path / "pruned").run()
    cohorts = epochs_of_trainings(
        monkeypatch, search_of(tmp_path / "whole", space={"pruning": False})
    )
    assert {epochs for epochs, _ in cohorts} == {4}
    whole = [trial for trial in trials_of(tmp_path / "whole") if trial.round == 0]
    pruned = [trial for trial in trials_of(tmp_path / "pruned") if trial.round == 0]
    for before, after in zip(whole, pruned, strict=True):
        assert before.settings == after.settings
        assert before.short_value is None
        if after.state == "trained":
            assert before.value == after.value


@pytest.mark.slow
@pytest.mark.parametrize("writes", range(1, 14))
def test_a_search_that_was_killed_goes_on_to_the_same_results(tmp_path, monkeypatch, writes):
    """Killed after each of its writes: of proposals, of short and of whole trainings."""
    search_of(tmp_path / "whole").run()
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
        with pytest.raises(KeyboardInterrupt):
            search_of(tmp_path / "killed").run()
    search_of(tmp_path / "killed", resume=True).run()
    assert trials_of(tmp_path / "killed") == trials_of(tmp_path / "whole")


def test_a_search_in_which_only_pruned_students_can_be_trained_trains_one(tmp_path, monkeypatch):
    """All whole trainings fail but that of the best pruned student."""
    add_values, revive = rounds_module.Rounds._add_values, rounds_module.revive
    revived = []

    def record(trials):
        revived.extend(revive(trials))
        return tuple(revived)

    def fail(self, values):
        add_values(self, values if revived else dict.fromkeys(values))

    monkeypatch.setattr(rounds_module, "revive", record)
    monkeypatch.setattr(rounds_module.Rounds, "_add_values", fail)
    search_of(tmp_path / "run", space={"lr": [0.004, 0.1]}).run()
    trials = trials_of(tmp_path / "run")
    trained = [trial for trial in trials if trial.state == "trained"]
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert len(trained) == 1
    assert trained[0].short_value <= min(trial.short_value for trial in pruned)
    assert read_search(RunFolder(tmp_path / "run")).winner == trained[0]


def test_a_search_in_which_no_student_can_be_trained_says_so(tmp_path, monkeypatch):
    add_values = rounds_module.Rounds._add_values
    monkeypatch.setattr(
        rounds_module.Rounds,
        "_add_values",
        lambda self, values: add_values(self, dict.fromkeys(values)),
    )
    with pytest.raises(DivergedError, match="every student"):
        search_of(tmp_path / "run").run()
