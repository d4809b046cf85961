"""The Pareto front, and the choice of a student among the results of a search."""

import json
from dataclasses import replace

import pytest
from support.searches import make_search, make_trial

from limbeck._base.errors import ConfigError, DivergedError, UntrustedFileError
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search, write_search
from limbeck.search.choice import choose_trial, meets_goal, nearest_message

FOUR = (
    make_trial(0, 0.5, 20),
    make_trial(1, 0.2, 30),
    make_trial(2, 0.9, 10),
    make_trial(3, 0.6, 25),
)


def test_what_could_not_be_exported_is_not_the_nearest():
    failure = make_trial(0, 1.0, None, state="failed", params=0, macs=None, size=0.0)
    over = make_trial(1, 1.04, None, state="over budget", macs=None)
    assert "mlp1, needs at least 1.0 kB, 1.04 times" in nearest_message([failure, over])
    with pytest.raises(ConfigError, match="could be built and exported"):
        choose_trial(make_search(failure, over))


@pytest.mark.parametrize(
    "fields",
    [{"validation": 0}, {"precision": "fp8"}, {"seed": -1}, {"seconds": -1.0}],
)
def test_numbers_that_no_search_writes_are_refused(tmp_path, fields):
    write_search(RunFolder(tmp_path), replace(make_search(*FOUR), **fields))
    with pytest.raises(UntrustedFileError, match="that no search writes"):
        read_search(RunFolder(tmp_path))


def test_the_front_has_no_student_that_another_beats_in_both():
    assert [t.number for t in make_search(*FOUR).front()] == [1, 0, 2]


def test_of_equally_cheap_students_the_best_is_on_the_front():
    assert [
        t.number for t in make_search(make_trial(0, 0.5, 9), make_trial(1, 0.5, 7)).front()
    ] == [1]


def test_the_best_student_is_chosen():
    assert choose_trial(make_search(*FOUR, size=1000)).number == 2


def test_of_equal_students_the_cheaper_and_then_the_earlier_is_chosen():
    assert (
        choose_trial(
            make_search(make_trial(0, 0.5, 9), make_trial(1, 0.4, 9), make_trial(2, 0.4, 9))
        ).number
        == 1
    )


def test_with_a_goal_the_cheapest_student_that_meets_it_is_chosen():
    assert choose_trial(make_search(*FOUR, errors=25)).number == 0
    assert choose_trial(make_search(*FOUR, errors=30)).number == 1


def test_the_best_student_is_chosen_if_none_meets_the_goal():
    result = make_search(*FOUR, errors=5)
    result = replace(result, choice=choose_trial(result).number)
    assert result.winner.number == 2
    assert meets_goal(result) is False


def test_students_over_the_budget_are_never_chosen():
    over = make_trial(0, 1.5, None, "over budget")
    assert choose_trial(make_search(over, make_trial(1, 0.9, 50))).number == 1
    with pytest.raises(ConfigError, match=r"The nearest one, mlp0, needs 1\.5 kB, 1\.5 times what"):
        choose_trial(make_search(over, make_trial(1, 7.0, None, "over budget")))


def test_a_search_whose_students_all_diverged_says_so():
    with pytest.raises(DivergedError, match=r"Lower search.lr"):
        choose_trial(make_search(make_trial(0, 0.5, None, "failed")))


def test_a_search_is_read_as_it_was_written(tmp_path):
    folder = RunFolder(tmp_path)
    assert read_search(folder) is None
    result = replace(make_search(*FOUR, size=1000), choice=2)
    write_search(folder, result)
    assert read_search(folder) == result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema should be 1"),
        ({"device": "Cortex-A53"}, "device_factor=None is not that of a device"),
        ({"device": "Cortex-A53", "device_factor": -1}, "device_factor=-1"),
        ({"choice": 4}, "choice=4 is no trained student"),
        ({"choice": -1}, "choice=-1 is no trained student"),
        ({"trials": [{}]}, "trials"),
        ({"measure": "beauty"}, "measure"),
        ({"seed": 10**30}, "numbers that no search writes"),
    ],
)
def test_a_damaged_file_is_one_message(tmp_path, change, message):
    folder = RunFolder(tmp_path)
    write_search(folder, make_search(*FOUR))
    content = json.loads(folder.search.read_text(encoding="utf-8"))
    folder.search.write_text(json.dumps({**content, **change}), encoding="utf-8")
    with pytest.raises(UntrustedFileError, match=message):
        read_search(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": 7}, "number should be 0, found 7"),
        ({"share": -1}, "negative or not finite"),
        ({"value": None}, "has a value if it is trained"),
        ({"settings": {}}, "settings.student"),
        ({"settings": {"student": "mlp", "width": "8"}}, "settings.width should be a number"),
        ({"settings": {"student": "mlp", "lr": [1]}}, "settings.lr should be a number"),
        ({"state": "asleep"}, "state"),
        ({"params": 0}, "a student without parameters cannot be trained"),
        ({"state": "pruned", "value": None}, "pruned after a short training only"),
    ],
)
def test_a_damaged_trial_is_one_message(tmp_path, change, message):
    folder = RunFolder(tmp_path)
    write_search(folder, make_search(make_trial(0, 0.5, 20)))
    content = json.loads(folder.search.read_text(encoding="utf-8"))
    content["trials"][0] |= change
    folder.search.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UntrustedFileError, match=message):
        read_search(folder)
