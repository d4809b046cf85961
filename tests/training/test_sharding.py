"""One student whose weights are shared by several processes: the same student as in one process."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import torch
from support import resumed, sharded_processes
from support.resumed import Stopped
from torch import nn

from limbeck import Objective, distill
from limbeck._base.errors import ConfigError, LimbeckWarning
from limbeck.losses import Feature
from limbeck.models import GPT, MLP
from limbeck.training.cohort.stack import Cohort
from limbeck.training.options import TrainerOptions
from limbeck.training.sharded_strategy import repeated_layers
from limbeck.training.sharding import check_model, check_sharding
from limbeck.training.task import DistillationTask

FSDP = {"strategy": "fsdp", "devices": 1}


# Layers that are put together one at a time -------------------------------------------------------


def test_blocks_are_put_together_one_at_a_time():
    gpt = GPT((8,), 10, width=8, layers=2, heads=1)
    assert repeated_layers(gpt) == {f"blocks.{i}": block for i, block in enumerate(gpt.blocks)}
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    assert list(repeated_layers(nn.Sequential(inner, nn.Linear(2, 2)))) == ["0", "1"]
    lists = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)])])
    assert list(repeated_layers(lists)) == ["0.0"]


def test_layers_that_share_weights_are_put_together_with_the_rest():
    first, second, third = (nn.Linear(2, 2) for _ in range(3))
    second.weight = first.weight
    assert list(repeated_layers(nn.Sequential(first, second, third))) == ["2"]


def test_a_last_layer_that_is_not_called_is_put_together_with_the_rest():
    class Model(nn.Sequential):
        def hidden(self, ids):
            return self[0](ids)

        def last_layer(self):
            return self[1].weight, None

    assert list(repeated_layers(Model(nn.Embedding(5, 2), nn.Linear(2, 5)))) == ["0"]


# What cannot be shared ----------------------------------------------------------------------------


def test_statistics_of_batches_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ConfigError, match=r"student has BatchNorm1d, .*trainer\.strategy=ddp"):
        check_model(model, "The student")


def test_a_parameter_without_dimensions_is_refused():
    model = nn.Linear(2, 2)
    model.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ConfigError, match=r"the parameter scale without dimensions"):
        check_model(model, "The student")


def test_what_does_not_fit_the_strategy_is_refused_before_processes_start():
    pair = [[nn.Linear(2, 2), nn.Linear(2, 2)]]
    cohort = DistillationTask(Cohort(pair), None, Objective(hard_weight=1.0, soft_weight=0.0))
    options = TrainerOptions.of(FSDP)
    with pytest.raises(ConfigError, match="trains one student at a time, but this cohort has 2"):
        check_sharding(cohort, options)
    check_sharding(cohort, TrainerOptions(strategy="ddp"))
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match="optimizer was created for whole weights"):
        check_sharding(DistillationTask(model, optimizer=optimizer), options)
    with pytest.raises(ConfigError, match=r"trainer\.compile=True cannot be combined"):
        check_sharding(DistillationTask(model), TrainerOptions.of({**FSDP, "compile": True}))


# One process --------------------------------------------------------------------------------------


@pytest.fixture
def one_process(monkeypatch):
    """Forget the process group of a test, and the variables that describe it."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # restores it at the end
        monkeypatch.delenv(name)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_a_sharded_student_is_trained_in_place(one_process, precision):
    def pair():
        torch.manual_seed(0)
        student = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
        student.eval()
        return student, nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))

    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    loader = [(x[i : i + 10], torch.arange(10) % 3) for i in range(0, 30, 10)]
    results = []
    for trainer in ({}, FSDP):
        student, teacher = pair()
        layers = list(teacher)
        options = {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value", **trainer}
        options |= {"precision": precision, "accumulate_grad_batches": 2}
        result = distill(student, teacher, loader, epochs=2, trainer=options, progress=False)
        assert result is student
        assert list(teacher) == layers
        results.append(student.state_dict())
        assert [type(module) for module in student.modules()] == [
            nn.Sequential,
            nn.Linear,
            nn.ReLU,
            nn.Linear,
        ]
    for name, values in results[0].items():
        torch.testing.assert_close(results[1][name], values, rtol=1e-5, atol=1e-6)


def test_a_teacher_whose_layers_guide_the_student_stays_whole(one_process):
    def make():
        torch.manual_seed(0)
        shape = resumed.SHAPE
        hint = Feature(kind="hint", student="layers.0", teacher="layers.0")
        student, teacher = MLP(shape, 3, hidden=[5], dropout=0.0), MLP(shape, 3, hidden=[6])
        task = DistillationTask(
            student, teacher, Objective(features=[hint]), seeds=[0], arm_names=["a"]
        )
        return task, resumed.StudyData(resumed.images(), seeds=[0], batch_size=20)

    whole, _ = resumed.train(make, epochs=1)
    sharded, _ = resumed.train(make, epochs=1, **FSDP)
    for name, values in whole.cohort.state_dict().items():
        torch.testing.assert_close(sharded.cohort.state_dict()[name], values, rtol=1e-4, atol=1e-5)


def stop_sharded(folder, monkeypatch):
    with monkeypatch.context() as patch, suppress(Stopped):
        resumed.stop(patch, **sharded_processes.STOP)
        sharded_processes.train("images", folder, checkpoints=folder, **FSDP)


def test_a_damaged_share_is_noticed(one_process, tmp_path, monkeypatch):
    stop_sharded(tmp_path, monkeypatch)
    (file,) = (tmp_path / "step8.shards").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(LimbeckWarning, match=r"the checksum of shard-00001.* is wrong.*first epoch"):
        sharded_processes.train("images", tmp_path, checkpoints=tmp_path, **FSDP)


def test_a_missing_share_is_noticed(one_process, tmp_path, monkeypatch):
    stop_sharded(tmp_path, monkeypatch)
    (file,) = (tmp_path / "step8.shards").iterdir()
    file.unlink()
    with pytest.warns(LimbeckWarning, match=r"step8\.ckpt lacks some of its shares"):
        sharded_processes.train("images", tmp_path, checkpoints=tmp_path, **FSDP)


def test_shares_are_resumed_without_the_strategy_but_not_the_other_way(
    one_process, tmp_path, monkeypatch
):
    expected = sharded_processes.train("images", tmp_path)
    stop_sharded(tmp_path, monkeypatch)
    weights = sharded_processes.train("images", tmp_path, checkpoints=tmp_path)
    for name, values in expected.items():
        torch.testing.assert_close(weights[name], values, rtol=1e-4, atol=1e-6)
    with pytest.warns(LimbeckWarning, match="was written without trainer.strategy=fsdp"):
        sharded_processes.train("images", tmp_path, checkpoints=tmp_path, **FSDP)


def test_a_share_that_cannot_be_written_ends_no_training(one_process, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device", "shard")

    monkeypatch.setattr("torch.distributed.checkpoint.HuggingFaceStorageWriter.write_data", fail)
    with pytest.warns(LimbeckWarning, match="cannot be written .No space left on device"):
        sharded_processes.train("images", tmp_path, checkpoints=tmp_path, **FSDP)
    assert not list(tmp_path.glob("*.ckpt"))


# Several processes --------------------------------------------------------------------------------


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(folder, *actions, processes, nodes=1, node=0, port=None):
    words = [f"--nproc-per-node={processes}", f"--nnodes={nodes}", f"--node-rank={node}"]
    words += ["--master-addr=127.0.0.1", f"--master-port={port or free_port()}"]
    command = [sys.executable, "-m", "torch.distributed.run", *words, sharded_processes.__file__]
    paths = [str(sharded_processes.PATH), os.environ.get("PYTHONPATH", "")]
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    with (folder / f"launcher-{node}.log").open("w") as log:
        return subprocess.Popen(
            [*command, str(folder), str(nodes), *actions],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )


def end(folder, *processes, seconds=240):
    """Wait for launchers, and end the others as soon as one has failed.

    A launcher waits 300 seconds for those of other machines after its own processes have ended, so
    that the failure of one would be reported as the timeout of another.
    """
    limit = time.monotonic() + seconds
    while any(process.poll() is None for process in processes) and time.monotonic() < limit:
        if any(process.poll() for process in processes):
            break
        time.sleep(0.1)
    codes = [process.poll() for process in processes]
    for process in processes:
        process.terminate()
        process.wait()
    logs = [path.read_text()[-3000:] for path in sorted(folder.glob("launcher-*.log"))]
    assert codes == [0] * len(processes), "\n\n".join(logs)


def check_saved(folder, names):
    expected = {maker: sharded_processes.train(maker, folder) for maker in ("images", "text")}
    for name in names:
        weights = torch.load(folder / f"{name}.pt")
        for key, values in expected[name.split("-")[1]].items():
            torch.testing.assert_close(weights[key], values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_processes_that_share_weights_train_the_student_of_one_and_resume(tmp_path):
    sharded_processes.write_text(tmp_path)
    train = ["train:images:ddp", "train:images:fsdp", "train:text:ddp", "train:text:fsdp"]
    stop = ["stop:images:fsdp", "resume:images:fsdp", "stop:text:fsdp"]
    end(tmp_path, start(tmp_path, *train, *stop, processes=2))
    names = [action.replace(":", "-") for action in train]
    check_saved(tmp_path, [f"{name}-2" for name in (*names, "resume-images-fsdp")])
    straight, resumed_weights = (
        torch.load(tmp_path / f"{verb}-images-fsdp-2.pt") for verb in ("train", "resume")
    )
    assert all(torch.equal(resumed_weights[key], straight[key]) for key in straight)
    end(tmp_path, start(tmp_path, "resume:text:fsdp", *train[1:], processes=4))
    check_saved(tmp_path, [f"{name}-4" for name in ("resume-text-fsdp", *names[1:])])


@pytest.mark.slow
def test_two_launchers_train_one_student(tmp_path):
    sharded_processes.write_text(tmp_path)
    actions = ["train:images:fsdp", "train:images:ddp", "stop:images:ddp"]
    options = {"processes": 1, "nodes": 2, "port": free_port()}
    end(tmp_path, *(start(tmp_path, *actions, node=node, **options) for node in (0, 1)))
    check_saved(tmp_path, ["train-images-fsdp-2", "train-images-ddp-2"])
    end(tmp_path, start(tmp_path, "resume:images:ddp", processes=3))
    check_saved(tmp_path, ["resume-images-ddp-3"])
