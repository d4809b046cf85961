"""Budgets: units, limits, and what contradicts itself."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.search.budget import Budget, Needs
from limbeck.search.settings import SearchSettings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "1MB", 1_000_000),
        ("size", "1.5 kB", 1500),
        ("size", "64KiB", 65_536),
        ("size", "2e3 b", 2000),
        ("latency", "2ms", 2.0),
        ("latency", "150us", 0.15),
        ("latency", "150 µs", 0.15),
        ("latency", "0.01s", 10.0),
        ("memory", "80MB", 80_000_000),
        ("memory", "1GiB", 2**30),
    ],
)
def test_quantities_have_units(name, text, value):
    assert getattr(Budget(**{name: text}).limits, name) == pytest.approx(value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "1"}, "budget.size=1 should be a number with one of the units b, kb, mb"),
        ({"size": 1000}, "budget.size=1000 should be a number with one of the units"),
        ({"size": "MB"}, "as in budget.size=1MB"),
        ({"size": "1..2MB"}, "as in budget.size=1MB"),
        ({"size": "1ms"}, "one of the units b"),
        ({"size": "-1MB"}, "one of the units"),
        ({"size": "0MB"}, "budget.size=0MB should be above 0"),
        ({"size": "1e999MB"}, "should be above 0"),
        ({"latency": "2 minutes"}, "one of the units us, µs, ms, s"),
        ({"memory": "lots"}, "budget.memory=lots should be a number"),
        ({"errors": -1}, "budget.errors=-1 should be a number of validation errors"),
        ({"errors": "few"}, "budget.errors=few"),
        ({"size": "1MB", "precision": "int4"}, "Choose one of fp32, int8"),
        ({}, "The budget is empty"),
        ({"size": "1MB", "profile": "pi.json"}, "belong together"),
        ({"size": "1MB", "bundle": "bundle"}, "belong together"),
        ({"size": "1MB", "profile": "a", "bundle": "b"}, "no latency is limited"),
        (
            {"latency": "1ms", "profile": [1], "bundle": "b"},
            "budget.profile=[1] should be the path",
        ),
        ({"sise": "1MB"}, "Did you mean `budget.size`?"),
    ],
)
def test_a_mistake_is_one_message(settings, message):
    with pytest.raises(ConfigError) as error:
        Budget.of(settings)
    assert message in str(error.value)


def test_the_share_is_the_largest_of_all_limits():
    budget = Budget(size="10kB", latency="1ms")
    assert budget.share(Needs(size=5000, latency=0.9)) == pytest.approx(0.9)
    assert budget.fits(Needs(size=5000, latency=0.9))
    assert not budget.fits(Needs(size=5000, latency=1.1))
    assert not budget.fits(Needs(size=10_001))


def test_without_a_limit_of_the_device_every_student_fits_and_the_size_orders_them():
    budget = Budget(errors=100)
    assert budget.fits(Needs(size=5e9))
    assert budget.share(Needs(size=2e6)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, "trials=0 should be a number of students"),
        ({"trials": 2.5}, "trials=2.5"),
        ({"trials": True}, "trials=True"),
        ({"hours": 0}, "hours=0 should be a number above 0"),
        ({"hours": float("inf")}, "hours=inf"),
        ({"search": {"students": ["cnn"]}}, "'cnn' is unknown"),
        ({"search": {"students": ["convent"]}}, "Did you mean convnet?"),
        ({"search": {"students": [["mlp"]]}}, "should be a list of different kinds"),
        ({"search": {"students": 7}}, "should be a list of different kinds"),
        ({"search": {"students": []}}, "should be a list of different kinds"),
        ({"search": {"width": [64, 8]}}, "search.width=[64, 8] should be two whole numbers"),
        ({"search": {"width": "wide"}}, "should be two whole numbers"),
        ({"search": {"lr": [0, 1]}}, "search.lr=[0, 1] should be two numbers"),
        ({"search": {"soft_weight": 2}}, "search.soft_weight=2"),
        ({"search": {"variants": 0}}, "search.variants=0"),
        ({"search": {"widht": 8}}, "Did you mean `search.width`?"),
        ({"search": 8}, "search=8 should be settings"),
        ({"budget": 8}, "budget=8 should be settings"),
    ],
)
def test_a_mistake_in_the_search_is_one_message(settings, message):
    with pytest.raises(ConfigError) as error:
        SearchSettings.of({"budget": {"size": "1MB"}, **settings})
    assert message in str(error.value)


def test_settings_are_the_same_after_they_were_written():
    settings = SearchSettings.of(
        {"budget": {"size": "1MB", "errors": 7}, "search": {"width": 8}, "trials": 9, "hours": 1}
    )
    assert settings.space.width == (8, 8)
    assert SearchSettings.of(settings.as_dict()) == settings


def test_a_round_has_no_more_students_than_are_left():
    settings = SearchSettings.of({"budget": {"size": "1MB"}, "trials": 10})
    assert settings.size_of_round(8, 0, 0, 0) == 8
    assert settings.size_of_round(8, 8, 1e9, 1) == 2
    assert settings.size_of_round(8, 10, 0, 0) == 0


def test_a_round_has_as_many_students_as_the_time_allows():
    settings = SearchSettings.of({"budget": {"size": "1MB"}, "hours": 1})
    assert settings.limit > 64
    assert settings.size_of_round(8, 0, 1e9, 1) == 8  # one round in any case
    assert settings.size_of_round(8, 8, 3000, 75) == 8
    assert settings.size_of_round(8, 8, 3001, 75) == 7
    assert settings.size_of_round(8, 8, 3500, 101) == 0
    assert settings.size_of_round(8, 8, 3500, 0) == 8  # of a search that goes on
    assert settings.size_of_round(8, 8, 3600, 0) == 0


def test_settings_of_another_type_are_one_message():
    with pytest.raises(ConfigError, match="fit='x' should be a group of settings"):
        SearchSettings.of("x")
