"""Studies on real Ray clusters of this machine, and the same studies without Ray."""

import csv
import os
import sys
import threading
import time
import types
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from support.image_files import SIZE, write_folder
from support.image_studies import ARMS, HARD, WithBatchNorm, dataset, small, study_of, weights
from support.slow_actor import Slow, ask
from torch import nn

from limbeck import Arm, Objective, Optimizer
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning, ResourceError
from limbeck._base.progress import StageProgress
from limbeck.data import image_folder
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.study.cluster.connection import connect
from limbeck.study.cluster.file_tensors import MappedTensor
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.packing import SharedTensor
from limbeck.study.cluster.ray_engine import RayEngine, Task
from limbeck.study.engine import TrainingJob

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    return dataset()


@pytest.fixture
def ray(monkeypatch):
    module = pytest.importorskip("ray", reason="Ray is not installed")
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    yield module
    module.shutdown()


@contextmanager
def cluster_of(nodes):
    """A cluster whose first machine, that of the study, trains nothing."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    settings = {"include_dashboard": False, "num_cpus": 0, "object_store_memory": 200 << 20}
    cluster = utils.Cluster(shutdown_at_exit=False)
    try:
        add_machine(cluster, **settings)
        for _ in range(nodes):
            add_machine(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_machine(cluster, num_cpus=1, **settings):
    """Add a machine; Ray gives up after a while if this one is busy with other tests."""
    settings = {"num_cpus": num_cpus, "object_store_memory": 200 << 20, **settings}
    for _ in range(2):
        try:
            return cluster.add_node(**settings)
        except Exception as error:  # Ray raises the base class
            if "timed out" not in str(error):
                raise
    return cluster.add_node(**settings)


def assert_same_students(out, expected):
    first, second = weights(out), weights(expected)
    assert list(first) == list(second)
    for name, tensor in second.items():
        assert torch.equal(first[name], tensor), name


def rows(out, stage):
    """Rows of the logs of a stage: file, and value of each column."""
    for file in sorted((out / "logs" / stage).glob("version_*/metrics.csv")):
        with file.open(encoding="utf-8") as lines:
            yield from ((file.parent.name, row) for row in csv.DictReader(lines))


def test_a_cluster_of_two_machines_trains_the_students_of_one_process(ray, data, tmp_path):
    arms = {
        **ARMS,
        "other": Arm(objective=HARD, student=WithBatchNorm),
        "hint": Arm(objective=Objective(temperature=3.0), student=WithBatchNorm),
    }
    torch.set_num_threads(1)
    study_of(data, tmp_path / "local", arms).run()
    with cluster_of(2) as cluster:
        launcher = Launcher(name="ray", address=cluster.address)
        summary = study_of(data, tmp_path / "ray", arms, launcher=launcher).run()
    assert [arm.name for arm in summary.arms] == list(arms)
    assert_same_students(tmp_path / "ray", tmp_path / "local")


def test_the_loss_of_a_machine_costs_the_work_since_the_last_checkpoint(ray, data, tmp_path):
    options = {"student": WithBatchNorm, "epochs": 400, "seeds": 2, "batch_size": 8}
    arms = {"hard": Arm(objective=HARD)}
    torch.set_num_threads(1)
    study_of(data, tmp_path / "local", arms, **options).run()
    out, stages = tmp_path / "ray", ("cohort0", "cohort1")
    with cluster_of(0) as cluster:
        nodes = [add_machine(cluster) for _ in range(2)]

        def lose_a_machine():
            while not all(list(out.glob(f"checkpoints/{stage}/*.ckpt")) for stage in stages):
                time.sleep(0.05)
            cluster.remove_node(nodes[0], allow_graceful=False)

        thread = threading.Thread(target=lose_a_machine, daemon=True)
        thread.start()
        launcher = Launcher(name="ray", address=cluster.address)
        summary = study_of(data, out, arms, launcher=launcher, **options).run()
        thread.join(60)
    assert summary.failed == ()
    assert_same_students(out, tmp_path / "local")
    again = {}
    for stage in stages:
        epochs = {}
        for version, row in rows(out, stage):
            epochs.setdefault(version, []).append(int(row["epoch"]))
        again[stage] = epochs
    restarts = [epochs for epochs in again.values() if len(epochs) > 1]
    assert len(restarts) == 1, again
    assert restarts[0]["version_1"][0] > 0, "it should go on from a checkpoint"


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """Images and a store that stay on the disk, and bytes that were sent to workers."""
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("limbeck._base.mapped_memory.SHARE", 0.0)
    monkeypatch.setattr("limbeck.study.cluster.packing.MIN_SHARED_BYTES", 1000)
    sizes = []
    of = SharedTensor.of

    def share(tensor):
        sizes.append(tensor.nbytes)
        return of(tensor)

    monkeypatch.setattr("limbeck.study.cluster.connection.SharedTensor.of", share)
    write_folder(tmp_path / "in")
    data = image_folder(tmp_path / "in", **SIZE)
    assert data.train.is_on_disk
    return data, sizes


def study_on_disk(data, out, monkeypatch, **options):
    monkeypatch.setenv("LIMBECK_STORE", str(out.with_name(f"store of {out.name}")))
    torch.manual_seed(0)
    teacher = small(data.shape, data.classes)
    return study_of(data, out, teacher=teacher, student=small, **options)


def test_trainings_map_data_on_the_disk(ray, on_disk, tmp_path, monkeypatch):
    data, sizes = on_disk
    torch.set_num_threads(1)
    study_on_disk(data, tmp_path / "local", monkeypatch).run()
    study_on_disk(data, tmp_path / "ray", monkeypatch, launcher="ray").run()
    assert_same_students(tmp_path / "ray", tmp_path / "local")
    assert data.train.inputs.nbytes > 1000
    assert data.train.inputs.nbytes not in sizes


@pytest.mark.parametrize("fault", [{"file": Path("/gone.npy")}, {"sha256": "0" * 64}])
def test_data_that_workers_cannot_map_are_sent(ray, on_disk, tmp_path, monkeypatch, fault):
    data, sizes = on_disk
    torch.set_num_threads(1)
    study_on_disk(data, tmp_path / "local", monkeypatch).run()
    of = MappedTensor.of

    def faulty(tensor):
        part = of(tensor)
        return part and replace(part, **fault)

    monkeypatch.setattr("limbeck.study.cluster.connection.MappedTensor.of", faulty)
    with pytest.warns(LimbeckWarning, match="sends the samples to the workers") as log:
        study_on_disk(data, tmp_path / "ray", monkeypatch, launcher="ray").run()
    assert_same_students(tmp_path / "ray", tmp_path / "local")
    assert len([one for one in log if "sends the samples" in str(one.message)]) == 1
    assert data.train.inputs.nbytes in sizes


class Broken(nn.Module):
    """A student that fails in another process only."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(16, 3)

    def forward(self, x):
        if "default_worker" in sys.argv[0]:
            raise DataError("The labels of this batch are damaged.")
        return self.net(x.flatten(1))


def test_a_cluster_that_is_running_serves_several_studies(ray, data, tmp_path):
    settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray.init(address="local", num_cpus=2, **settings)  # and no cluster of another test
    torch.set_num_threads(1)

    # A cohort that diverges ends no other.
    arms = {"wild": Arm(objective=HARD, optimizer=Optimizer(name="sgd", lr=1e30)), **ARMS}
    summary = study_of(data, tmp_path / "wild", arms, launcher="ray").run()
    assert {item.arm for item in summary.failed} == {"wild"}
    assert [arm.name for arm in summary.arms] == list(ARMS)

    # An error of a training is that of the study.
    arms = {"hard": Arm(objective=HARD, student=Broken)}
    with pytest.raises(DataError, match="The labels of this batch are damaged"):
        study_of(data, tmp_path / "broken", arms, launcher="ray").run()

    # Large students are trained in memory of their own: shared memory is read-only.
    large = {"student": partial(MLP, hidden=[2000]), "epochs": 1}
    study_of(data, tmp_path / "large", launcher="ray", **large).run()
    study_of(data, tmp_path / "local", **large).run()
    assert_same_students(tmp_path / "large", tmp_path / "local")

    # No machine has as many cores or GPUs.
    for settings in ({"gpus": 1}, {"cpus": 1000}):
        with (
            pytest.raises(ConfigError, match="no machine of the cluster has as many; the largest"),
            connect(Launcher(name="ray", **settings)),
        ):
            pass
    assert ray.is_initialized(), "a cluster that was running before goes on"


def test_a_task_that_waits_keeps_its_core(ray):
    """Ray would lend it, and more trainings than cores would run."""
    settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray.init(address="local", num_cpus=1, **settings)
    actor = ray.remote(Slow).options(num_cpus=0, max_concurrency=2).remote()
    task = ray.remote(num_cpus=1)(ask)
    ray.get(task.remote(actor, 1))  # the modules are imported
    tasks = [task.remote(actor, 80) for _ in range(2)]  # longer than the start of another worker
    (first, _, end), (second, start, _) = sorted(ray.get(tasks), key=lambda times: times[1])
    assert first == second == {"answer"}
    assert start >= end


def test_a_module_that_workers_cannot_import_is_named(ray, data, tmp_path, monkeypatch):
    module = types.ModuleType("only_in_this_process")
    exec("import torch\nclass Net(torch.nn.Module):\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    nets = {"hard": Arm(objective=HARD, student=partial(net_with, module.Net))}
    with pytest.raises(ConfigError, match=r"cannot import what the study consists of: No module"):
        study_of(data, tmp_path / "run", nets, launcher="ray").run()


def net_with(kind):
    """A student with an attribute of another class."""
    net = WithBatchNorm()
    net.other = kind()
    return net


def test_a_cluster_that_is_gone_is_one_message(ray, tmp_path, monkeypatch):
    def fail(references, timeout):
        raise ray.exceptions.RayActorError

    monkeypatch.setattr(ray, "wait", fail)
    progress = StageProgress(enabled=False)
    engine = RayEngine(RunFolder(tmp_path), {}, [], progress, Launcher(name="ray"))
    job = TrainingJob(stage="cohort0", label="hard", task=None, data=None, epochs=1)
    monkeypatch.setattr(engine, "_submit", lambda job: Task(job, None, 0.0))
    with pytest.raises(ResourceError, match=r"The cluster is gone: .* resume the run"):
        list(engine.fit_all([job], lambda stage, seconds, waited: None))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"address": "127.0.0.1:1"}, ResourceError, r"the Ray cluster cannot be reached"),
        ({"address": "here"}, ConfigError, r"launcher\.address=here should be auto or HOST:PORT"),
        ({"address": "auto"}, ResourceError, r"launcher\.address=auto: the Ray cluster cannot"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_message(ray, settings, error, message, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # of ``auto``
    with pytest.raises(error, match=message), connect(Launcher(name="ray", **settings)):
        pass
    assert not ray.is_initialized()
