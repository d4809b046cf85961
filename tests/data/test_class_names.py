"""Grades in their order, missing labels, and classes that may be one."""

import warnings

import pytest
from support.image_files import SIZE, read_csv, write_csv, write_folder

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import image_folder
from limbeck.data.class_names import (
    class_order_hint,
    missing_labels,
    natural_sort,
    sort_grades,
    warn_of_similar_names,
    whole_numbers,
)


@pytest.mark.parametrize(
    "grades",
    [
        ["0", "1", "2", "10"],
        ["-1", "0", "1"],
        ["0.5", "1.0", "10.0"],
        ["0_none", "1_mild", "2_severe", "10_worst"],
        ["1 star", "3 stars", "20 stars"],
        ["stage 2", "stage 3b", "stage 10"],
        ["good", "ill"],
    ],
)
def test_grades_are_sorted_by_their_numbers(grades):
    assert sort_grades(grades[::-1], "in") == grades


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b2", "b10", "b10a", "c"],
        ["-1", "0", "0.5", "1e0", "10"],
        ["class1", "class2", "class10"],
        ["1.5 cm", "2 cm", "10 cm"],
        ["a01", "a1", "a2"],
        ["Z", "a"],
        ["x" + "1" * 50, "x" + "2" * 50, "x" + "1" * 5000],
        ["²", "³"],
    ],
)
def test_names_are_sorted_as_people_do(names):
    assert natural_sort(names[::-1]) == names


@pytest.mark.parametrize(
    ("names", "is_given"),
    [(["2", "10"], True), (["10", "2"], False), (["a", "b"], False), (["z", "a"], False)],
)
def test_another_order_before_version_0_2_is_a_hint(names, is_given):
    assert ("class_order='text'" in class_order_hint(names)) == is_given


@pytest.mark.parametrize(
    ("labels", "forms"),
    [
        (["3.0", "10.", "+2", "-1.00"], ["3", "10", "+2", "-1"]),
        (["3.0", "2.5"], ["3.0", "2.5"]),
        (["3.0", "cat"], ["3.0", "cat"]),
    ],
)
def test_whole_numbers_lose_their_decimals(labels, forms):
    assert list(map(whole_numbers(labels).get, labels)) == forms


@pytest.mark.parametrize(
    "words", [["mild", "none", "severe"], ["1a", "1b", "2"], ["1.5 cm", "1.7 cm", "2 cm"]]
)
def test_the_order_of_words_is_asked_for(words):
    with pytest.raises(ConfigError, match=r"as in data\.class_names=\[" + ",".join(words)):
        sort_grades(words, "in")


def test_both_readers_take_the_order_of_grades(tmp_path):
    names = ["none", "mild", "severe"]
    folder = write_folder(tmp_path / "folder", sorted(names))
    rows = [f"{number},{names[number % 3]}" for number in range(40)]
    table = write_csv(tmp_path / "table", "\n".join(["file,label", *rows]))
    for read in (
        lambda **options: image_folder(folder, **SIZE, **options),
        lambda **options: read_csv(table, **options),
    ):
        with pytest.raises(ConfigError, match="mild, none, severe are words"):
            read(ordinal=True)
        assert read(ordinal=True, class_names=names).class_names == names
        assert read().class_names == sorted(names)
    with pytest.raises(ConfigError, match=r"should list the class folders in .*: mild, none, sev"):
        image_folder(folder, **SIZE, class_names=["none", "mild"])


def test_grades_of_a_table_may_be_decimal_numbers(tmp_path):
    rows = [f"{number},{number % 4 * 5}.0" for number in range(40)]
    table = write_csv(tmp_path / "in", "\n".join(["file,label", *rows]))
    assert read_csv(table, ordinal=True).class_names == ["0", "5", "10", "15"]


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        (["cat", "nan", "NaN", "<NA>"], {"nan", "NaN", "<NA>"}),
        (["0", "1", "NA", "None"], {"NA", "None"}),
        (["none", "mild", "NA"], set()),
        (["none"], set()),
    ],
)
def test_labels_that_stand_for_a_missing_one(labels, missing):
    assert missing_labels(labels) == missing


def test_missing_labels_are_named(tmp_path):
    rows = [f"{number},{'nan' if number == 7 else number % 2}.0" for number in range(40)]
    table = write_csv(tmp_path / "in", "\n".join(["file,label", *rows]).replace("nan.0", "nan"))
    with pytest.raises(DataError, match=r"1 labels in column label are missing: nan \(7\)\. Fill"):
        read_csv(table)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["0", "0.0", "1", "Cat", "cat "], "'0' and '0.0'; 'Cat' and 'cat '"),
        (["1", "1e0", "2"], "'1' and '1e0'"),
        (["polar bear", "Polar_Bear"], "'polar bear' and 'Polar_Bear'"),
        (["caf\u00e9", "cafe\u0301"], "'caf\u00e9' and 'cafe\u0301'"),
    ],
)
def test_similar_names_are_reported(names, pairs):
    with pytest.warns(LimbeckWarning, match=f"read as different classes: {pairs}. Use one"):
        warn_of_similar_names(names, "in")


def test_other_names_are_not_similar():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_similar_names(["C", "C++", "A", "A-", "1", "10", "-1", "1.5"], "in")


def test_both_readers_report_similar_names(tmp_path):
    folder = write_folder(tmp_path / "folder", ("Cat", "cat"))
    rows = [f"{number},{('0.5', '.50', '1')[number % 3]}" for number in range(40)]
    rows = [row.replace(",.50", ",0.50") for row in rows]
    table = write_csv(tmp_path / "table", "\n".join(["file,label", *rows]))
    with pytest.warns(LimbeckWarning, match="'Cat' and 'cat'"):
        image_folder(folder, **SIZE)
    with pytest.warns(LimbeckWarning, match="'0.5' and '0.50'"):
        read_csv(table)
