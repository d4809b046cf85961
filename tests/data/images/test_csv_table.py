import os

import pytest
import torch
from support.image_files import (
    images_of,
    labels_by_image,
    picture,
    pixels_of,
    read_csv,
    splits_of,
    write_csv,
)

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.resampling import ResampledSplits


def table_of(labels):
    """A table of 40 images that have these labels in turn."""
    rows = [f"{number},{labels[number % len(labels)]}" for number in range(40)]
    return "\n".join(["file,label", *rows])


def test_a_table_and_its_images(tmp_path):
    data = read_csv(write_csv(tmp_path / "in"))
    assert data.class_names == ["high", "low"]
    assert labels_by_image(data) == {pixels_of(number): 1 - number % 2 for number in range(40)}


def test_labels_may_be_numbers_names_or_both(tmp_path):
    root = write_csv(tmp_path / "in", "\ufeff" + table_of([2, 10]))
    assert read_csv(root).class_names == ["2", "10"]
    (root / "train.csv").write_text(table_of(["good", "1"]))
    data = read_csv(root, class_names=["good", "bad"], ordinal=True)
    assert (data.class_names, data.ordinal) == (["good", "bad"], True)
    assert sum(int(split.labels.sum()) for split in splits_of(data).values()) == 20


def test_columns_may_be_called_by_numbers(tmp_path):
    root = write_csv(tmp_path / "in", table_of(["low", "high"]).replace("file,label", "0,1"))
    assert read_csv(root, file_column=0, label_column=1).class_names == ["high", "low"]
    with pytest.raises(
        DataError, match=r"column 2 is missing; the columns are 0, 1\. Set data\.file_column"
    ):
        read_csv(root, file_column=2, label_column=1)


def test_a_number_that_is_a_name_is_the_name(tmp_path):
    root = write_csv(tmp_path / "in", table_of([1, 2, 3]))
    data = read_csv(root, class_names=["1", "2", "3"])
    labels = torch.cat([split.labels for split in splits_of(data).values()])
    assert labels.bincount().tolist() == [14, 13, 13]
    with pytest.raises(
        DataError, match=r"13 labels in column label are not among 1, 2: 3 \(2\); .*; and 3 more"
    ):
        read_csv(root, class_names=[1, 2])


@pytest.mark.parametrize("names", [["a"], ["a", "a"], [], "ab", 0.5, {"a": 1, "b": 2}])
def test_class_names_should_be_a_list_of_two_or_more(tmp_path, names):
    root = write_csv(tmp_path / "in", count=2)
    with pytest.raises(ConfigError, match=r"data\.class_names=.* at least two names"):
        read_csv(root, class_names=names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"column file is missing; the columns are none"),
        (
            "id,label\n0,low\n",
            r"column file is missing; the columns are id, label\. Set "
            r"data\.file_column=",
        ),
        ("file,labels\n0,low\n", r"the columns are file, labels\. Did you mean labels\?"),
        ("file label\n0 low\n", r"column file is missing; the columns are file label"),
        ("id;label\n0;low\n", r"column file is missing; the columns are id, label"),
        ("\n" * 200 + "file,label\n0,low\n", r"column file is missing"),
        ("file,label,label\n0,a,b\n", r"has several columns label"),
        ("file,label\n0,low\n1,high, very\n", r"has 2 columns, but more values in line 3\. Quote"),
        ("file,label\n", r"train\.csv lists no images"),
        ("file,label\n0,low\n1\n,high\n", r"file or label is empty in line 3; line 4"),
        ("file,label\n0,low\n1,high\n0,low\n", r"1 image is listed more than once: 0\."),
        ("file,label\n0,low\n1,high\n../in/0,low\n", r"more than once: 0 and \.\./in/0\."),
        (
            "file,label\n0,low\n1,low\n",
            r"column label contains only low; expected at least two",
        ),
        (
            "file,label\n" + "\n".join(f"{i},{i / 7}" for i in range(9)),
            r"contains 9 different values in 9 rows",
        ),
        (
            "file,label\n0,low\n1,high\nnone,low\n",
            r"1 of 3 image files cannot be read: .*none\.png \(missing\)",
        ),
        ("file,label\n0,low\0\n1,high\n", r"in/"),
    ],
)
def test_bad_tables_are_explained(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_csv(write_csv(tmp_path / "in", text, count=4))
    assert str(tmp_path / "in") in str(caught.value)


@pytest.mark.parametrize("delimiter", [";", "\t", " , "])
def test_spreadsheets_separate_columns_otherwise(tmp_path, delimiter):
    text = table_of(["low", "high"]).replace(",", delimiter).replace("\n", "\r\n")
    expected = read_csv(write_csv(tmp_path / "comma"))
    assert read_csv(write_csv(tmp_path / "in", text)).digest() == expected.digest()


def test_numbers_of_classes_may_be_floats(tmp_path):
    """pandas writes integers as floats if a label was missing when the table was read."""
    root = write_csv(tmp_path / "in", table_of([0, 1]))
    expected = read_csv(root, class_names=["low", "high"])
    (root / "train.csv").write_text(table_of(["0.0", "1.0"]))
    assert read_csv(root, class_names=["low", "high"]).digest() == expected.digest()
    with pytest.raises(DataError, match=r"20 labels in column label are not among 1, 2: 0 \("):
        read_csv(root, class_names=[1, 2])


def test_a_table_in_another_encoding(tmp_path):
    root = write_csv(tmp_path / "in", count=2)
    for content, kind in (
        ("file,label\n0,l\u00f6w".encode("latin1"), "not a CSV file in UTF-8 or UTF-16"),
        (b"PK\x03\x04\xff\xff", "an Excel workbook, not a CSV file"),
        ("file,label\n0,low".encode("utf-16")[:-1], "not a CSV file in UTF-8 or UTF-16"),
    ):
        (root / "train.csv").write_bytes(content)
        with pytest.raises(DataError, match=rf"{kind}.* save such files as 'CSV U"):
            read_csv(root)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a\0b", "line 2: a name contains NUL"),
        ("x" * 140_000, "not a valid CSV file .*field larger"),
    ],
)
def test_values_that_no_file_has(tmp_path, value, message):
    root = write_csv(tmp_path / "in", f"file,label\n{value},low\n")
    with pytest.raises(DataError, match=message):
        read_csv(root)


def test_a_file_that_is_not_a_table(tmp_path):
    root = write_csv(tmp_path / "in", count=2)
    picture(0).save(root / "train.csv", format="png")
    with pytest.raises(DataError, match=r"train\.csv is not a CSV file in UTF-8"):
        read_csv(root)
    (root / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv cannot be read \(No such file"):
        read_csv(root)


def test_labels_and_lines_of_any_length_are_a_message(tmp_path):
    write_csv(tmp_path / "long", "file,label\n0,low\n1," + "9" * 5000)
    with pytest.raises(DataError, match="line 3: a label of 5,000 characters"):
        read_csv(tmp_path / "long")
    write_csv(tmp_path / "field", "file,label\n0,low\n1," + "x" * 200_000)
    with pytest.raises(DataError, match="not a valid CSV file"):
        read_csv(tmp_path / "field")
    write_csv(tmp_path / "header", "x" * (3 << 20))
    with pytest.raises(DataError, match="not a valid CSV file"):
        read_csv(tmp_path / "header")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "train.csv")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read_csv(tmp_path / "pipe")


def test_ids_are_the_names_in_the_table(tmp_path):
    data = read_csv(write_csv(tmp_path / "in"))
    for split in splits_of(data).values():
        for name, label in zip(split.sample_ids, split.labels.tolist(), strict=True):
            assert label == 1 - int(name) % 2


def test_a_column_tells_the_splits(tmp_path):
    words = ("train", "Train", "validation", "test")
    rows = [f"{number},{'ab'[number % 3 % 2]},{words[number % 4]}" for number in range(40)]
    root = write_csv(tmp_path / "in", "\n".join(["file,label,split", *rows]))
    data = read_csv(root, split_column="split")
    for part, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,))):
        images = {pixels_of(number) for number in range(40) if number % 4 in numbers}
        assert set(images_of(splits_of(data)[part])) == images
    (root / "train.csv").write_text("\n".join(["file,label,split", *rows]).replace("valid", "rest"))
    with pytest.raises(DataError, match=r"column of splits contains restation; expected train, tr"):
        read_csv(root, split_column="split")
    with pytest.raises(DataError, match=r"column fold is missing"):
        read_csv(root, split_column="fold")


# Several labels, values and groups ----------------------------------------------------------------


def targets_of(data):
    """Labels of each image by its name."""
    return {
        name: labels.tolist()
        for split in splits_of(data).values()
        for name, labels in zip(split.sample_ids, split.labels, strict=True)
    }


def test_several_labels_in_columns_or_in_lists_are_the_same(tmp_path):
    root = write_csv(tmp_path / "in")
    rows = [f"{n},{n % 2},{int(n > 9)},{'odd;' * (n % 2)}{'big' * (n > 9)}" for n in range(40)]
    (root / "train.csv").write_text("\n".join(["file,odd,big,tags", *rows]))
    expected = {str(n): [float(n % 2), float(n > 9)] for n in range(40)}
    columns = read_csv(root, label_column=["odd", "big"], task="multi_label")
    lists = read_csv(root, label_column="tags", task="multi_label", class_names=["odd", "big"])
    for data in (columns, lists):
        assert (data.class_names, data.task) == (["odd", "big"], "multi_label")
        assert targets_of(data) == expected
    with pytest.raises(ConfigError, match=r"The labels are 2 columns \(odd, big\).*multi_label"):
        read_csv(root, label_column=["odd", "big"])


def test_values_to_predict(tmp_path):
    root = write_csv(tmp_path / "in")
    rows = [f"{n};{n},5;{-n}" for n in range(40)]
    (root / "train.csv").write_text("\n".join(["file;age;depth", *rows]))
    data = read_csv(root, label_column=["age", "depth"], task="regression")
    assert targets_of(data) == {str(n): [n + 0.5, -n] for n in range(40)}
    (root / "train.csv").write_text("\n".join(["file;age;depth", *rows[:3], "3;nan;0", "4;old;0"]))
    with pytest.raises(DataError, match=r"2 values to .* age .*'nan' is missing \(3\).*'old'"):
        read_csv(root, label_column="age", task="regression")


def test_images_of_a_group_are_in_one_split(tmp_path):
    root = write_csv(tmp_path / "in")
    rows = [f"{n},{('low', 'high')[n % 2]},p{n // 4}" for n in range(40)]
    (root / "train.csv").write_text("\n".join(["file,label,patient", *rows]))
    data = read_csv(root, group="patient")
    splits = splits_of(data)
    patients = {key: {int(n) // 4 for n in part.sample_ids} for key, part in splits.items()}
    assert sum(map(len, patients.values())) == 10
    assert all(patients.values())
    assert not patients["train"] & patients["val"]
    assert sum(len(part) for part in splits.values()) == 40
    assert labels_by_image(data) == {pixels_of(number): 1 - number % 2 for number in range(40)}

    resampled = ResampledSplits(data, range(4), 4)
    for number in range(4):
        part = resampled.train(number), resampled.val(number)
        train, val = ({int(n) // 4 for n in split.sample_ids} for split in part)
        assert not train & val


def test_groups_in_two_given_splits_and_copies_in_two_groups(tmp_path):
    root = write_csv(tmp_path / "in")
    rows = [f"{n},{n % 2},p{n // 4},{('train', 'test')[n > 30]}" for n in range(40)]
    (root / "train.csv").write_text("\n".join(["file,label,patient,part", *rows]))
    with pytest.raises(DataError, match=r"1 groups are in several splits: p7\."):
        read_csv(root, group="patient", split_column="part")
    for number in range(1, 40, 2):
        (root / f"{number}.png").write_bytes((root / f"{number - 1}.png").read_bytes())
    rows = [f"{n},{n // 2 % 2},p{n}" for n in range(40)]
    (root / "train.csv").write_text("\n".join(["file,label,patient", *rows]))
    with pytest.warns(LimbeckWarning, match="in two splits, because copies belong to different"):
        read_csv(root, group="patient")


def test_a_label_that_the_test_split_lacks_is_a_warning(tmp_path):
    root = write_csv(tmp_path / "in")
    parts = ["train", "val", "test", "train"]
    rows = [f"{n},{'a' * (n % 2)}{';rare' * (n == 3)},{parts[n % 4]}" for n in range(40)]
    (root / "train.csv").write_text("\n".join(["file,tags,part", *rows]))
    with pytest.warns(LimbeckWarning, match="the test split has no images of a; rare, so .* label"):
        read_csv(root, label_column="tags", task="multi_label", split_column="part")
