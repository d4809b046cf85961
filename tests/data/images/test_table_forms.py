"""Tables in the forms in which people have them; see ``support/forms.py``."""

import json

import pytest
from support.forms import form
from support.image_files import (
    images_of,
    labels_by_image,
    picture,
    pixels_of,
    read_csv,
    write_csv,
)

from limbeck._base.errors import DataError
from limbeck.data import image_table

SIZE = {"size": 6, "channels": 3, "test": 0.3, "val": 0.3}


# Tables of file names -----------------------------------------------------------------------------


def table_of(labels=("low", "high"), delimiter=",", suffix=""):
    rows = [f"{n}{suffix}{delimiter}{labels[n % len(labels)]}" for n in range(40)]
    return "\n".join([f"file{delimiter}label", *rows])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("table") / "in")


@pytest.fixture(scope="module")
def expected(table):
    return read_csv(table).digest()


def digest_of(table, content, **options):
    """The digest of the dataset of a table, which does not stay."""
    file = table / "other.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(table, table=file.name, **options).digest()


@form("CSV in UTF-8 with a mark, and in UTF-16")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_spreadsheets(table, expected, encoding):
    assert digest_of(table, table_of().encode(encoding)) == expected


@form("CSV with semicolons or tabs")
@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("beginning", ["", "sep={}\r\n"])
def test_separators_of_spreadsheets(table, expected, delimiter, beginning):
    text = beginning.format(delimiter) + table_of(delimiter=delimiter)
    assert digest_of(table, text) == expected


@form("CSV with Windows newlines and blank rows")
@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n\n", "\n,\n", "\n ,,,\n"])
def test_newlines_and_blank_rows(table, expected, newline):
    assert digest_of(table, table_of().replace("\n", newline) + newline) == expected


@form("CSV with an index column")
@pytest.mark.parametrize("header", ["", '"",', "index,"])
def test_index_columns_of_pandas_and_r(table, expected, header):
    """R gives the numbers of the rows no name, so the header is shorter than the rows."""
    first, *rows = table_of().splitlines()
    lines = [header + first, *(f'"{number}",{row}' for number, row in enumerate(rows, 1))]
    assert digest_of(table, "\n".join(lines)) == expected
    more = [f"{line},{('', 'x')[number == 3]}" for number, line in enumerate(lines)]
    more[0] = f"{header}{first},note"
    assert digest_of(table, "\n".join(more)) == expected
    ends = [first, *(f"{row}," for row in rows)]
    assert digest_of(table, "\n".join(ends)) == expected


@form("labels such as 3.0")
def test_numbers_are_sorted_by_value_with_and_without_decimals(table):
    labels = [f"{number}.0" for number in range(11)]
    data = read_csv(table, table=write_table(table, table_of(labels)), ordinal=True)
    assert data.class_names == [str(number) for number in range(11)]
    label = labels_by_image(data)
    assert [label[pixels_of(number)] for number in range(11)] == list(range(11))
    mixed = read_csv(table, table=write_table(table, table_of(["0", "1.0", "0.0", "1"])))
    assert mixed.class_names == ["0", "1"]
    halves = read_csv(table, table=write_table(table, table_of(["0.5", "10.5", "2.5", "-1"])))
    assert halves.class_names == ["-1", "0.5", "2.5", "10.5"]


def write_table(table, text):
    (table / "other.csv").write_text(text)
    return "other.csv"


@form("names with and without suffix")
def test_names_are_found_with_and_without_suffix(table, expected, tmp_path):
    for suffix, setting in ((".png", ".png"), ("", ""), (".png", "")):
        assert digest_of(table, table_of(suffix=suffix), suffix=setting) == expected
    upper = write_csv(tmp_path / "in", count=0)
    for number in range(40):
        picture(number).save(upper / f"{number}.PNG")
    assert digest_of(upper, table_of(), suffix=".png") == expected
    picture(0).save(upper / "0.bmp")
    with pytest.raises(DataError, match=r"1 names belong to several files: 0 \(0\.PNG and 0\.bmp"):
        digest_of(upper, table_of(), suffix="")


@form("absolute paths, and paths of Windows")
def test_absolute_paths_and_backslashes(table, expected, tmp_path):
    rows = table_of().replace("\n", f"\n{table}/")
    assert digest_of(table, rows, images="nowhere") == expected
    rows = table_of().replace("\n", "\nin\\")
    assert digest_of(table, rows, images="..") == expected


@form("Parquet with names of files")
def test_parquet_tables(table, expected):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    names = [str(number) for number in range(40)]
    labels = [("low", "high")[number % 2] for number in range(40)]
    for labels_as in (labels, pyarrow.array(labels).dictionary_encode()):
        content = pyarrow.table({"file": names, "label": labels_as, "more": [b"x"] * 40})
        parquet.write_table(content, table / "a.parquet")
        assert read_csv(table, table="a.parquet").digest() == expected
    grades = pyarrow.table({"file": names, "label": [float(n % 11) for n in range(40)]})
    parquet.write_table(grades, table / "a.parquet")
    assert read_csv(table, table="a.parquet").class_names == [str(n) for n in range(11)]
    content = pyarrow.table({"file": names, "label": [*labels[:-1], None]})
    parquet.write_table(content, table / "a.parquet")
    with pytest.raises(DataError, match=r"file or label is empty in row 40"):
        read_csv(table, table="a.parquet")


# Tables of images ---------------------------------------------------------------------------------


def image_rows(table, count=40, names=None):
    """Columns of images and labels, as Hugging Face's datasets describes them."""
    import pyarrow

    images = [
        {"bytes": (table / f"{n}.png").read_bytes(), "path": f"{n}.png"} for n in range(count)
    ]
    labels = [n % 2 for n in range(count)]
    content = pyarrow.table({"image": images, "label": labels})
    if names is None:
        return content
    return content.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features_of(names)}})}
    )


def features_of(names):
    return {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}


@form("Parquet with images")
def test_parquet_files_with_images(table, tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    expected = {pixels_of(number): number % 2 for number in range(40)}
    parquet.write_table(image_rows(table), tmp_path / "a.parquet", row_group_size=7)
    data = image_table(tmp_path / "a.parquet", **SIZE)
    assert labels_by_image(data) == expected
    assert data.class_names == ["0", "1"]
    (tmp_path / "data").mkdir()
    rows = image_rows(table, names=["low", "high"])
    for first, last, name in ((0, 20, "train-00000-of-00002"), (20, 30, "train-00001-of-00002")):
        parquet.write_table(rows[first:last], tmp_path / "data" / f"{name}.parquet")
    parquet.write_table(rows[30:], tmp_path / "data" / "test-00000-of-00001.parquet")
    data = image_table(tmp_path / "data", **SIZE)
    assert labels_by_image(data) == expected
    assert data.class_names == ["low", "high"]
    assert set(images_of(data.open_test())) == {pixels_of(number) for number in range(30, 40)}


@form("folders saved by Hugging Face's datasets")
@pytest.mark.parametrize("kind", ["splits", "one split"])
def test_folders_of_hugging_face_datasets(table, tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow", reason="Arrow files need pyarrow")

    def save(folder, rows):
        folder.mkdir(parents=True)
        file = str(folder / "data-00000-of-00001.arrow")
        with pyarrow.ipc.new_stream(file, rows.schema) as stream:
            stream.write_table(rows, max_chunksize=7)
        files = [{"filename": "data-00000-of-00001.arrow"}]
        (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": "train"}))
        description = {"features": features_of(["low", "high"])}
        (folder / "dataset_info.json").write_text(json.dumps(description))

    rows = image_rows(table)
    if kind == "one split":
        save(tmp_path / "in", rows)
    else:
        save(tmp_path / "in" / "train", rows[:30])
        save(tmp_path / "in" / "validation", rows[30:])
        splits = {"splits": ["train", "validation"]}
        (tmp_path / "in" / "dataset_dict.json").write_text(json.dumps(splits))
    data = image_table(tmp_path / "in", **SIZE)
    assert labels_by_image(data) == {pixels_of(number): number % 2 for number in range(40)}
    assert data.class_names == ["low", "high"]
    if kind == "splits":
        assert set(images_of(data.val)) == {pixels_of(number) for number in range(30, 40)}
