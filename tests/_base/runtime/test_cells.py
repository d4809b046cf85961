"""The runtime of bundles: values in the cells of tables."""

import math

import pytest

from limbeck._base.runtime.cells import category_in, number_in


@pytest.mark.parametrize(
    ("cell", "value"),
    [("3", 3.0), ("-0.5", -0.5), (".5", 0.5), ("1e3", 1000.0), ("+2.", 2.0)],
)
def test_numbers(cell, value):
    assert number_in(cell) == value


def test_numbers_with_a_decimal_comma():
    assert number_in("1,5", ",") == 1.5
    assert number_in("1.5", ",") == 1.5
    with pytest.raises(ValueError, match="'1,5' is not a number"):
        number_in("1,5")


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "null", "None", "?", "#N/A", "<NA>"])
def test_missing_values(cell):
    assert math.isnan(number_in(cell))
    assert math.isnan(category_in(cell, ["blue", "red"]))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("many", "not a number"),
        ("1,000.5", "not a number"),
        ("inf", "not a"),
        ("1e39", "too large"),
    ],
)
def test_other_cells_are_no_numbers(cell, reason):
    with pytest.raises(ValueError, match=reason):
        number_in(cell)


def test_categories():
    assert category_in("red", ["blue", "red"]) == 1
    assert category_in("NA", ["DE", "NA"]) == 1, "a known category is not missing"
    assert category_in("cafe\u0301", ["bar", "caf\u00e9"]) == 1, "two forms in Unicode"
    assert category_in("3.0", ["1", "2", "3"]) == 2
    assert category_in("3,0", ["1", "2", "3"], ",") == 2
    with pytest.raises(ValueError, match="'green' is none of the categories blue; red"):
        category_in("green", ["blue", "red"])
    with pytest.raises(ValueError, match=r"0; 1; .*; 9; and 20 more"):
        category_in("x", list(map(str, range(30))))
