"""Tables as they are found: separators, kinds of columns, missing values, splits, labels."""

import re

import numpy as np
import pytest
import torch
from support.image_files import splits_of

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import table

NAN = float("nan")


def lines(count=60):
    """Lines of a table: a number, a category, a number with gaps, and a label."""
    rows = ["age,colour,income,bought"]
    for n in range(count):
        income = "" if n % 5 == 0 else 1000.5 + n
        rows.append(
            f"{20 + 2 * n},{('red', 'blue', 'green')[n % 3]},{income},{('no', 'yes')[n % 2]}"
        )
    return rows


@pytest.fixture
def read(tmp_path):
    def read(rows, label="bought", file="data.csv", encoding="utf-8", **settings):
        text = rows if isinstance(rows, str) else "\n".join(rows)
        (tmp_path / file).write_text(text, encoding=encoding, newline="")
        return table(tmp_path / file, label=label, **settings)

    return read


def joined(data):
    """Inputs and labels of all splits in the order of the file."""
    splits = splits_of(data).values()
    ids = np.concatenate([split.sample_ids for split in splits])
    order = torch.from_numpy(np.argsort(ids))
    inputs = torch.cat([split.inputs for split in splits])
    return inputs[order], torch.cat([split.labels for split in splits])[order]


def test_numbers_categories_and_gaps(read):
    data = read(lines())
    assert data.columns.names == ("age", "colour", "income")
    assert data.columns.categories == (None, ("blue", "green", "red"), None)
    assert (data.name, data.class_names, data.task) == ("data", ["no", "yes"], "classes")
    inputs, labels = joined(data)
    n = np.arange(60)
    income = np.where(n % 5 == 0, NAN, 1000.5 + n)
    expected = np.stack([20 + 2 * n, np.array([2, 0, 1])[n % 3], income], 1)
    np.testing.assert_array_equal(inputs.numpy(), expected.astype(np.float32))
    assert labels.tolist() == (n % 2).tolist()

    assert 2 <= len(data.val) < data.test_size < len(data.train)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(read, encoding):
    assert read(lines(), encoding=encoding).digest() == read(lines()).digest()


def test_semicolons_and_decimal_commas(read):
    commas = [line.replace(".", "#").replace(",", ";").replace("#", ",") for line in lines()]
    assert read("\r\n".join(commas) + "\r\n").digest() == read(lines()).digest()
    tabs = [line.replace(",", "\t") for line in lines()]
    assert read(tabs, file="data.tsv").digest() == read(lines()).digest()


def test_columns_without_names_are_not_used(read):
    first, *rows = lines()
    expected = read(lines()).digest()
    for header in ("", "Unnamed: 0"):
        numbered = [f"{header},{first}", *(f"{n},{row}" for n, row in enumerate(rows))]
        assert read(numbered).digest() == expected
    r = [first, *(f'"{n}",{row}' for n, row in enumerate(rows, 1))]
    assert read(r).digest() == expected
    assert read([first + ",", *(row + "," for row in rows)]).digest() == expected


@pytest.mark.parametrize("word", ["NA", "nan", "NULL", "?", "N/A", "None"])
def test_words_for_missing_values(read, word):
    rows = [line.replace(",,", f",{word},") for line in lines()]
    assert read(rows).digest() == read(lines()).digest()


@pytest.mark.parametrize("word", ["NA", "nan", "NULL", "?", "N/A", "None"])
def test_words_for_missing_values_are_no_categories(read, word):
    colours = ("", "red", "blue", word)
    rows = ["x,colour,y", *(f"{n},{colours[n % 4]},{n // 4 % 2}" for n in range(80))]
    data = read(rows, label="y")
    assert data.columns.categories == (None, ("blue", "red"))
    is_missing = data.train.inputs[:, 1].isnan()
    assert is_missing.equal((data.train.inputs[:, 0] % 4 == 0) | (data.train.inputs[:, 0] % 4 == 3))


def test_columns_that_are_named(read):
    rows = [f"{line},{n % 4 if n else 'part'}" for n, line in enumerate(lines())]
    data = read(rows, ignore=["age"], categorical=["part", "income"])
    assert data.columns.names == ("colour", "income", "part")
    assert data.columns.categories[2] == ("0", "1", "2", "3")
    assert set(data.columns.categories[1]) < {str(1000.5 + n) for n in range(60)}


def test_codes_of_categories_may_have_decimals(read):
    rows = ["code,x,y", *(f"{n % 12}{('', '.0')[n % 2]},{n},{n % 2}" for n in range(0, 180, 3))]
    data = read(rows, label="y", categorical=["code"])
    assert data.columns.categories == (("0", "3", "6", "9"), None)


def test_ids_and_splits_are_columns(read):
    words = ("train", "Validation", "test", "train")
    rows = ["name,part,x,y", *(f"row{n},{words[n % 4]},{n},{n // 4 % 2}" for n in range(60))]
    data = read(rows, label="y", id="name", split="part", ignore=[])
    assert data.columns.names == ("x",)
    for split, part in ((data.val, 1), (data.open_test(), 2)):
        numbers = [int(name.removeprefix("row")) for name in split.sample_ids]
        assert all(number % 4 == part for number in numbers)
        assert split.inputs[:, 0].tolist() == numbers
    with pytest.raises(DataError, match=r"1 ids are given more than once: row1\b"):
        read([*rows, "row1,train,5,1"], label="y", id="name", split="part")


def test_equal_rows_are_in_one_split_and_others_stay_in_theirs(read):
    rows = lines(120)
    first = read(rows)
    more = read([*rows, *rows[1:], "1,red,1,no"])
    for key, split in splits_of(first).items():
        larger = {row.numpy().tobytes() for row in splits_of(more)[key].inputs}
        assert {row.numpy().tobytes() for row in split.inputs} <= larger
    assert read(rows, split_seed=1).digest() != first.digest()


def test_categories_are_those_of_training_rows(read):
    rows = [f"{line},{('train', 'test')[n % 6 == 0]}" for n, line in enumerate(lines(), -1)]
    rows[0] = lines()[0] + ",part"
    rows[1] = rows[1].replace("red", "violet")
    with pytest.warns(match="1 categories are in no training row.*: colour violet"):
        data = read(rows, split="part")
    assert data.columns.categories[1] == ("blue", "green", "red")
    assert bool(data.open_test().inputs[0, 1].isnan())


def test_values_to_predict(read):
    rows = ["x,price,weight", *(f"{n},{n / 2},{-n}" for n in range(0, 120, 2))]
    data = read(rows, label="price", ignore=["weight"], task="regression")
    inputs, labels = joined(data)
    assert torch.equal(labels, inputs / 2)
    assert (data.task, data.class_names, labels.dtype) == ("regression", ["price"], torch.float32)
    both = read(rows, label=["price", "weight"], task="regression")
    assert both.class_names == ["price", "weight"]
    assert torch.equal(joined(both)[1], torch.cat([inputs / 2, -inputs], 1))
    rows[3] = "4,many,1"
    with pytest.raises(DataError, match=r"1 values to predict in column price .*'many' .*\(line 4"):
        read(rows, label="price", task="regression")


def test_several_labels_per_sample(read):
    rows = [
        "x,red,round",
        *(f"{n},{n // 2 % 2},{('No', 'TRUE')[n % 3 == 0]}" for n in range(0, 120, 2)),
    ]
    data = read(rows, label=["red", "round"], task="multi_label")
    inputs, labels = joined(data)
    assert data.class_names == ["red", "round"]
    n = inputs[:, 0].long()
    assert torch.equal(labels, torch.stack([n // 2 % 2, n % 3 == 0], 1).float())
    with pytest.raises(DataError, match="'No' is not a number"):
        read(rows, label=["red", "round"], task="regression")


def test_grades(read):
    rows = ["x,grade", *(f"{n},{(2, 10, 1)[n % 3]}" for n in range(0, 120, 2))]
    data = read(rows, label="grade", task="ordinal")
    assert (data.class_names, data.ordinal) == (["1", "2", "10"], True)
    with pytest.raises(ConfigError, match="are words, so their order as grades is unknown"):
        read([row.replace("10", "high") for row in rows], label="grade", task="ordinal")


def test_rows_of_a_group_are_in_one_split(read):
    rows = ["person,x,y", *(f"p{n % 17},{n},{n // 2 % 2}" for n in range(0, 240, 2))]
    data = read(rows, label="y", group="person", ignore=[])
    assert data.columns.names == ("x",)
    people = [set((split.inputs[:, 0] % 17).tolist()) for split in splits_of(data).values()]
    assert all(people)
    assert sum(map(len, people)) == 17
    for split, of_split in zip(splits_of(data).values(), people, strict=True):
        assert len(split.groups.unique()) == len(of_split)
    with pytest.raises(DataError, match=r"left for \w+\. They form 2 groups or copies, each of"):
        read(rows, label="x", group="y", task="regression")
    parts = [f"{line},{('part', 'train', 'test')[n % 2 + (n > 0)]}" for n, line in enumerate(rows)]
    with pytest.raises(DataError, match="17 groups are in several splits: p"):
        read(parts, label="y", group="person", split="part")


def test_files_of_splits_in_a_folder(read, tmp_path):
    rows = lines(90)
    (tmp_path / "in").mkdir()
    parts = {"train.csv": rows[1:61], "Test.csv": rows[61:76], "val-0.csv": rows[76:]}
    for name, of_part in parts.items():
        (tmp_path / "in" / name).write_text("\n".join([rows[0], *of_part]))
    data = table(tmp_path / "in", label="bought")
    assert [len(split) for split in splits_of(data).values()] == [60, 15, 15]
    assert data.val.sample_ids.tolist() == [f"val/{n}" for n in range(15)]
    assert data.name == "in"
    unlabelled = [row.rpartition(",")[0] for row in (rows[0], *parts["Test.csv"])]
    (tmp_path / "in" / "Test.csv").write_text("\n".join(unlabelled))
    with pytest.warns(match=r"Test\.csv has no column bought, so it is not used"):
        data = table(tmp_path / "in", label="bought")
    assert len(data.val) == 15
    assert len(data.train) + data.test_size == 60
    (tmp_path / "in" / "val-0.csv").write_text("age,bought\n1,no")
    with pytest.raises(DataError, match=r"val-0\.csv: column colour is missing"):
        table(tmp_path / "in", label="bought")


class Frame:
    """A data frame as in pandas."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = np.array(list(columns), object)

    def __getitem__(self, name):
        column = self._columns[name]
        return column if isinstance(column, Typed) else np.array(column, object)


class Typed(list):
    """A column of categories."""

    dtype = "category"

    def to_list(self):
        return list(self)


def test_data_frames(read):
    first, *rows = [line.split(",") for line in lines()]
    columns = dict(zip(first, zip(*rows, strict=True), strict=True))
    columns["age"] = [np.float64(value) for value in columns["age"]]
    columns["income"] = [float(value or "nan") for value in columns["income"]]
    data = table(Frame(columns), label="bought")
    inputs, labels = joined(data)
    expected = joined(read(lines()))
    np.testing.assert_array_equal(inputs, expected[0])
    assert torch.equal(labels, expected[1])
    assert data.name == "table"
    columns["age"] = Typed(columns["age"])
    assert table(Frame(columns), label="bought").columns.sizes[0] > 30


def test_parquet(read, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    n = np.arange(60)
    columns = {
        "age": pyarrow.array(20 + 2 * n),
        "colour": pyarrow.array([("red", "blue", "green")[i % 3] for i in n]).dictionary_encode(),
        "income": pyarrow.array([None if i % 5 == 0 else 1000.5 + i for i in n]),
        "bought": pyarrow.array([("no", "yes")[i % 2] for i in n]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", row_group_size=7)
    data = table(tmp_path / "a.parquet", label="bought")
    assert data.digest() == read(lines()).digest()
    assert table(pyarrow.table(columns), label="bought").digest() == data.digest()
    columns["day"] = pyarrow.array([[1]] * 60)
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column day contains list"):
        table(tmp_path / "a.parquet", label="bought")


# Mistakes -----------------------------------------------------------------------------------------


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
    with pytest.raises(DataError, match="no column has a value, except that of the labels"):
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
def test_numbers_with_separators_of_thousands_are_named(read, form):
    rows = ["price;kind;y"]
    rows += [f"{form.format(n=100 + n)};{'ab'[n % 2]};{n}" for n in range(60)]
    first = re.escape(form.format(n=100))
    with pytest.warns(LimbeckWarning, match=rf"thousands, such as '{first}' \(line 2\), .*1234\.5"):
        assert read(rows, label="kind", ignore="y").columns.categories[0] is not None
    with pytest.raises(DataError, match=rf"'{first}' has separators of thousands .*\(line 2\)"):
        read(rows, label="price", task="regression")


def test_lines_that_repeat_the_header_are_left_out(read):
    rows = lines()
    joined_rows = [*rows[:31], rows[0], *rows[31:]]
    with pytest.warns(LimbeckWarning, match=r"1 line repeats the names of the columns.*: line 32"):
        data = read(joined_rows)
    expected = read(rows)
    assert data.columns == expected.columns
    assert torch.equal(joined(data)[0].nan_to_num(), joined(expected)[0].nan_to_num())
