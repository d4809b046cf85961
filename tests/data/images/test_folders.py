import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.fundus import write_aptos

from limbeck._base.errors import ConfigError, DataError, ResourceError
from limbeck.data import aptos, image_csv, image_folder
from limbeck.data.images import cache as image_cache
from limbeck.data.images.cache import place
from limbeck.data.images.decoding import decode

HOW = {"size": 6, "channels": 3}


def picture(number, size=6):
    return Image.fromarray(
        np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    )


def write_folder(root, classes=("cat", "dog"), count=30, seed=0):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture([seed, label, number]).save(root / name / f"{number}.png")
    return root


def write_csv(root, text=None, count=40):
    root.mkdir(exist_ok=True)
    for number in range(count):
        picture(number).save(root / f"{number}.png")
    rows = [f"{number},{('low', 'high')[number % 2]}" for number in range(count)]
    (root / "train.csv").write_text(
        "\n".join(["file,label", *rows]) if text is None else text, encoding="utf-8"
    )
    return root


def read_csv(root, **settings):
    return image_csv(
        root,
        **({"file_column": "file", "label_column": "label", "suffix": ".png"} | HOW | settings),
    )


def splits(data):
    return {"train": data.train, "val": data.val, "test": data.open_test()}


def bytes_of(split):
    return [image.numpy().tobytes() for image in split.inputs]


# Folders ------------------------------------------------------------------------------------------


def test_every_image_is_in_one_split_with_its_label(tmp_path):
    data = image_folder(write_folder(tmp_path / "in"), **HOW)
    assert (data.class_names, data.shape, data.ordinal) == (["cat", "dog"], (3, 6, 6), False)
    found = {
        image: int(y)
        for s in splits(data).values()
        for image, y in zip(bytes_of(s), s.labels, strict=True)
    }
    wanted = {
        np.asarray(picture([0, label, number])).transpose(2, 0, 1).tobytes(): label
        for label in (0, 1)
        for number in range(30)
    }
    assert found == wanted
    assert sum(map(len, splits(data).values())) == 60


def test_shares_of_splits_are_kept(tmp_path):
    data = image_folder(write_folder(tmp_path / "in", count=200), **HOW, test=0.3, val=0.2)
    assert [len(s) / 400 for s in splits(data).values()] == pytest.approx([0.5, 0.2, 0.3], abs=0.08)


def test_copies_of_an_image_fall_on_one_side(tmp_path):
    root = write_folder(tmp_path / "in")
    for number in range(30):  # another format, another name, another class
        Image.open(root / "cat" / f"{number}.png").save(root / "dog" / f"copy {number}.bmp")
    data = image_folder(root, **HOW, split_seed=3)
    sides = {part: set(bytes_of(split)) for part, split in splits(data).items()}
    assert sum(map(len, sides.values())) == 60
    assert sum(len(s) for s in splits(data).values()) == 90


def test_images_stay_on_their_side_when_others_join(tmp_path):
    root = write_folder(tmp_path / "in")
    before = {
        part: set(bytes_of(split)) for part, split in splits(image_folder(root, **HOW)).items()
    }
    for number in range(40):
        picture([9, number]).save(root / "dog" / f"new {number}.png")
    after = {
        part: set(bytes_of(split)) for part, split in splits(image_folder(root, **HOW)).items()
    }
    assert all(before[part] < after[part] for part in before)


@pytest.mark.parametrize(
    "other", [{"size": 3}, {"channels": 1}, {"crop_border": True}, {"size": 9, "channels": 1}]
)
def test_images_stay_on_their_side_in_every_size(tmp_path, other):
    root = write_folder(tmp_path / "in")
    for number, file in enumerate(sorted(root.rglob("*.png"))):  # told apart by brightness
        Image.new("RGB", (8, 8), (40 + 3 * number,) * 3).save(file)
    sides = [
        {
            part: sorted(split.inputs.flatten(1)[:, 0].tolist())
            for part, split in splits(data).items()
        }
        for data in (image_folder(root, **HOW), image_folder(root, **(HOW | other)))
    ]
    assert sides[0] == sides[1]
    assert all(sides[0].values())


@given(
    digests=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=5),
    seed=st.integers(0, 99),
)
def test_places_lie_between_0_and_1(digests, seed):
    assert all(0 <= place(digest, seed) < 1 for digest in digests)


def test_places_are_even_and_change_with_the_seed():
    digests = [f"{number:064x}" for number in range(4000)]
    first, second = ([place(digest, seed) for digest in digests] for seed in (0, 1))
    counts = np.histogram(first, 10, (0, 1))[0]
    assert abs(counts - 400).max() < 80
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_given_splits_are_taken_and_the_missing_one_cut_from_training(tmp_path):
    for seed, part in enumerate(("train", "val", "test")):
        write_folder(tmp_path / "in" / part, seed=seed)
    data = image_folder(tmp_path / "in", **HOW)
    assert [len(s) for s in splits(data).values()] == [60, 60, 60]
    theirs = {
        np.asarray(picture([2, c, i])).transpose(2, 0, 1).tobytes()
        for c in (0, 1)
        for i in range(30)
    }
    assert set(bytes_of(data.open_test())) == theirs
    shutil.rmtree(tmp_path / "in" / "val")
    data = image_folder(tmp_path / "in", **HOW, val=0.4)
    assert set(bytes_of(data.open_test())) == theirs
    assert len(data.train) + len(data.val) == 60
    assert 10 < len(data.val) < 40
    shutil.move(tmp_path / "in" / "test", tmp_path / "in" / "val")
    data = image_folder(tmp_path / "in", **HOW, test=0.4)
    assert set(bytes_of(data.val)) == theirs
    assert 10 < data.test_size < 40


def test_what_systems_leave_behind_is_no_image(tmp_path):
    root = write_folder(tmp_path / "in")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "cat" / name).write_text("x")
    (root / "__MACOSX").mkdir()
    (root / ".git").mkdir()
    (root / "cat" / "more").mkdir()
    picture(99).save(root / "cat" / "more" / "inside.png")
    for hidden in (".thumbnails", "__MACOSX"):
        (root / "cat" / hidden).mkdir()
        picture(98).save(root / "cat" / hidden / "0.png")
    assert sum(map(len, splits(image_folder(root, **HOW)).values())) == 61


def folder_missing(root):
    shutil.rmtree(root)


def folder_empty_class(root):
    (root / "bird").mkdir()


def folder_one_class(root):
    shutil.rmtree(root / "cat")


def folder_no_class(root):
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "dog")


def folder_text_among_images(root):
    (root / "dog" / "notes.txt").write_text("hello")


def folder_strange_split(root):
    shutil.copytree(root / "cat", root / "train" / "cat")
    shutil.copytree(root / "dog", root / "train" / "dog")


def folder_new_class_in_test(root):
    classes = [root / "cat", root / "dog"]
    for part in ("train", "test"):
        for folder in classes:
            shutil.copytree(folder, root / part / folder.name)
    for folder in classes:
        shutil.rmtree(folder)
    (root / "test" / "dog").rename(root / "test" / "wolf")


def folder_splits_under_other_names(root):
    folder_new_class_in_test(root)
    (root / "train").rename(root / "Training")
    (root / "test").rename(root / "Test")


def folder_without_training(root):
    folder_new_class_in_test(root)
    shutil.rmtree(root / "train")


def folder_copies_in_two_splits(root):
    folder_new_class_in_test(root)
    (root / "test" / "wolf").rename(root / "test" / "dog")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (folder_missing, r"in is missing; data\.root= should name a folder"),
        (folder_empty_class, r"bird is empty; it should hold images"),
        (folder_one_class, r"at least two classes was expected, only dog was found"),
        (folder_no_class, r"at least two classes was expected, none was found"),
        (
            folder_text_among_images,
            r"1 of 61 image files cannot be read: .*notes\.txt \(no image of a known kind",
        ),
        (folder_strange_split, r"cat, dog beside train; splits are called test, val, train"),
        (
            folder_new_class_in_test,
            r"in/test: wolf not in training, which has the classes cat, dog",
        ),
        (
            folder_splits_under_other_names,
            r"Test, Training with folders inside look like splits.*in small letters",
        ),
        (
            folder_without_training,
            r"test with folders inside look like splits, and there is no train",
        ),
        (
            folder_copies_in_two_splits,
            r"60 images are in two splits.*test/\w+/\d+\.png = .*train/.*; and 50 more\.",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_folders(tmp_path, spoil, message):
    root = write_folder(tmp_path / "in")
    spoil(root)
    with pytest.raises(DataError, match=message):
        image_folder(root, **HOW)


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    assert image_folder(write_folder(tmp_path / "in", ("bus", "train")), **HOW).class_names == [
        "bus",
        "train",
    ]


@pytest.mark.parametrize(
    ("ordinal", "names"), [(True, ["2", "10", "11"]), (False, ["10", "11", "2"])]
)
def test_numbers_of_grades_are_sorted_as_numbers(tmp_path, ordinal, names):
    """Names of classes as other programs sort them, so that their teachers fit."""
    root = write_folder(tmp_path / "in", ("2", "10", "11"))
    data = image_folder(root, **HOW, ordinal=ordinal)
    assert data.class_names == names
    first = np.asarray(picture([0, 0, 0])).transpose(2, 0, 1).tobytes()
    found = {
        image: int(y)
        for s in splits(data).values()
        for image, y in zip(bytes_of(s), s.labels, strict=True)
    }
    assert found[first] == names.index("2")


def test_too_few_images_for_a_split(tmp_path):
    with pytest.raises(
        DataError, match=r"4 images leave none for (test|val|train)\. Give more, other shares"
    ):
        image_folder(write_folder(tmp_path / "in", count=2), **HOW, val=0.001)


def test_a_class_that_training_lacks(tmp_path):
    root = write_folder(tmp_path / "in")
    (root / "bird").mkdir()
    for number in range(200):  # one image that falls on the side of the test
        picture(number).save(root / "bird" / "a.png")
        if place(decode(root / "bird" / "a.png", **HOW)[1], 0) < 0.2:
            break
    with pytest.raises(DataError, match="bird in test, not in training"):
        image_folder(root, **HOW)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"test": 0}, "data.test=0 "),
        ({"val": 1.0}, "data.val=1.0 "),
        ({"val": 5}, "data.val=5 should be a share"),
        ({"test": 0.6, "val": 0.4}, "leave no image to train with"),
        ({"split_seed": -1}, "data.split_seed=-1"),
        ({"size": "big"}, "data.size='big'"),
        ({"channels": 4}, "data.channels=4"),
        ({"crop_border": 1}, "crop_border=1"),
        ({"ordinal": "maybe"}, "data.ordinal='maybe'"),
    ],
)
def test_bad_settings_of_folders(tmp_path, setting, message):
    root = write_folder(tmp_path / "in", count=1)
    with pytest.raises(ConfigError, match=message):
        image_folder(root, **(HOW | setting))


# The cache ----------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch):
    """Counts the files that are decoded."""
    seen = Counter()

    def counted(paths, **settings):
        seen.update(files=len(paths))
        return plain(paths, **settings)

    plain = image_cache.decode_all
    monkeypatch.setattr(image_cache, "decode_all", counted)
    return seen


def test_images_are_decoded_once(tmp_path, decoded, capsys):
    root = write_folder(tmp_path / "in")
    first = image_folder(root, **HOW)
    assert capsys.readouterr().err.startswith("decoding 60 images: 100 %")
    again = image_folder(root, **HOW, val=0.2, test=0.3)
    assert capsys.readouterr().err == ""
    assert decoded["files"] == 60
    assert len(again.val) > len(first.val)
    assert image_folder(root, **HOW).digest() == first.digest()


@pytest.mark.parametrize("change", ["size", "channels", "touch", "add", "seed", "damage", "half"])
def test_what_changes_is_decoded_anew(tmp_path, decoded, change, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "in")
    before = image_folder(root, **HOW).digest()
    settings = {"size": 5} if change == "size" else {"channels": 1} if change == "channels" else {}
    settings |= {"split_seed": 1} if change == "seed" else {}
    if change == "touch":
        picture(5).save(root / "cat" / "0.png")
    if change == "add":
        picture(5).save(root / "cat" / "new.png")
    (images,) = tmp_path.glob("cache/*/images.npy")
    if change == "damage":
        images.write_bytes(images.read_bytes()[:-1])
    if change == "half":
        (images.parent / "rows.json").unlink()
    after = image_folder(root, **(HOW | settings)).digest()
    assert decoded["files"] == 120 + (change == "add")
    assert (before == after) == (change in ("damage", "half"))


def test_splits_lie_in_the_mapped_file_and_leave_it_alone(tmp_path):
    root = write_folder(tmp_path / "in")
    data = image_folder(root, **HOW)
    before = data.digest()
    parts = splits(data)
    assert len({split.inputs.untyped_storage().data_ptr() for split in parts.values()}) == 1
    data.train.inputs.zero_()
    assert image_folder(root, **HOW).digest() == before


def test_statistics_are_those_of_the_pixels(tmp_path):
    data = image_folder(write_folder(tmp_path / "in"), **HOW)
    shares = data.train.inputs.double().div(255).transpose(0, 1).flatten(1)
    mean, std = data.statistics
    assert mean == pytest.approx(shares.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(shares.std(1).tolist(), rel=1e-12)


def test_no_room(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "in")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(image_cache.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ResourceError, match=r"cache has 0\.0 GB free"):
            image_folder(root, **HOW)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "_write_array", full)
        with pytest.raises(ResourceError, match=r"No space left.*LIMBECK_CACHE=DIR"):
            image_folder(root, **HOW)
    assert not list(tmp_path.glob("cache/*/*"))
    monkeypatch.setenv("LIMBECK_CACHE", str(root / "cat" / "0.png"))
    with pytest.raises(ResourceError, match="LIMBECK_CACHE"):
        image_folder(root, **HOW)


# Tables -------------------------------------------------------------------------------------------


def test_a_table_and_its_images(tmp_path):
    data = read_csv(write_csv(tmp_path / "in"))
    assert data.class_names == ["high", "low"]
    wanted = {np.asarray(picture(i)).transpose(2, 0, 1).tobytes(): 1 - i % 2 for i in range(40)}
    found = {
        image: int(y)
        for s in splits(data).values()
        for image, y in zip(bytes_of(s), s.labels, strict=True)
    }
    assert found == wanted


def test_numbers_are_sorted_as_numbers_and_names_may_be_given(tmp_path):
    rows = [f"{number},{(2, 10)[number % 2]}" for number in range(40)]
    root = write_csv(tmp_path / "in", "\ufefffile,label\n" + "\n".join(rows))
    assert read_csv(root).class_names == ["2", "10"]
    rows = [f"{number},{('good', '1')[number % 2]}" for number in range(40)]
    root = write_csv(tmp_path / "in", "file,label\n" + "\n".join(rows))
    data = read_csv(root, class_names=["good", "bad"], ordinal=True)
    assert (data.class_names, data.ordinal) == (["good", "bad"], True)
    assert sum(int(split.labels.sum()) for split in splits(data).values()) == 20


def test_columns_may_be_called_by_numbers(tmp_path):
    root = write_csv(tmp_path / "in")
    table = root / "train.csv"
    table.write_text(
        table.read_text(encoding="utf-8").replace("file,label", "0,1"), encoding="utf-8"
    )
    assert read_csv(root, file_column=0, label_column=1).class_names == ["high", "low"]
    with pytest.raises(DataError, match="column 2 is missing; found 0, 1; name another"):
        read_csv(root, file_column=2, label_column=1)


def test_a_number_that_is_a_name_is_the_name(tmp_path):
    rows = [f"{number},{1 + number % 3}" for number in range(40)]
    root = write_csv(tmp_path / "in", "file,label\n" + "\n".join(rows))
    data = read_csv(root, class_names=["1", "2", "3"])
    assert torch.cat([s.labels for s in splits(data).values()]).bincount().tolist() == [14, 13, 13]
    with pytest.raises(
        DataError, match=r"13 labels in column label are none of 1, 2: 3 \(2\); .*; and 3 more"
    ):
        read_csv(root, class_names=[1, 2])


@pytest.mark.parametrize("names", [["a"], ["a", "a"], [], "ab"])
def test_bad_names_of_classes(tmp_path, names):
    with pytest.raises(ConfigError, match=r"data\.class_names=.* at least two names"):
        read_csv(write_csv(tmp_path / "in"), class_names=names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"column file is missing; found nothing"),
        (
            "id,label\n0,low\n",
            r"column file is missing; found id, label; name another with data\.file_column=",
        ),
        (
            "file,labels\n0,low\n",
            r"column label is missing; found file, labels; did you mean labels\?",
        ),
        ("file;label\n0;low\n", r"column file is missing; found file;label"),
        ("file,label\n", r"train\.csv lists no images"),
        ("file,label\n0,low\n1\n,high\n", r"file or label is empty in line 3; line 4"),
        ("file,label\n0,low\n1,high\n0,low\n", r"1 images are listed more than once: 0\."),
        ("file,label\n0,low\n1,low\n", r"column label holds low alone; at least two classes"),
        (
            "file,label\n" + "\n".join(f"{i},{i / 7}" for i in range(9)),
            r"holds 9 different values in 9 rows",
        ),
        (
            "file,label\n0,low\n1,high\nnone,low\n",
            r"1 of 3 image files cannot be read: .*none\.png \(missing\)",
        ),
        ("file,label\n0,low\0\n1,high\n", r"in/"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_csv(write_csv(tmp_path / "in", text, count=4))
    assert str(tmp_path / "in") in str(caught.value)


def test_a_table_that_is_none(tmp_path):
    root = write_csv(tmp_path / "in", count=2)
    picture(0).save(root / "train.csv", format="png")
    with pytest.raises(DataError, match=r"train\.csv is no CSV file in UTF-8"):
        read_csv(root)
    (root / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv cannot be read \(No such file"):
        read_csv(root)


# APTOS 2019 ---------------------------------------------------------------------------------------


def test_aptos(tmp_path):
    data = aptos(write_aptos(tmp_path, 12), size=32)
    assert (data.name, data.shape, data.classes, data.ordinal) == ("aptos", (3, 32, 32), 5, True)
    labels = torch.cat([split.labels for split in splits(data).values()])
    assert labels.bincount().tolist() == [12] * 5
    corner, middle = (
        data.train.inputs[:, :, 0, 0].float().mean(),
        data.train.inputs[:, 0, 16, 16].float().mean(),
    )
    assert corner < 10 < 100 < middle
    assert data.train.inputs[:, 0, 16, :2].float().mean() > 60, (
        "the border is cut off, so the disc touches the edge"
    )


@pytest.mark.parametrize("grade", ["5", "-1", "mild?", "1.0"])
def test_grades_out_of_range(tmp_path, grade):
    table = write_aptos(tmp_path, 2) / "train.csv"
    table.write_text(table.read_text().replace("000000000003,3", f"000000000003,{grade}"))
    with pytest.raises(
        DataError, match=r"1 labels in column diagnosis are none of no retinopathy, .*, 3, 4: "
    ):
        aptos(tmp_path, size=16)


def test_small_parts_and_quick_runs_stay_graded(tmp_path):
    assert aptos(write_aptos(tmp_path, 8), size=16).head(10).ordinal
