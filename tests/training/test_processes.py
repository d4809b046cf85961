"""Processes that cannot connect, or of which one is lost: one message, and no process hangs."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from limbeck._base.errors import ConfigError, ResourceError
from limbeck._base.peers import LostProcessError
from limbeck.training.fabric import make_fabric
from limbeck.training.machine import translate_errors
from limbeck.training.processes import _connection_error

SETTINGS = [
    "teacher=mlp",
    "teacher.model.hidden=[32]",
    "teacher.epochs=400",
    "seeds=1",
    "epochs=1",
    "batch_size=250",
    "logger=csv",
    "trainer.accelerator=cpu",
    "trainer.devices=2",
]
ENDS_EARLY = """
import sys

import torch
from torch import distributed, nn

import limbeck

strategy, wait = sys.argv[1:]
loader = [(torch.randn(8, 4), torch.arange(8) % 3)]
trainer = {"accelerator": "cpu", "devices": 2, "strategy": strategy}
limbeck.train(nn.Linear(4, 3), loader, epochs=1, progress=False, trainer=trainer)
tensors = [torch.randn(100) if wait else torch.randn(3000, 100) for _ in range(200)]
for tensor in tensors:
    tensor.owner = object()  # Python has to be alive when the tensor is freed
works = [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]
del tensors, tensor
while works:
    work = works.pop()
    if wait:
        work.wait()
    del work
"""


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection reset by peer"),
        torch.distributed.DistBackendError("NCCL error"),
        torch.distributed.DistNetworkError("The client socket has timed out"),
    ],
)
def test_a_lost_connection_is_a_lost_process(error):
    with pytest.raises(LostProcessError, match="The others cannot go on"), translate_errors():
        raise error


def test_a_port_in_use_and_a_machine_out_of_reach_are_named(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    error = _connection_error(torch.distributed.DistNetworkError("code: EADDRINUSE, in use"))
    assert isinstance(error, ResourceError)
    assert str(error).startswith("Port 29500 (MASTER_PORT), to which")
    error = _connection_error(torch.distributed.DistStoreError("wait timeout"))
    assert str(error).startswith("The processes of the training cannot connect to 10.0.0.1:29500")


def test_torchrun_and_the_settings_have_to_agree(monkeypatch):
    variables = {"LOCAL_RANK": 0, "RANK": 0, "LOCAL_WORLD_SIZE": 2, "WORLD_SIZE": 4}
    variables |= {"TORCHELASTIC_RUN_ID": "run", "MASTER_ADDR": "localhost", "MASTER_PORT": 29500}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    message = r"started 4 processes .*2 of them.*Use trainer\.devices=2 trainer\.num_nodes=2"
    for devices, nodes in ((1, 1), (4, 1), (1, 4), (2, 1)):
        options = {"accelerator": "cpu", "devices": devices, "num_nodes": nodes}
        with pytest.raises(ConfigError, match=message):
            make_fabric(options)
    options = {"accelerator": "cpu", "devices": 2, "num_nodes": 2}
    for strategy in ("auto", "ddp", "fsdp"):
        assert make_fabric({**options, "strategy": strategy}).world_size == 4


def start(tmp_path, *words):
    environment = {**os.environ, "LIMBECK_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "limbeck", "run", *SETTINGS, *words, f"out={tmp_path / 'run'}"],
        env={**environment, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_checkpoint(process, tmp_path):
    for _ in range(3000):
        if list((tmp_path / "run" / "checkpoints" / "teacher0").glob("*.ckpt")):
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("there was no checkpoint")


def child_of(process):
    pids = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
    return next(pid for pid in map(int, pids.split()) if "run" in command_of(pid))


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode().split("\0")
    except OSError:
        return []


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes in /proc")
@pytest.mark.parametrize(("rank", "strategy"), [(0, "ddp"), (1, "fsdp")])
def test_a_lost_process_ends_the_others_with_one_message(tmp_path, rank, strategy):
    process = start(tmp_path, f"trainer.strategy={strategy}")
    wait_for_checkpoint(process, tmp_path)
    child = child_of(process)
    os.kill(child if rank else process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == (ResourceError.exit_code if rank else -signal.SIGKILL)
    name = "Process 1 of this training was ended by signal 9" if rank else "The first process"
    assert errors.count("error: ") == 1
    assert f"error: {name}" in errors
    assert "Traceback" not in errors
    for _ in range(300):  # it closes its errors before it has ended
        if not command_of(child):
            break
        time.sleep(0.1)
    assert not command_of(child)


@pytest.mark.slow
def test_a_port_in_use_ends_all_processes_with_one_message(tmp_path, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("MASTER_PORT", str(listener.getsockname()[1]))
        process = start(tmp_path)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == ResourceError.exit_code
    assert errors.count("error: ") == 1
    assert (
        "(MASTER_PORT), to which the processes of the training should connect, is in use" in errors
    )


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "wait"), [("ddp", ""), ("fsdp", "wait")])
def test_processes_end_while_threads_free_gradients(tmp_path, strategy, wait):
    script = tmp_path / "script.py"
    script.write_text(ENDS_EARLY)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(3):  # it is a race, which one of two runs lost with ddp, one of eight with fsdp
        command = [sys.executable, script, strategy, wait]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr[-3000:]
        assert "terminate called" not in ended.stderr
