import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck._base.checks import (
    check_arm_names,
    check_arms,
    check_count,
    check_flags,
    closest,
    seed_list,
)
from limbeck._base.errors import ConfigError

SETTINGS = {
    "objective": {
        "_target_": "limbeck.Objective",
        "temperature": 4.0,
        "hard_weight": 0.1,
        "soft_weight": 0.9,
    },
    "student": {"_target_": "limbeck.models.MLP", "hidden": [800], "dropout": 0.0},
    "views": {"_target_": "limbeck.data.NoViews"},
    "transfer": {"samples": None, "labelled": None, "seed": 0},
    "overwrite": False,
    "quick": False,
}
NO_COUNT = [0, -1, 1.0, 2.5, True, False, None, "3", [3], float("nan")]


@given(st.integers(1))
def test_counts(value):
    assert check_count("epochs", value) == value


@pytest.mark.parametrize("value", NO_COUNT)
def test_bad_counts(value):
    with pytest.raises(
        ConfigError, match=r"epochs=.* should be a whole number of at least 1"
    ) as caught:
        check_count("epochs", value)
    assert repr(value) in str(caught.value)


@given(st.integers(1, 50))
def test_a_number_of_seeds(count):
    assert seed_list(count) == list(range(count))


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=20, unique=True))
def test_a_list_of_seeds(seeds):
    assert seed_list(seeds) == seed_list(tuple(seeds)) == seeds


@given(st.lists(st.integers(0, 5), min_size=7, max_size=9))
def test_repeated_seeds(seeds):
    with pytest.raises(ConfigError, match="names a seed twice"):
        seed_list(seeds)


@pytest.mark.parametrize(
    "seeds",
    [
        0,
        -2,
        True,
        None,
        5.0,
        "5",
        "0,1",
        [],
        [-1],
        [2**31],
        [1.0],
        [True],
        ["1"],
        [None],
        [[1]],
        {"a": 1},
    ],
)
def test_bad_seeds(seeds):
    with pytest.raises(ConfigError, match="seeds="):
        seed_list(seeds)


@pytest.mark.parametrize(
    "name", ["kd", "T=4", "a", "0", "kd_T4.5", "a+b", "x,y", "A-b", "Teacher", "teacher2"]
)
def test_good_arm_names(name):
    check_arm_names([name])


@pytest.mark.parametrize(
    "name",
    [
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
    ],
)
def test_bad_arm_names(name):
    with pytest.raises(ConfigError, match="it names a folder"):
        check_arm_names(["good", name])
    with pytest.raises(ConfigError, match="it names a folder"):
        check_arms({"good": None, name: {}}, SETTINGS)


@given(st.text("aZ9._+=,-/\\: \n~", max_size=9))
def test_a_name_that_passes_stays_in_its_folder(name):
    from pathlib import PurePosixPath, PureWindowsPath

    try:
        check_arm_names([name])
    except ConfigError:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind("run") / name
        assert path.parent == kind("run")
        assert path.name == name


def test_a_name_that_is_no_text():
    with pytest.raises(ConfigError, match=r"arms\.4: a name of .* was expected"):
        check_arm_names([4])


def test_no_arms():
    with pytest.raises(ConfigError, match="arms is empty"):
        check_arm_names([])
    with pytest.raises(ConfigError, match="arms is empty"):
        check_arms({}, SETTINGS)


@pytest.mark.parametrize("arms", [None, "kd", ["kd"], 5])
def test_arms_that_are_no_mapping(arms):
    with pytest.raises(ConfigError, match=r"arms=.* should list arms by name"):
        check_arms(arms, SETTINGS)


def test_good_arms():
    check_arms(
        {
            "hard": None,
            "kd": {},
            4: {"objective": {"temperature": 8.0}},
            "own": {
                "objective": {"_target_": "mine.Loss", "anything": 1},
                "views": {"_target_": "v"},
            },
            "less": {"transfer": {"samples": 0.1}, "student": {"hidden": [5]}, "control": "hard"},
        },
        SETTINGS,
    )


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"objectiv": {}}, r"unknown key arms\.kd\.objectiv; did you mean arms\.kd\.objective\?"),
        (
            {"loss": 3},
            r"unknown key arms\.kd\.loss; known are objective, student, views, transfer, "
            r"optimizer, epochs, control",
        ),
        (
            {"objective": {"temprature": 2}},
            r"arms\.kd\.objective\.temprature; did you mean .*\.temperature\?",
        ),
        (
            {"objective": {"alpha": 2}},
            r"unknown key arms\.kd\.objective\.alpha; known are _target_, temperature",
        ),
        (
            {"transfer": {"sample": 2}},
            r"arms\.kd\.transfer\.sample; did you mean arms\.kd\.transfer\.samples\?",
        ),
        (
            {"student": {"hiden": [5]}},
            r"arms\.kd\.student\.hiden; did you mean arms\.kd\.student\.hidden\?",
        ),
        ({"views": {"pixels": 2}}, r"unknown key arms\.kd\.views\.pixels; known are _target_"),
        ({7: 1}, r"unknown key arms\.kd\.7; known are"),
        ("objective", r"arms\.kd='objective' should list the arm's differences"),
        ([1], r"arms\.kd=\[1\] should list the arm's differences"),
        (0, r"arms\.kd=0 should list the arm's differences"),
    ],
)
def test_bad_arms(arm, message):
    with pytest.raises(ConfigError, match=message):
        check_arms({"hard": None, "kd": arm}, SETTINGS)


def test_closest():
    known = ["objective", "student", "views"]
    assert closest("objetive", known) == "objective"
    assert closest("view", iter(known)) == "views"
    assert closest("zzz", known) is None
    assert closest("", known) is None
    assert closest("anything", []) is None


@pytest.mark.parametrize("flag", ["overwrite", "quick"])
@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_flags(flag, value):
    check_flags(SETTINGS)
    with pytest.raises(ConfigError, match=rf"{flag}=.* should be true or false"):
        check_flags(SETTINGS | {flag: value})
