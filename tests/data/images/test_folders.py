import shutil

import pytest
from support.image_files import (
    SIZE,
    images_of,
    labels_by_image,
    picture,
    pixels_of,
    splits_of,
    write_folder,
)

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data import image_folder


def test_every_image_is_in_one_split_with_its_label(tmp_path):
    data = image_folder(write_folder(tmp_path / "in"), **SIZE)
    assert (data.class_names, data.shape, data.ordinal) == (["cat", "dog"], (3, 6, 6), False)
    expected = {}
    for label in (0, 1):
        for number in range(30):
            expected[pixels_of([0, label, number])] = label
    assert labels_by_image(data) == expected
    assert sum(map(len, splits_of(data).values())) == 60


def test_given_splits_are_used_and_a_missing_one_is_cut_from_training(tmp_path):
    root = tmp_path / "in"
    for seed, part in enumerate(("train", "val", "test")):
        write_folder(root / part, seed=seed)
    data = image_folder(root, **SIZE)
    assert [len(split) for split in splits_of(data).values()] == [60, 60, 60]
    test_images = {pixels_of([2, label, number]) for label in (0, 1) for number in range(30)}
    assert set(images_of(data.open_test())) == test_images
    shutil.rmtree(root / "val")
    data = image_folder(root, **SIZE, val=0.4)
    assert set(images_of(data.open_test())) == test_images
    assert len(data.train) + len(data.val) == 60
    assert 10 < len(data.val) < 40
    shutil.move(root / "test", root / "val")
    data = image_folder(root, **SIZE, test=0.4)
    assert set(images_of(data.val)) == test_images
    assert 10 < data.test_size < 40


def test_hidden_and_system_files_are_skipped(tmp_path):
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
    data = image_folder(root, **SIZE)
    assert sum(map(len, splits_of(data).values())) == 61


def test_linked_folders_and_files_are_read(tmp_path):
    root = write_folder(tmp_path / "in")
    elsewhere = write_folder(tmp_path / "elsewhere", seed=1)
    (elsewhere / "dog" / "0.png").rename(elsewhere / "0.png")
    (root / "cat" / "more").symlink_to(elsewhere / "cat")
    (root / "cat" / "up").symlink_to(root / "cat")
    (root / "dog" / "one.png").symlink_to(elsewhere / "0.png")
    (root / "fox").symlink_to(elsewhere / "dog")
    data = image_folder(root, **SIZE)
    assert data.class_names == ["cat", "dog", "fox"]
    labels = labels_by_image(data)
    assert len(labels) == 120
    assert labels[pixels_of([1, 0, 3])] == 0
    assert labels[pixels_of([1, 1, 0])] == 1


def test_a_class_may_begin_with_underscores(tmp_path):
    data = image_folder(write_folder(tmp_path / "in", ("__background__", "dog")), **SIZE)
    assert data.class_names == ["__background__", "dog"]


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_split_without_class_folders_is_reported(tmp_path, part):
    """As in competitions, whose test images have no labels."""
    root = tmp_path / "in"
    write_folder(root / "train")
    (root / part).mkdir()
    for number in range(3):
        picture([5, number]).save(root / part / f"{number}.png")
    message = rf"{part} contains no class folders, so its 3 images have no labels.*cut from train"
    with pytest.warns(LimbeckWarning, match=message):
        data = image_folder(root, **SIZE)
    assert len(labels_by_image(data)) == 60


def test_images_next_to_class_folders_are_reported(tmp_path):
    root = write_folder(tmp_path / "in")
    picture(99).save(root / "stray.PNG", format="png")
    (root / "README.md").touch()
    message = r"in: 1 image is in no class folder, and not used: stray\.PNG\."
    with pytest.warns(LimbeckWarning, match=message):
        image_folder(root, **SIZE)
    write_folder(tmp_path / "splits" / "train")
    shutil.copy(root / "stray.PNG", tmp_path / "splits" / "train" / "a.jpg")
    with pytest.warns(LimbeckWarning, match=r"splits/train: 1 image is in no class folder"):
        image_folder(tmp_path / "splits", **SIZE)


@pytest.mark.parametrize("mode", [0o000, 0o444])
@pytest.mark.parametrize("locked", [".", "cat", "cat/more"])
def test_folders_without_access_are_named(open_folder, locked, mode):
    root = write_folder(open_folder / "in")
    (root / "cat" / "more").mkdir()
    picture(99).save(root / "cat" / "more" / "0.png")
    (root / locked).chmod(mode)
    with pytest.raises(DataError, match=r"cannot be read.*Permission denied"):
        image_folder(root, **SIZE)


def test_a_root_in_a_folder_without_access(open_folder):
    (open_folder / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match=r"photos cannot be read \(Permission denied\)"):
        image_folder(open_folder / "locked" / "photos", **SIZE)


def folder_missing(root):
    shutil.rmtree(root)


def folder_one_class(root):
    shutil.rmtree(root / "cat")


def folder_no_class(root):
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "dog")


def folder_text_among_images(root):
    (root / "dog" / "notes.png").write_text("hello")


def folder_classes_beside_training(root):
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


def folder_flat_splits(root):
    (root / "cat").rename(root / "train")
    (root / "dog").rename(root / "test")


def folder_dangling_link(root):
    (root / "dog" / "link.png").symlink_to("nowhere.png")


def folder_dangling_class(root):
    (root / "fox").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (folder_missing, r"in is missing\. Set data\.root= to a folder"),
        (folder_one_class, r"a folder for each of at least two classes, only dog was found"),
        (folder_no_class, r"a folder for each of at least two classes, none was found"),
        (
            folder_text_among_images,
            r"1 of 25 image files cannot be read: .*notes\.png \(not an image of a known format",
        ),
        (
            folder_classes_beside_training,
            r"cat, dog next to train\. Splits are called test, val, train",
        ),
        (
            folder_new_class_in_test,
            r"in/test: wolf is not in training, which has the classes cat, dog",
        ),
        (
            folder_splits_under_other_names,
            r"Test, Training with folders inside look like splits.*in lower case",
        ),
        (
            folder_without_training,
            r"test with folders inside look like splits, but there is no train",
        ),
        (folder_flat_splits, r"test, train look like splits, but contain no class folders"),
        (folder_dangling_link, r"1 of 25 .*dog/link\.png \(a link to a missing file\)"),
        (folder_dangling_class, r"fox is a link to a missing file or folder"),
        (
            folder_copies_in_two_splits,
            r"24 images are in two splits.*test/\w+/\d+\.png = .*train/.*; and 14 more\.",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_folders_are_named(tmp_path, spoil, message):
    root = write_folder(tmp_path / "in", count=12)
    spoil(root)
    with pytest.raises(DataError, match=message):
        image_folder(root, **SIZE)


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    data = image_folder(write_folder(tmp_path / "in", ("bus", "train")), **SIZE)
    assert data.class_names == ["bus", "train"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"ordinal": True}, ["2", "10", "11"]),
        ({}, ["2", "10", "11"]),
        ({"class_order": "text"}, ["10", "11", "2"]),
        ({"class_order": "text", "ordinal": True}, ["2", "10", "11"]),
    ],
)
def test_numbers_are_sorted_by_value_or_as_text(tmp_path, settings, names):
    """Other programs sort names of classes as text, and their teachers should fit."""
    root = write_folder(tmp_path / "in", ("2", "10", "11"))
    data = image_folder(root, **SIZE, **settings)
    assert data.class_names == names
    assert labels_by_image(data)[pixels_of([0, 0, 0])] == names.index("2")


def test_another_order_of_classes_decodes_nothing_again(tmp_path, capsys):
    root = write_folder(tmp_path / "in", ("2", "10"))
    first = image_folder(root, **SIZE)
    capsys.readouterr()
    second = image_folder(root, **SIZE, class_order="text")
    assert capsys.readouterr().err == ""
    assert images_of(first.train) == images_of(second.train)
    assert (first.train.labels == 1 - second.train.labels).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"test": 0}, "data.test=0 "),
        ({"val": 1.0}, "data.val=1.0 "),
        ({"val": 5}, "data.val=5 should be a share of the images"),
        ({"test": 0.6, "val": 0.4}, "leave none of the images for training"),
        ({"split_seed": -1}, "data.split_seed=-1"),
        ({"size": "big"}, "data.size='big'"),
        ({"channels": 4}, "data.channels=4"),
        ({"crop_border": 1}, "data.crop_border=1"),
        ({"ordinal": "maybe"}, "data.ordinal='maybe'"),
        ({"class_order": "size"}, "data.class_order='size' should be natural or text"),
    ],
)
def test_bad_settings_are_named(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        image_folder(tmp_path, **(SIZE | setting))


def test_ids_are_the_paths_of_the_files(tmp_path):
    root = write_folder(tmp_path / "in")
    for _ in range(2):  # the second time from the cache
        data = image_folder(root, **SIZE)
        for split in splits_of(data).values():
            assert split.sample_ids[0].startswith(("cat/", "dog/"))
            for name, label in zip(split.sample_ids, split.labels, strict=True):
                assert (root / name).is_file()
                assert name.partition("/")[0] == data.class_names[label]
