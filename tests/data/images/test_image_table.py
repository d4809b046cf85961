"""Images within tables: splits, columns, hidden labels, and damaged or hostile files."""

import json
import os

import pytest
from support.image_files import images_of, labels_by_image, picture, pixels_of

from limbeck._base.errors import DataError, LimbeckWarning, ResourceError
from limbeck.data import image_table
from limbeck.data.images import arrow

pyarrow = pytest.importorskip("pyarrow", reason="tables of images need pyarrow (limbeck[parquet])")
parquet = pytest.importorskip("pyarrow.parquet")

SIZE = {"size": 6, "channels": 3, "test": 0.3, "val": 0.3}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        picture(number).save(folder / f"{number}.png")
    return [(folder / f"{number}.png").read_bytes() for number in range(40)]


def write(file, content, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(content), file, **options)
    return file


def halves(images):
    return {"image": images, "label": [number % 2 for number in range(len(images))]}


def read(root, **options):
    return image_table(root, **(SIZE | options))


def test_images_may_be_plain_bytes_and_labels_words(images, tmp_path):
    labels = [("yes", "no")[number % 2] for number in range(40)]
    file = write(tmp_path / "a.parquet", {"picture": images, "finding": labels, "id": range(40)})
    data = read(file, label_column="finding")
    assert data.class_names == ["no", "yes"]
    assert labels_by_image(data) == {pixels_of(number): 1 - number % 2 for number in range(40)}
    assert read(file, label_column="finding", class_names=["yes", "no"]).class_names[0] == "yes"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/0.parquet", "valid/0.parquet"], None),
        (["my-train-0.parquet", "my-val-0.pq"], None),
        (["a.parquet", "test.parquet"], r"the names of 1 files name no split.*: a\.parquet\."),
    ],
)
def test_names_of_files_tell_the_splits(images, tmp_path, names, message):
    for name, part in zip(names, (slice(0, 30), slice(30, 40)), strict=True):
        write(tmp_path / name, halves(images[part]))
    if message is None:
        assert set(images_of(read(tmp_path).val)) == set(map(pixels_of, range(30, 40)))
    else:
        with pytest.raises(DataError, match=message):
            read(tmp_path)


def test_ids_are_rows_of_the_splits(images, tmp_path):
    write(tmp_path / "train-0.parquet", halves(images[:20]))
    write(tmp_path / "train-1.parquet", halves(images[20:30]))
    write(tmp_path / "validation.parquet", halves(images[30:]))
    data = read(tmp_path)
    for split in (data.train, data.val, data.open_test()):
        for pixels, name in zip(images_of(split), split.ids, strict=True):
            part, _, row = name.partition("/")
            assert pixels == pixels_of(int(row) + 30 * (part == "val"))


@pytest.mark.parametrize("hidden", [-1, None])
def test_a_split_with_hidden_labels_is_not_used(images, tmp_path, hidden):
    write(tmp_path / "train.parquet", halves(images[:30]))
    write(tmp_path / "test.parquet", {"image": images[30:], "label": [hidden] * 10})
    with pytest.warns(LimbeckWarning, match=r"the images of test have no labels and are not used"):
        data = read(tmp_path)
    assert set(labels_by_image(data)) == set(map(pixels_of, range(30)))


def test_paths_of_images_without_their_bytes_are_explained(tmp_path):
    images = [{"bytes": None, "path": f"/elsewhere/{n}.png"} for n in range(4)]
    file = write(tmp_path / "a.parquet", {"image": images, "label": [0, 1] * 2})
    with pytest.raises(DataError, match=r"row 0 \(contains only the path of an image, /elsewh"):
        read(file)


@pytest.mark.parametrize("locked", [".", "in"])
def test_folders_without_access_are_named(open_folder, locked):
    (open_folder / "in").mkdir()
    (open_folder / locked).chmod(0)
    with pytest.raises(DataError, match=r"cannot be read.*Permission denied"):
        read(open_folder / "in")


def test_few_row_groups_are_in_memory(images, tmp_path, monkeypatch):
    file = write(tmp_path / "a.parquet", halves(images), row_group_size=2)
    calls = []
    plain = arrow.TableFile._read_images
    monkeypatch.setattr(arrow.TableFile, "_read_images", lambda *a: calls.append(a[2]) or plain(*a))
    table = arrow.TableFile(file)
    assert [table.image("image", row) for row in range(40)] == images
    assert calls == list(range(20))
    assert len(table._images) == arrow.PARTS_IN_MEMORY


def test_a_changed_table_is_decoded_again(images, tmp_path, capsys):
    file = write(tmp_path / "a.parquet", halves(images))
    read(file)
    assert "decoding 40 images" in capsys.readouterr().err
    read(file)
    assert capsys.readouterr().err == ""
    write(file, halves(images[:30]))
    read(file)
    assert "decoding 30 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"image": [b"x"] * 4, "more": [b"y"] * 4}, r"one column of images .* found image, more"),
        ({"file": ["a"] * 4, "label": [0, 1] * 2}, r"images .* found none.*data=image_csv"),
        ({"image": [b"x"] * 4, "kind": [0, 1] * 2}, r"one column of labels, found none.*kind"),
        ({"image": [b"x"] * 4, "label": [0, None, 1, 1]}, r"1 labels are missing: .* row 1\."),
        ({"image": [b"x"] * 4, "label": [0, 1] * 2}, r"4 of 4 .*a\.parquet row 0 \(not an image"),
        ({"image": [b"x"] * 4, "label": [[0, 1]] * 4}, r"contains list<.*expected one label for"),
        ({"image": [None] * 3 + [b"x"], "label": [0, 1] * 2}, r"row 0 \(contains no image\)"),
    ],
)
def test_bad_tables_are_explained(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.parquet", content))


def test_bad_files_are_explained(images, tmp_path):
    good = write(tmp_path / "good.parquet", halves(images)).read_bytes()
    for name, content in (
        ("empty", b""),
        ("text", b"hello " * 50),
        ("cut", good[: len(good) // 2]),
        ("arrow", b"ARROW1\0\0" + b"\xff" * 100),
    ):
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.parquet (is damaged|cannot be read)"):
            read(tmp_path / f"{name}.parquet")
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "pipe.parquet").symlink_to(tmp_path / "pipe.parquet")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read(tmp_path / "in")
    with pytest.raises(DataError, match="nowhere is missing"):
        read(tmp_path / "nowhere")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="contains no Parquet or Arrow files"):
        read(tmp_path / "out")


def test_compressed_arrow_files_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    table = pyarrow.table(halves([b"\0" * 100_000] * 40))
    for compression in (None, "zstd"):
        options = pyarrow.ipc.IpcWriteOptions(compression=compression)
        file = str(tmp_path / f"{compression}.arrow")
        with pyarrow.ipc.new_stream(file, table.schema, options=options) as stream:
            stream.write_table(table)
    monkeypatch.setattr(arrow, "MIN_UNPACKED_BYTES", 1000)
    assert len(arrow.TableFile(tmp_path / "None.arrow").image("image", 39)) == 100_000
    with pytest.raises(DataError, match=r"zstd\.arrow cannot be read \(it unpacks to more than"):
        arrow.TableFile(tmp_path / "zstd.arrow")


def test_columns_with_another_number_of_rows_than_the_file_are_refused(images, tmp_path):
    table = arrow.TableFile(write(tmp_path / "a.parquet", halves(images), row_group_size=20))
    table.starts = [0, 25, 45]
    with pytest.raises(DataError, match="a column has 20 rows, but the file says 25"):
        table.image("image", 0)
    with pytest.raises(DataError, match="a column has 40 rows, but the file says 45"):
        table.values("label")


def test_row_groups_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "MIN_UNPACKED_BYTES", 1000)
    images = [b"\0" * 100_000] * 40
    file = write(tmp_path / "a.parquet", halves(images), use_dictionary=False, compression="zstd")
    with pytest.raises(
        DataError, match=r"row group unpack to 4,\d+,\d+ bytes; write it with row_g"
    ):
        arrow.TableFile(file).image("image", 0)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("dataset_dict.json", {"splits": ["../out"]}, "should list the names of the splits"),
        ("dataset_dict.json", {"splits": ["extra"]}, "has the splits extra, but no train"),
        ("dataset_dict.json", [1], "should list the names of the splits"),
        ("state.json", {"_data_files": [{"filename": "/etc/passwd"}]}, "should list the names"),
        ("state.json", {"_data_files": 3}, "should list the names"),
        ("state.json", {"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
    ],
)
def test_descriptions_that_lead_elsewhere_are_refused(tmp_path, file, content, message):
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_pyarrow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    def missing():
        raise ResourceError("Parquet and Arrow files need the package pyarrow")

    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(arrow, "import_pyarrow", missing)
    with pytest.raises(ResourceError, match="pyarrow"):
        read(tmp_path / "a.parquet")


def test_several_labels_values_and_groups(images, tmp_path):
    content = {
        "image": images,
        "tags": [["odd"] * (n % 2) + ["big"] * (n > 9) for n in range(40)],
        "odd": [n % 2 == 1 for n in range(40)],
        "big": [int(n > 9) for n in range(40)],
        "age": [n / 2 for n in range(40)],
        "patient": [n // 4 for n in range(40)],
    }
    file = write(tmp_path / "a.parquet", content)
    expected = {pixels_of(n): [float(n > 9), float(n % 2)] for n in range(40)}
    for column in ("tags", ["big", "odd"]):
        data = read(file, label_column=column, task="multi_label", group="patient")
        assert data.class_names == ["big", "odd"]
        assert labels_by_image(data) == expected
    splits = (data.train, data.val, data.open_test())
    groups = [{int(name.partition("/")[2]) // 4 for name in part.sample_ids} for part in splits]
    assert sum(map(len, groups)) == 10
    data = read(file, label_column="age", task="regression")
    assert labels_by_image(data) == {pixels_of(n): [n / 2] for n in range(40)}
    with pytest.raises(DataError, match=r"tags contains list.*data\.task=multi_label for lists"):
        read(file, label_column="tags")
    with pytest.raises(DataError, match=r"column patent is missing.*Set data\.group="):
        read(file, label_column="age", task="regression", group="patent")


def test_lists_of_described_classes_have_their_names(images, tmp_path):
    names = {"tags": {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["z", "a"]}}}
    table = pyarrow.table({"image": images, "tags": [[0] * (n % 2) + [1] for n in range(40)]})
    description = json.dumps({"info": {"features": names}})
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": description}), tmp_path / "a.parquet"
    )
    with pytest.warns(LimbeckWarning, match="a is the same in all training samples"):
        data = read(tmp_path / "a.parquet", label_column="tags", task="multi_label")
    assert data.class_names == ["z", "a"]
    assert labels_by_image(data) == {pixels_of(n): [float(n % 2), 1.0] for n in range(40)}
