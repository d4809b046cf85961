"""A teacher's answers are written for all samples of a dataset."""

import numpy as np
import pytest
import torch
from support.image_studies import teacher_model
from torch import nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck._base.storage import Storage
from limbeck.study.answer_export import write_answers
from limbeck.study.teacher_scores import answer_split
from limbeck.teacher.signal import LiveTeacher


def test_every_sample_has_its_own_answer(data, tmp_path):
    model = teacher_model()
    assert write_answers(LiveTeacher(model), data, tmp_path / "a.npz") == 150
    arrays = np.load(tmp_path / "a.npz")
    test = data.open_test()
    for part, split in (("train", data.train), ("val", data.val), ("test", test)):
        rows = arrays["splits"] == part
        assert arrays["ids"][rows].tolist() == split.sample_ids.tolist()
        with torch.no_grad():
            expected = model(split.inputs.float() / 255)
        torch.testing.assert_close(torch.from_numpy(arrays["logits"][rows]), expected)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of two batches of seven samples."""
    monkeypatch.setattr("limbeck.models.batch_size.LINEAR_BATCH", 7)
    monkeypatch.setattr("limbeck.data.batches.EVALUATION_BATCH", 7)
    monkeypatch.setattr("limbeck.store.shards.MIN_BATCHES", 2)


class Recorder(torch.nn.Module):
    """A network with a convolution that records the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Conv2d(1, 3, 1)
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.net(x).mean((2, 3))


def test_convolutions_answer_all_splits_in_small_batches(data, tmp_path, monkeypatch):
    """Large ones take almost twice as long on a processor."""
    monkeypatch.setattr("limbeck.models.batch_size.CONVOLUTION_BATCH", 4)
    model = Recorder()
    write_answers(LiveTeacher(model), data, tmp_path / "a.npz")
    assert sum(model.sizes) == 150
    assert max(model.sizes) == 4
    model.sizes.clear()
    answer_split(LiveTeacher(model), data.val)
    assert max(model.sizes) == 4


def backwards(work, numbers):
    """Compute blocks in the wrong order."""
    for number in reversed(numbers):
        yield number, work.computation.compute(work.part(number))


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "parts"])
def test_blocks_in_any_order_give_the_same_file(data, tmp_path, small_blocks, name):
    if name == "parts":
        pytest.importorskip("pyarrow")
    teacher = LiveTeacher(teacher_model())
    assert write_answers(teacher, data, tmp_path / "a" / name, compute=backwards) == 150
    assert write_answers(teacher, data, tmp_path / "b" / name) == 150
    files = sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == (1 if name != "parts" else 7 + 2 + 3 + 1)
    for file in files:
        other = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == other.read_bytes()


def test_an_interrupted_folder_is_continued(data, tmp_path, small_blocks):
    pytest.importorskip("pyarrow")
    teacher, computed = LiveTeacher(teacher_model()), []

    def count(work, numbers):
        for number in numbers:
            computed.append(number)
            yield number, work.computation.compute(work.part(number))

    def stop(work, numbers):
        yield from list(backwards(work, numbers))[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_answers(teacher, data, tmp_path / "parts", compute=stop)
    with pytest.raises(ConfigError, match="another teacher"):
        write_answers(LiveTeacher(teacher_model(seed=9)), data, tmp_path / "parts")
    assert write_answers(teacher, data, tmp_path / "parts", compute=count) == 150
    assert computed == list(range(12 - 5))
    write_answers(teacher, data, tmp_path / "expected")
    for file in (tmp_path / "expected").iterdir():
        assert (tmp_path / "parts" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("name", "top", "message"),
    [
        ("a.csv", 0, "top=0 should be from 1 to 3"),
        ("a.csv", 4, "top=4 should be from 1 to 3"),
        ("a.npz", 2, r"cannot be written to \.npz"),
    ],
)
def test_a_wrong_number_of_classes_is_one_message(data, tmp_path, name, top, message):
    with pytest.raises(ConfigError, match=message):
        write_answers(LiveTeacher(teacher_model()), data, tmp_path / name, top=top)


class Broken(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 3), float("nan"))


def test_a_failure_leaves_no_file(data, text_data, tmp_path):
    with pytest.raises(TeacherError, match="not all finite"):
        write_answers(LiveTeacher(Broken()), data, tmp_path / "new" / "a.csv")
    with pytest.raises(ConfigError, match="is a text in blocks"):
        write_answers(LiveTeacher(Broken()), text_data, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.csv", "parts"])
def test_answers_at_an_address_are_those_on_the_disk(data, tmp_path, small_blocks, name):
    pytest.importorskip("pyarrow")
    teacher, address = LiveTeacher(teacher_model()), f"memory://answers-{name}/{name}"
    assert write_answers(teacher, data, address) == 150
    write_answers(teacher, data, tmp_path / name)
    if name == "parts":
        expected = {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
    else:
        expected = {name: (tmp_path / name).read_bytes()}
    files = Storage(address).files()
    folder = Storage(address.rpartition("/")[0]) if name == "a.csv" else Storage(address)
    assert {file: folder.read(file) for file in files} == expected
    with pytest.raises(ConfigError, match="exists already"):
        write_answers(teacher, data, address)
    folder.remove(files)
