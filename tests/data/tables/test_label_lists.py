"""Lists of labels in the cells of a table, as people and programs write them."""

from pathlib import Path

import pytest

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.tables.labels import LabelColumn
from limbeck.data.tables.targets import Targets, read_targets


def column(cells):
    return LabelColumn(
        Path("data.csv"), "tags", list(cells), [f"line {n}" for n in range(2, len(cells) + 2)]
    )


def read(cells, class_names=None) -> Targets:
    return read_targets([column(cells)], class_names, "multi_label")


EXPECTED = [["a", "b"], [], ["b"], ["c", "a"]]
"""Labels of four samples, which every form below writes in its way."""


@pytest.mark.parametrize(
    "cells",
    [
        ["a;b", "", "b", "c;a"],
        ["a; b;", "", "b;", " c ;a"],
        ["a|b", "", "b", "c|a"],
        ["a,b", "", "b", "c, a"],
        ['["a", "b"]', "[]", '["b"]', '["c", "a"]'],
        ["['a', 'b']", "[]", "['b']", "['c', 'a']"],
        ['["a", "b"]', "", "b", "c;a"],
        ["a;b;a", "", "b", "c;a"],
    ],
)
def test_forms_of_lists(cells):
    targets = read(cells)
    assert targets.names == ["a", "b", "c"]
    labels = [[targets.names[n] for n in row.nonzero().flatten()] for row in targets.labels]
    assert labels == [sorted(names) for names in EXPECTED]


def test_the_first_separator_of_a_column_divides_all_its_cells():
    assert read(["New York, NY;x", "x", ""]).names == ["New York, NY", "x"]
    assert read(["New York, NY|x", "x", ""]).names == ["New York, NY", "x"]


def test_numbers_are_sorted_by_value_and_lose_the_decimals_of_pandas():
    assert read(["10.0;2.0", "2", "1"]).names == ["1", "2", "10"]


def test_class_names_give_the_order_and_may_be_numbered_in_the_table():
    targets = read(["1;0", "2", "b"], ["b", "a", "c"])
    assert targets.names == ["b", "a", "c"]
    assert targets.labels.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    with pytest.raises(DataError, match=r"1 labels in column tags .* b, a: d \(line 3\)"):
        read(["a;b", "d"], ["b", "a"])


def test_a_column_of_0_and_1_is_one_label():
    targets = read(["0", "yes", "1.0", "False"])
    assert (targets.names, targets.labels.tolist()) == (["tags"], [[0], [1], [1], [0]])
    with pytest.raises(DataError, match=r"'' is missing \(line 3\)"):
        read(["0", "", "1"])
    with pytest.raises(ConfigError, match=r"have the names of their columns"):
        read(["0", "1"], ["a", "b"])


def test_lists_of_0_and_1_have_an_entry_for_each_label():
    targets = read(["[0, 1, 1]", "[false, false, true]", "[1, 0, 0]"])
    assert targets.names == ["label 0", "label 1", "label 2"]
    assert targets.labels.tolist() == [[0, 1, 1], [0, 0, 1], [1, 0, 0]]
    assert read(["[0, 1, 1]", "[0, 0, 1]"], ["a", "b", "c"]).names == ["a", "b", "c"]
    with pytest.raises(DataError, match=r"lists 2 labels, but the lists .* 3 entries"):
        read(["[0, 1, 1]", "[0, 0, 1]"], ["a", "b"])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a;b", "nan"], r"1 labels in column tags .*'nan' is missing \(line 3\).*a;b"),
        (["a;b", '["a"'], r"""'\["a"' is no list \(line 3\)"""),
        (["a;b", "[[[" * 300], r"is no list \(line 3\)"),
        (["a;b", '[{"a": 1}]'], r"is no list \(line 3\)"),
        (["a;b", "a;;b"], r"'' is missing \(line 3\)"),
        (["[]", "[]"], r"no row has a label in column tags"),
    ],
)
def test_mistakes_are_named(cells, message):
    with pytest.raises(DataError, match=message):
        read(cells)


def test_similar_names_are_a_warning():
    with pytest.warns(LimbeckWarning, match=r"similar names.*'Cat' and 'cat'"):
        read(["cat;dog", "Cat"])


def test_labels_are_described_for_messages():
    targets = read(["a;b", "", "b"])
    assert [targets.describe(row) for row in range(3)] == ["a + b", "no label", "b"]
    assert targets.differ(0, 1)
    assert not read(["a;b", "b;a", ""]).differ(0, 1)
    values = read_targets([column(["1.5", "2"]), column(["3", "4"])], None, "regression")
    assert values.describe(0) == "1.5, 3"
    classes = read_targets([column(["x", "y"] * 2)], None, "classes")
    assert classes.describe(3) == "y"


@pytest.mark.parametrize("cells", [["cat", "dog", "cat"], ["0", "1", "maybe"], ["0", "1", "2"]])
def test_classes_that_are_no_lists_are_a_warning(cells):
    with pytest.warns(LimbeckWarning, match="no row has more than one label in column tags"):
        read(cells)
