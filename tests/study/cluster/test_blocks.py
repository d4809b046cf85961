"""Blocks of answers that workers of a real Ray cluster compute."""

import os
import signal
import threading
import time
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from support.image_files import picture
from support.image_studies import dataset, teacher_model

from limbeck._base.errors import LimbeckWarning, ResourceError, TeacherError
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.progress import StageProgress
from limbeck.data import Shift, image_folder
from limbeck.run.folder import RunFolder
from limbeck.store.answers import TeacherPass
from limbeck.store.build import open_store
from limbeck.store.shards import Shards, compute_shards
from limbeck.study.answer_export import write_answers
from limbeck.study.cluster.blocks import compute_blocks
from limbeck.study.cluster.connection import connect
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.packing import SharedTensor, pack
from limbeck.study.cluster.ray_engine import RayEngine
from limbeck.teacher.signal import LiveTeacher

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray():
    module = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        settings["address"] = "local"  # and no cluster of another test
        start(module, num_cpus=2, object_store_memory=200 << 20, **settings)
        yield module
        module.shutdown()


def start(ray, **settings):
    """Start a cluster; Ray gives up after a while if this machine is busy with other tests."""
    for attempt in (1, 2, 3):
        try:
            return ray.init(**settings)
        except Exception as error:  # Ray raises the base class
            ray.shutdown()
            if attempt == 3 or "timed out" not in str(error):
                raise
    return None


@pytest.fixture
def engine(ray, tmp_path):
    progress = StageProgress(enabled=False)
    engine = RayEngine(RunFolder(tmp_path / "run"), {}, [], progress, Launcher(name="ray"))
    with engine.open({}):
        yield engine


def teacher_pass(**changes):
    data = dataset()
    whole_pass = TeacherPass(
        teacher=LiveTeacher([teacher_model(), teacher_model(seed=8)]),
        inputs=data.train.inputs,
        rows=torch.arange(len(data.train)),
        views=Shift(1),
        classes=3,
    )
    return replace(whole_pass, **changes)


@pytest.mark.parametrize("kind", ["dense", "sampled"])
def test_a_store_of_many_workers_is_that_of_one_process(engine, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("limbeck.store.key.SHARD_ANSWERS", 40)
    torch.set_num_threads(1)
    whole_pass = teacher_pass()
    monkeypatch.setattr(TeacherPass, "batch_size", 11)
    monkeypatch.setattr("limbeck.store.shards.MIN_BATCHES", 2)
    header = whole_pass.header("float32", kind=kind, k=2)
    assert header.shards > 5
    stores = {}
    for name, compute in (("ray", engine.compute_shards), ("local", compute_shards)):
        open_store(whole_pass, header, tmp_path / name, StageProgress(enabled=False), compute)
        folder = tmp_path / name / header.key
        stores[name] = {
            file.name: file.read_bytes() for file in folder.iterdir() if file.name != "lock"
        }
    assert stores["ray"].keys() == stores["local"].keys()
    for name, content in stores["local"].items():
        assert stores["ray"][name] == content, name


def test_an_error_of_the_teacher_is_that_of_the_study(engine):
    class Nan(torch.nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), float("nan"))

    whole_pass = teacher_pass(teacher=LiveTeacher(Nan()))
    with pytest.raises(TeacherError, match="are not all finite"):
        list(engine.compute_shards(Shards(whole_pass, whole_pass.header("float32"), [0]), print))


def test_a_teacher_that_cannot_be_sent_answers_here(engine):
    class Open(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

        def forward(self, x):
            return x.flatten(1)[:, :3] / 255

    whole_pass = teacher_pass(teacher=LiveTeacher(Open()))
    header = whole_pass.header("float32")
    with pytest.warns(LimbeckWarning, match=r"cannot be sent .*lock.* answers on this machine"):
        shards = dict(engine.compute_shards(Shards(whole_pass, header, [0]), print))
    assert shards == dict(compute_shards(Shards(whole_pass, header, [0]), print))


@pytest.mark.parametrize("name", ["a.csv", "parts"])
def test_answers_of_many_workers_are_those_of_one_process(ray, tmp_path, monkeypatch, name):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("limbeck.models.batch_size.LINEAR_BATCH", 7)
    monkeypatch.setattr("limbeck.store.shards.MIN_BATCHES", 2)
    torch.set_num_threads(1)
    teacher, data = LiveTeacher([teacher_model(), teacher_model(seed=8)]), dataset()
    with connect(Launcher(name="ray")) as cluster:
        compute = partial(compute_blocks, cluster=cluster)
        assert write_answers(teacher, data, tmp_path / "ray" / name, compute=compute) == 150
    write_answers(teacher, data, tmp_path / "local" / name)
    files = [path for path in (tmp_path / "local").rglob("*") if path.is_file()]
    assert len(files) == (1 if name == "a.csv" else 7 + 2 + 3 + 1)
    for file in files:
        other = tmp_path / "ray" / file.relative_to(tmp_path / "local")
        assert other.read_bytes() == file.read_bytes(), file.name


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images on the disk, of 20 kB each when they are decoded."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(90):
        place = folder / "abc"[number % 3]
        place.mkdir(exist_ok=True)
        picture(number, size=80).save(place / f"{number}.png")
    return folder


def write_images(images, to, monkeypatch, **options):
    """Write the answers to images; returns the files, and the bytes sent to workers."""
    monkeypatch.setattr("limbeck.models.batch_size.LINEAR_BATCH", 4)
    monkeypatch.setattr("limbeck.store.shards.MIN_BATCHES", 2)
    sizes = []

    def share(tensor):
        sizes.append(tensor.nbytes)
        return SharedTensor(tensor.detach().numpy(), tensor.dtype, False)

    def pack_and_count(content, pickler):
        packed, tensors = pack(content, pickler)
        sizes.append(len(packed))
        return packed, tensors

    monkeypatch.setattr(SharedTensor, "of", share)
    monkeypatch.setattr("limbeck.study.cluster.blocks.pack", pack_and_count)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 80 * 80, 3, bias=False))
    data = image_folder(images, size=80)
    write_answers(LiveTeacher(model), data, to, **options)
    return {file.name: file.read_bytes() for file in to.iterdir()}, sum(sizes)


def test_workers_read_the_samples_that_are_on_the_disk(ray, images, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    expected, _ = write_images(images, tmp_path / "local", monkeypatch)
    with connect(Launcher(name="ray")) as cluster:
        compute = partial(compute_blocks, cluster=cluster)
        files, size = write_images(images, tmp_path / "ray", monkeypatch, compute=compute)
    assert files == expected
    weights, samples = 4 * 3 * 3 * 80 * 80, 90 * 3 * 80 * 80
    assert samples > 7 * weights
    assert weights < size < weights + 40_000, "samples were sent"


@pytest.mark.parametrize("fault", ["missing", "different"])
def test_samples_that_workers_cannot_read_are_sent(ray, images, tmp_path, monkeypatch, fault):
    pytest.importorskip("pyarrow")
    place_of = MAPPED_FILES.place_of

    def place(address):
        path, offset = place_of(address) or (None, 0)
        if path is None:
            return None
        return (path.parent / "gone.npy", offset) if fault == "missing" else (path, offset - 1)

    expected, _ = write_images(images, tmp_path / "local", monkeypatch)
    monkeypatch.setattr(MAPPED_FILES, "place_of", place)
    words = "cannot read" if fault == "missing" else "reads other samples"
    with connect(Launcher(name="ray")) as cluster, warnings.catch_warnings(record=True) as log:
        warnings.simplefilter("always")
        compute = partial(compute_blocks, cluster=cluster)
        files, size = write_images(images, tmp_path / "ray", monkeypatch, compute=compute)
    assert files == expected
    messages = [str(one.message) for one in log if issubclass(one.category, LimbeckWarning)]
    assert len(messages) == 1
    assert words in messages[0]
    assert "LIMBECK_CACHE" in messages[0]
    assert size > 90 * 3 * 80 * 80


@dataclass(frozen=True)
class Deadly:
    """Work that ends its process at the first attempts at one block.

    Attributes:
        folder: Folder with a file for each attempt.
        deaths: Number of attempts that end the process.
    """

    folder: Path
    deaths: int

    @property
    def computation(self):
        return self

    def part(self, number):
        return number

    def to_device(self, device):
        return self

    def compute(self, number):
        attempt = len(list(self.folder.glob(f"{number}-*")))
        (self.folder / f"{number}-{attempt}").touch()
        if number == 3 and attempt < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return f"block {number}".encode()


def blocks_of(work, retries):
    with connect(Launcher(name="ray", retries=retries)) as cluster:
        return dict(compute_blocks(work, range(12), cluster))


def test_a_worker_that_is_lost_costs_the_block_that_it_works_on(ray, tmp_path):
    blocks = blocks_of(Deadly(tmp_path, deaths=2), retries=3)
    assert blocks == {number: f"block {number}".encode() for number in range(12)}
    attempts = len(list(tmp_path.iterdir()))
    assert attempts == 12 + 2, "other blocks were computed again"


@dataclass(frozen=True)
class LateBlock(Deadly):
    """Work whose first block ends after some others, and then says how many had ended.

    Attributes:
        others: Number of other blocks.
    """

    others: int = 0

    def compute(self, number):
        if number:
            (self.folder / str(number)).touch()
            return b""
        deadline = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < self.others and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # the time in which further blocks would end, if there were any
        return str(len(list(self.folder.iterdir()))).encode()


def test_few_blocks_are_ahead_of_a_late_one(ray, tmp_path, monkeypatch):
    """A file is written in order: all blocks after a late one wait in memory."""
    monkeypatch.setattr("limbeck.study.cluster.blocks.MAX_AHEAD", 3)
    with connect(Launcher(name="ray")) as cluster:
        most = 3 * cluster.slots - 1
        blocks = dict(compute_blocks(LateBlock(tmp_path, 0, most), range(30), cluster))
    assert sorted(blocks) == list(range(30))
    assert int(blocks[0]) == most


def test_workers_that_are_lost_too_often_are_one_message(ray, tmp_path):
    with pytest.raises(ResourceError, match=r"lost the workers of some samples 2 times: "):
        blocks_of(Deadly(tmp_path, deaths=1000), retries=1)
