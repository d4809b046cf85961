from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.checks import (
    check_arm_names,
    check_count,
    check_keys,
    check_seed,
    closest,
    seed_list,
)
from limbeck._base.errors import ConfigError

NOT_COUNTS = [0, -1, 1.0, 2.5, True, False, None, "3", [3], float("nan")]
NOT_SEEDS = [-1, 2**31, 1.0, True, "1", None, [1]]
BAD_NAMES = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "\\x",
    "a\\b",
    "C:x",
    "a b",
    "a\n",
    "~",
    "-rf",
    ".hidden",
    "é",
    "a\0",
    "teacher",
    "*",
    "${oc.env:HOME}",
    "a" * 101,
]
few = settings(max_examples=30)


@pytest.mark.parametrize("value", [1, 2, 10**12])
def test_a_count_is_returned_as_it_is(value):
    assert check_count("epochs", value) == value


@pytest.mark.parametrize("value", NOT_COUNTS)
def test_a_value_that_is_no_count_is_named(value):
    with pytest.raises(
        ConfigError, match=r"epochs=.* should be a whole number of at least 1"
    ) as error:
        check_count("epochs", value)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("value", NOT_SEEDS)
def test_a_value_that_is_no_seed_is_named(value):
    assert check_seed("seed", 2**31 - 1) == 2**31 - 1
    with pytest.raises(ConfigError, match=r"seed=.* should be a whole number from 0 to 2147483647"):
        check_seed("seed", value)


@pytest.mark.parametrize("count", [1, 5, 50])
def test_a_number_of_seeds_counts_from_zero(count):
    assert seed_list(count) == list(range(count))


@few
@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=20, unique=True))
def test_a_list_of_seeds_keeps_its_order(seeds):
    assert seed_list(seeds) == seed_list(tuple(seeds)) == seeds


def test_a_repeated_seed_is_refused():
    with pytest.raises(ConfigError, match="contains a seed twice"):
        seed_list([3, 1, 3])


@pytest.mark.parametrize("seeds", [0, -2, True, None, 5.0, "5", "0,1", [], {"a": 1}])
def test_seeds_that_are_neither_a_number_nor_a_list_are_refused(seeds):
    with pytest.raises(ConfigError, match="seeds="):
        seed_list(seeds)


@pytest.mark.parametrize("seed", NOT_SEEDS)
def test_a_list_with_a_bad_seed_is_refused(seed):
    with pytest.raises(ConfigError, match="seeds="):
        seed_list([0, seed])


@pytest.mark.parametrize(
    "name", ["kd", "T=4", "a", "0", "kd_T4.5", "a+b", "x,y", "A-b", "Teacher", "teacher2"]
)
def test_good_arm_names_pass(name):
    check_arm_names([name])


@pytest.mark.parametrize("name", [*BAD_NAMES, 4])
def test_an_arm_name_that_is_unfit_for_a_folder_is_refused(name):
    with pytest.raises(ConfigError, match="it becomes the name of a folder"):
        check_arm_names(["good", name])


@few
@given(st.text("aZ9._+=,-/\\: \n~", max_size=9))
def test_a_valid_name_stays_in_its_folder(name):
    try:
        check_arm_names([name])
    except ConfigError:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind("run") / name
        assert path.parent == kind("run")
        assert path.name == name


def test_a_study_needs_an_arm():
    with pytest.raises(ConfigError, match="arms is empty"):
        check_arm_names([])


def test_the_closest_word_is_found_if_one_is_near():
    groups = ["objective", "student", "views"]
    assert closest("objetive", groups) == "objective"
    assert closest("view", iter(groups)) == "views"
    assert closest("zzz", groups) is None
    assert closest("", groups) is None
    assert closest("anything", []) is None


@pytest.mark.parametrize(
    ("keys", "where", "message"),
    [
        (["epoch"], "", "Unknown key `epoch`. Did you mean `epochs`? Known keys: epochs, seeds."),
        (["epoch"], "a.b", "Unknown key `a.b.epoch`. Did you mean `a.b.epochs`? Known keys: "),
        (["seeds", "zzz"], "a", "Unknown key `a.zzz`. Known keys: epochs, seeds."),
        ([7], "a", "Unknown key `a.7`. Known keys: "),
    ],
)
def test_an_unknown_key_is_named_with_the_closest_and_all_known_ones(keys, where, message):
    check_keys(["seeds", "epochs"], ("epochs", "seeds"), where)
    with pytest.raises(ConfigError) as error:
        check_keys(keys, ("epochs", "seeds"), where)
    assert str(error.value).startswith(message)
