"""The arms of a sweep: each once, with a legal name, and with the settings of its point."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck._base.checks import check_arm_names
from limbeck._base.errors import ConfigError
from limbeck.cli.config.arms import merge_differences
from limbeck.cli.config.compose import compose
from limbeck.cli.config.sweep import Point, distinct, expand, points

BASE = {
    "objective": {
        "hard_weight": 0.1,
        "soft_weight": 0.9,
        "temperature": 4.0,
        "soft": "kl",
        "scale_by_t2": True,
    },
    "student": {"_target_": "limbeck.models.MLP", "hidden": [50], "dropout": 0.0},
    "views": {"_target_": "limbeck.data.NoViews"},
    "transfer": {"samples": None, "labelled": None, "seed": 0},
    "optimizer": {"name": "adam", "lr": 0.001, "momentum": 0.9},
    "arms": {"hard": {"objective": {"hard_weight": 1.0, "soft_weight": 0.0}}, "soft": {}},
}


def at(point, base=BASE):
    """The settings of a study at a point."""
    settings = {**base}
    for key, value in point.items():
        section, _, name = key.partition(".")
        settings[section] = {**settings[section], name: value}
    return settings


def arms_of(sweeps, base=BASE):
    return expand(base, [Point(values, at(values, base)) for values in points(sweeps)])


def trained(base, arm):
    """What an arm's students are trained with."""
    return {
        section: merge_differences(base[section], arm.get(section))
        for section in base
        if section != "arms"
    }


def test_a_control_has_no_temperature_and_one_student_a_size():
    arms = arms_of({"objective.temperature": [1, 2.5, 20], "student.hidden": [[50], [200, 200]]})
    assert list(arms) == [
        "hard,hidden=50",
        "hard,hidden=200-200",
        "soft,temperature=1,hidden=50",
        "soft,temperature=1,hidden=200-200",
        "soft,temperature=2.5,hidden=50",
        "soft,temperature=2.5,hidden=200-200",
        "soft,temperature=20,hidden=50",
        "soft,temperature=20,hidden=200-200",
    ]
    assert arms["hard,hidden=50"] == {
        "objective": {"hard_weight": 1.0, "soft_weight": 0.0},
        "student": {"hidden": [50]},
    }
    assert arms["soft,temperature=2.5,hidden=50"] == {
        "objective": {"temperature": 2.5},
        "student": {"hidden": [50]},
    }


def test_an_arm_that_sets_the_key_itself_stays_and_equal_arms_are_one():
    base = {**BASE, "arms": {**BASE["arms"], "hot": {"objective": {"temperature": 8}}}}
    arms = arms_of({"objective.temperature": [4, 8]}, base)
    assert list(arms) == ["hard", "soft,temperature=4", "soft,temperature=8"]
    assert list(arms_of({"objective.temperature": [2, 4]}, base)) == [
        "hard",
        "soft,temperature=2",
        "soft,temperature=4",
        "hot",
    ]


def test_without_soft_loss_nothing_else_of_it_matters():
    arms = arms_of({"objective.soft_weight": [0, 0.5], "objective.temperature": [1, 2]})
    assert list(arms) == [
        "hard",
        "soft,soft_weight=0",
        "soft,soft_weight=0.5,temperature=1",
        "soft,soft_weight=0.5,temperature=2",
    ]


def test_a_control_that_is_named_is_the_one_of_the_same_point():
    own = {"soft": {"control": "plain"}, "plain": {"objective": {"soft_weight": 0}}}
    arms = arms_of({"optimizer.lr": [0.01, 0.1]}, {**BASE, "arms": own})
    assert {name: arm.get("control") for name, arm in arms.items()} == {
        "soft,lr=0.01": "plain,lr=0.01",
        "soft,lr=0.1": "plain,lr=0.1",
        "plain,lr=0.01": None,
        "plain,lr=0.1": None,
    }


def test_a_key_that_is_chosen_gives_arms_a_choice():
    command = ["quick=true", "objective.temperature=1,4", "optimizer.lr=0.001,0.01"]
    arms = compose([*command, "choose=optimizer.lr"], multirun=True).arms
    choices = {name: arm["choice"] for name, arm in arms.items()}
    assert choices == {
        "hard,lr=0.001": "hard",
        "hard,lr=0.01": "hard",
        "soft,temperature=1,lr=0.001": "soft,temperature=1",
        "soft,temperature=1,lr=0.01": "soft,temperature=1",
        "soft,temperature=4,lr=0.001": "soft,temperature=4",
        "soft,temperature=4,lr=0.01": "soft,temperature=4",
    }
    both = compose([*command, "choose=[optimizer.lr,objective.temperature]"], multirun=True).arms
    assert {arm["choice"] for arm in both.values()} == {"hard", "soft"}


@pytest.mark.parametrize("value", ["optimizer.lr", "[objective.temperature,optimizer.lr]", "3"])
def test_a_key_to_choose_is_swept(value):
    with pytest.raises(ConfigError, match=r"choose=.* should name swept keys"):
        compose([f"choose={value}", "objective.temperature=1,4"], multirun=True)
    with pytest.raises(ConfigError, match=r"choose=.* should name swept keys"):
        compose([f"choose={value}"])


def test_keys_are_as_long_as_they_must_be():
    base = {**BASE, "views": {"_target_": "limbeck.data.Shift", "dropout": 1}}
    names = list(
        arms_of(
            {"student.dropout": [0, 0.5], "views.dropout": [1, 2], "optimizer.lr": [1e-5, 1]}, base
        )
    )
    assert names[0] == "hard,student.dropout=0,views.dropout=1,lr=1e-05"
    check_arm_names(names)


@pytest.mark.parametrize("key", ["objective.temperature", "transfer.seed", "optimizer.momentum"])
def test_a_key_without_effect_is_refused(key):
    base = {**BASE, "arms": {"hard": BASE["arms"]["hard"]}}
    with pytest.raises(ConfigError, match=f"{key} is swept but no arm depends on it"):
        arms_of({key: [1, 2]}, base)


def test_too_many_points():
    with pytest.raises(ConfigError, match="over 10,000 points"):
        points({"a": range(101), "b": range(100)})


def test_repeated_values_are_one():
    assert distinct([1, 2, 1]) == [1, 2]
    assert distinct([4, 4.0, 1, True, [1, 2], [1.0, 2], None, "4"]) == [
        4,
        1,
        True,
        [1, 2],
        None,
        "4",
    ]


VALUES = {
    "objective.temperature": st.one_of(st.integers(1, 50), st.floats(0.1, 50)),
    "objective.soft_weight": st.sampled_from([0, 0.0, 0.1, 0.5, 1, 1.0]),
    "objective.soft": st.sampled_from(["kl", "logits", "a b", "a-b", "ä/ö", ""]),
    "student.hidden": st.lists(st.integers(1, 999), max_size=40),
    "optimizer.lr": st.floats(1e-9, 1e9),
    "optimizer.name": st.sampled_from(["adam", "sgd"]),
    "optimizer.momentum": st.floats(0, 1),
    "transfer.labelled": st.one_of(st.none(), st.integers(1, 99), st.floats(0.01, 1)),
}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_point_has_its_arm_once_with_a_legal_name(data):
    keys = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    sweeps = {
        key: distinct(data.draw(st.lists(VALUES[key], min_size=1, max_size=4))) for key in keys
    }
    try:
        arms = arms_of(sweeps)
    except ConfigError:
        return
    check_arm_names(list(arms))
    assert len({name.casefold() for name in arms} | set(arms)) >= len(arms)
    arms_found = [trained(BASE, arm) for arm in arms.values()]
    for one, other in itertools.combinations(arms_found, 2):
        assert one != other, "two arms train equal students"
    for point in points(sweeps):
        whole = at(point)
        for own in BASE["arms"].values():
            expected = trained(whole, own)
            controls = expected["objective"]["soft_weight"] == 0
            assert any(same(expected, arm, controls=controls) for arm in arms_found)


def same(expected, arm, *, controls):
    """Equal but for what has no effect."""
    objective, other = dict(expected["objective"]), dict(arm["objective"])
    for name in ("temperature", "soft", "scale_by_t2", "soft_weight") if controls else ():
        if name != "soft_weight" or other["soft_weight"] == 0:
            objective.pop(name), other.pop(name)
    idle = {"momentum"} if expected["optimizer"]["name"] != "sgd" else set()
    optimizers = [
        {k: v for k, v in entry["optimizer"].items() if k not in idle} for entry in (expected, arm)
    ]
    rest = ("student", "views", "transfer")
    return (
        objective == other
        and optimizers[0] == optimizers[1]
        and all(expected[k] == arm[k] for k in rest)
    )


# Through Hydra ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("objective.temperature=1,2.5,20", [1, 2.5, 20]),
        ("objective.temperature=choice(1,4)", [1, 4]),
        ("objective.temperature=range(1,4)", [1, 2, 3]),
        ("objective.temperature=range(0.5,2,0.5)", [0.5, 1.0, 1.5]),
        ("objective.temperature=shuffle(1,2,3)", [1, 2, 3]),
    ],
)
def test_values_are_read_as_hydra_reads_them(sweep, values):
    arms = compose([sweep], multirun=True).arms
    assert [arm.objective.temperature for name, arm in arms.items() if name != "hard"] == values


def test_groups_are_swept_whole_and_the_teacher_stays():
    settings = compose(["student=mlp,convnet", "views=none,shift", "recipe=mnist"], multirun=True)
    plain = compose(["recipe=mnist"])
    assert settings.teacher == plain.teacher
    assert settings.views == plain.views
    names = list(settings.arms)
    assert "hard,student=convnet" in names
    assert "hard,student=convnet,views=none" not in names, "the arm 'hard' sets its views itself"
    assert "hard-shifts,student=mlp,views=none" not in names, (
        "with these views it is the arm 'hard'"
    )
    assert settings.arms["soft-shifts,student=convnet,views=shift"].student.channels == [8, 16, 32]
    assert settings.arms["hard,student=mlp"].student.hidden == [50]


def test_a_sweep_of_the_command_line_stays_beside_its_section():
    words = ["student=mlp", "sweep={student.hidden: [[8], [9]], objective.temperature: [1, 2]}"]
    config = compose(["recipe=question_tasks", "data=mnist", "teacher=convnet", *words])
    assert set(config.sweep) == {"student.hidden", "objective.temperature"}
    assert {tuple(arm.student.hidden) for arm in config.arms.values()} == {(8,), (9,)}


def test_a_key_that_is_set_and_swept_is_one_message():
    words = ["objective.temperature=3", "sweep={objective.temperature: [1, 2]}"]
    with pytest.raises(ConfigError, match=r"objective\.temperature is both set and swept"):
        compose(words)


def test_one_value_is_no_sweep_and_without_any_it_is_a_plain_study():
    assert compose(["objective.temperature=3"], multirun=True) == compose(
        ["objective.temperature=3"]
    )
    glob = compose(["student=glob([c*,ml*])"], multirun=True)
    assert list(glob.arms) == [
        "hard,student=convnet",
        "hard,student=mlp",
        "soft,student=convnet",
        "soft,student=mlp",
    ]


def test_an_interpolation_follows_the_sweep(tmp_path):
    (tmp_path / "recipe").mkdir()
    recipe = (
        "# @package _global_\nrecipe: mine\n"
        "arms: {soft: {objective: {hard_weight: '${objective.soft_weight}'}}}\n"
    )
    (tmp_path / "recipe" / "mine.yaml").write_text(recipe, encoding="utf-8")
    arms = compose(["recipe=mine", "objective.soft_weight=0.25,0.5"], tmp_path, multirun=True).arms
    assert arms["soft,soft_weight=0.25"].objective == {"soft_weight": 0.25, "hard_weight": 0.25}
