import pytest

from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import (
    check_arms,
    check_flags,
    check_sections,
    is_control,
    merge_differences,
    merge_objective,
)

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
    "optimizer": {"lr": 0.001},
    "overwrite": False,
    "quick": False,
}


@pytest.mark.parametrize("name", ["a/b", "teacher", "", 4])
def test_a_bad_name_of_an_arm_is_refused(name):
    if name != 4:
        with pytest.raises(ConfigError, match="it becomes the name of a folder"):
            check_arms({"good": None, name: {}}, SETTINGS)
    check_arms({"good": None, str(4): {}}, SETTINGS)


def test_a_study_needs_an_arm():
    with pytest.raises(ConfigError, match="arms is empty"):
        check_arms({}, SETTINGS)


@pytest.mark.parametrize("arms", [None, "kd", ["kd"], 5])
def test_arms_that_are_not_listed_by_name_are_refused(arms):
    with pytest.raises(ConfigError, match=r"arms=.* should list arms by name"):
        check_arms(arms, SETTINGS)


def test_good_arms_pass():
    check_arms(
        {
            "hard": None,
            "kd": {},
            4: {"objective": {"temperature": 8.0}},
            "own": {
                "objective": {"_target_": "mine.Loss", "anything": 1},
                "views": {"_target_": "v"},
            },
            "named": {"views": "shift"},
            "less": {"transfer": {"samples": 0.1}, "student": {"hidden": [5]}, "control": "hard"},
        },
        SETTINGS,
    )


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            {"objectiv": {}},
            r"Unknown key `arms\.kd\.objectiv`\. Did you mean `arms\.kd\.objective`\?",
        ),
        (
            {"loss": 3},
            r"Unknown key `arms\.kd\.loss`\. Known keys: objective, student, views, transfer, "
            r"optimizer, epochs, control",
        ),
        (
            {"objective": {"temprature": 2}},
            r"`arms\.kd\.objective\.temprature`\. Did you mean `.*\.temperature`\?",
        ),
        (
            {"objective": {"alpha": 2}},
            r"Unknown key `arms\.kd\.objective\.alpha`\. Known keys: _target_, temperature",
        ),
        (
            {"transfer": {"sample": 2}},
            r"`arms\.kd\.transfer\.sample`\. Did you mean `arms\.kd\.transfer\.samples`\?",
        ),
        (
            {"student": {"hiden": [5]}},
            r"`arms\.kd\.student\.hiden`\. Did you mean `arms\.kd\.student\.hidden`\?",
        ),
        ({"views": {"pixels": 2}}, r"Unknown key `arms\.kd\.views\.pixels`\. Known keys: _target_"),
        ({7: 1}, r"Unknown key `arms\.kd\.7`\. Known keys: "),
        ({"objective": "kl"}, r"arms\.kd\.objective='kl' should be a group of settings"),
        ("objective", r"arms\.kd='objective' should list the arm's differences"),
        ([1], r"arms\.kd=\[1\] should list the arm's differences"),
        (0, r"arms\.kd=0 should list the arm's differences"),
    ],
)
def test_a_bad_arm_is_refused_with_its_key(arm, message):
    with pytest.raises(ConfigError, match=message):
        check_arms({"hard": None, "kd": arm}, SETTINGS)


@pytest.mark.parametrize("flag", ["overwrite", "quick"])
@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_is_true_or_false(flag, value):
    check_flags(SETTINGS)
    with pytest.raises(ConfigError, match=rf"{flag}=.* should be true or false"):
        check_flags(SETTINGS | {flag: value})


def test_every_key_of_a_section_is_needed_and_no_other_is_allowed():
    sections = {"": tuple(SETTINGS), "transfer": ("samples", "labelled", "seed")}
    check_sections(SETTINGS, sections)
    with pytest.raises(ConfigError, match=r"Unknown key `transfer\.seed`\. Known keys: samples"):
        check_sections(SETTINGS, {"transfer": ("samples", "labelled")})
    with pytest.raises(ConfigError, match=r"The setting `transfer\.without` is missing"):
        check_sections(SETTINGS, {"transfer": ("samples", "labelled", "seed", "without")})


def test_differences_with_a_target_replace_the_section_whole():
    base = SETTINGS["student"]
    assert merge_differences(base, None) == base
    assert merge_differences(base, {"hidden": [5]}) == {**base, "hidden": [5]}
    assert merge_differences(base, {"_target_": "mine.Net"}) == {"_target_": "mine.Net"}


def test_a_control_does_not_inherit_features():
    base = {"soft_weight": 0.9, "features": ["hint"]}
    assert is_control({"soft_weight": 0})
    assert not is_control({"soft_weight": 0, "features": ["hint"]})
    assert merge_objective(base, {"soft_weight": 0}) == {"soft_weight": 0, "features": []}
    assert merge_objective(base, {"temperature": 2})["features"] == ["hint"]
