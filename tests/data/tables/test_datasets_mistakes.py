"""Mistakes in tables: each is one message, or a warning."""

import re

import pytest
import torch
from support.table_lines import joined, lines

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import table


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "bougth"}, r"column bougth is missing; .*Did you mean bought\?"),
        ({"label": "zzz"}, r"column zzz is missing; the columns are age, .* Set data\.label="),
        ({"ignore": ["wages"]}, "column wages is missing"),
        ({"categorical": "wages"}, "column wages is missing"),
        ({"ignore": ["age", "colour", "income"]}, "has no columns beside age, bought, colour, inc"),
        ({"label": "income"}, r"income is empty in line 2; line 7; .*; and 1 more"),
        ({"label": "age"}, "column age contains 60 different values in 60 rows"),
        ({"split": "colour"}, "the column of splits contains blue; green; red; expected train"),
        ({"class_names": ["no", "maybe"]}, "labels in column bought are not among"),
        ({"label": "age", "task": "regression", "val": 0.99, "test": 0.001}, "none of the 60 rows"),
    ],
)
def test_wrong_columns_are_named(read, settings, message):
    with pytest.raises(DataError, match=message):
        read(lines(), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": []}, r"data\.label=\[\] should be the name of a column"),
        (
            {"label": ["age", "bought"]},
            r"The labels are 2 columns \(age, bought\), but data\.task=classes",
        ),
        ({"task": "next_token"}, r"data\.task=next_token is for text"),
        ({"class_names": ["a", "b"], "task": "regression"}, r"data\.class_names is for classes"),
        ({"task": "rank"}, r"data\.task='rank' is unknown"),
        ({"test": 1.5}, r"data\.test=1\.5 should be a share of the rows"),
        ({"class_names": ["no"]}, "at least two names"),
    ],
)
def test_wrong_settings_are_named(read, settings, message):
    with pytest.raises(ConfigError, match=message):
        read(lines(), **settings)


def test_a_column_with_a_few_texts_is_a_warning(read):
    rows = [line.replace("20,", "n.k.,", 1) if n == 1 else line for n, line in enumerate(lines())]
    with pytest.warns(match=r"age contains numbers and texts, .*: 'n\.k\.' \(line 2\)\. If they"):
        data = read(rows)
    assert data.columns.sizes[0] > 30


def test_columns_that_number_the_rows_are_a_warning(read):
    rows = ["row,x,y", *(f"{n},{n * n},{n % 2}" for n in range(40))]
    with pytest.warns(match=r"column row seems to number the rows.*data\.ignore=\[row\]"):
        read(rows, label="y")


@pytest.mark.parametrize(("code", "is_far"), [("-999", True), ("9999", True), ("90", False)])
def test_codes_of_missing_values_are_a_warning(read, recwarn, code, is_far):
    rows = ["x,y", *(f"{code if n % 20 == 7 else n * n % 53},{n % 2}" for n in range(60))]
    read(rows, label="y")
    text = f"3 rows have {code} in column x, far from all others (0 to 52). If it stands"
    assert any(text in str(warning.message) for warning in recwarn) == is_far


def test_empty_columns_are_a_warning(read):
    rows = [f"{line},{'NA' if n else 'extra'}" for n, line in enumerate(lines())]
    with pytest.warns(match="columns without any value are not used: extra"):
        assert read(rows).columns.names == ("age", "colour", "income")
    with pytest.raises(DataError, match="all columns are empty, except that of the labels"):
        read(rows, ignore=["age", "colour", "income"])


def test_copies_in_given_splits_are_a_warning(read):
    rows = [f"{line},{'train' if n else 'part'}" for n, line in enumerate(lines())]
    rows[1:3] = [rows[1].replace("train", "test"), rows[1], rows[2].replace("train", "test")]
    with pytest.warns(match="1 of 2 test inputs are also training inputs"):
        read(rows, split="part")


def test_names_of_people_are_no_categories(read, monkeypatch):
    monkeypatch.setattr("limbeck.data.tables.values.MAX_CATEGORIES", 20)
    rows = ["name,x,y", *(f"anna{n},{n * n},{n % 2}" for n in range(60))]
    message = r"name has \d\d categories, such as 'anna0' \(line 2\); at most 20 .*ignore=\[name\]"
    with pytest.raises(DataError, match=message):
        read(rows, label="y")
    assert read(rows, label="y", ignore=["name"]).columns.names == ("x",)


def test_many_categories_are_a_warning(read):
    rows = ["day,x,y", *(f"2024-01-{n // 2:02},{n * n},{n % 2}" for n in range(2, 62))]
    with pytest.warns(match=r"column day has 2\d categories in \d\d training rows, .*data\.group="):
        read(rows, label="y")


def test_many_different_values_have_to_be_numbers(read, monkeypatch):
    expected = read(lines()).digest()
    monkeypatch.setattr("limbeck.data.tables.values.MAX_TEXTS", 8)
    assert read(lines()).digest() == expected
    rows = [line.replace("70,", "old,", 1) for line in lines()]
    message = r"data\.csv, line 27: column age has more than 8 different values, .*'old' is not a n"
    with pytest.raises(DataError, match=message):
        read(rows)
    with pytest.raises(DataError, match=r"column age has over 8 categories"):
        read(lines(), categorical=["age"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,bought\n", r"data\.csv has no rows"),
        ("", "column bought is missing; the columns are none"),
        ("age,age,bought\n1,2,no\n", "has several columns age"),
        ("age,bought\n1,no,3\n2,no\n", "has 2 columns, but more values in line 2"),
    ],
)
def test_bad_tables_are_explained(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'none.csv'} cannot be read (No")):
        table(tmp_path / "none.csv", label="y")


def test_classes_that_other_programs_read_as_missing_are_a_warning(read):
    rows = lines()
    rows[3:9:2] = [row.rpartition(",")[0] + ",NA" for row in rows[3:9:2]]
    with pytest.warns(LimbeckWarning, match=r"NA is a class in .* NA \(line 4\); NA \(line 6\)"):
        assert read(rows).class_names == ["NA", "no", "yes"]
    rows[3] = rows[3].rpartition(",")[0] + ",nan"
    with pytest.raises(DataError, match=r"1 labels in column bought are missing: nan \(line 4\)"):
        read(rows)


@pytest.mark.parametrize("form", ["1.{n},5", "1,{n}.5", "1.{n}.000", "-1,{n},000"])
def test_numbers_with_thousands_separators_are_named(read, form):
    rows = ["price;kind;y"]
    rows += [f"{form.format(n=100 + n)};{'ab'[n % 2]};{n}" for n in range(60)]
    first = re.escape(form.format(n=100))
    with pytest.warns(
        LimbeckWarning, match=rf"thousands separators, such as '{first}' \(line 2\), .*1234\.5"
    ):
        assert read(rows, label="kind", ignore="y").columns.categories[0] is not None
    with pytest.raises(DataError, match=rf"'{first}' has thousands separators .*\(line 2\)"):
        read(rows, label="price", task="regression")


def test_lines_that_repeat_the_header_are_left_out(read):
    rows = lines()
    joined_rows = [*rows[:31], rows[0], *rows[31:]]
    with pytest.warns(LimbeckWarning, match=r"1 line repeats the names of the columns.*: line 32"):
        data = read(joined_rows)
    expected = read(rows)
    assert data.columns == expected.columns
    assert torch.equal(joined(data)[0].nan_to_num(), joined(expected)[0].nan_to_num())
