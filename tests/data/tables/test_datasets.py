"""Tables as they are found: separators, kinds of columns, missing values, splits, labels."""

import numpy as np
import pytest
import torch
from support.image_files import splits_of
from support.table_lines import joined, lines

from limbeck._base.errors import ConfigError, DataError
from limbeck.data import table

NAN = float("nan")


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
    with pytest.warns(match="1 categories do not occur in the training rows.*: colour violet"):
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
