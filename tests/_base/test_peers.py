"""Processes that train together: which one is the first, and what is said when one is lost."""

import subprocess
import sys

import pytest

from limbeck._base import peers
from limbeck._base.errors import ResourceError


@pytest.fixture(autouse=True)
def state(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", peers.PARENT):
        monkeypatch.delenv(name, raising=False)
    state = peers._State()
    monkeypatch.setattr(peers, "_state", state)
    return state


@pytest.mark.parametrize(
    ("variables", "is_first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0", "RANK": "2"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1", "RANK": "0"}, True),
    ],
)
def test_one_process_of_a_training_is_the_first(monkeypatch, variables, is_first):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert peers.is_first() == is_first
    assert peers.reports_loss() == is_first
    peers.set_rank(3 if is_first else 0)  # as SLURM has it
    assert peers.is_first() != is_first


def test_the_second_process_speaks_for_a_first_one_that_is_gone(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(peers.PARENT, "0")
    assert peers.reports_loss()
    assert "The first process of this training has ended." in str(peers.lost_process())
    monkeypatch.setenv(peers.PARENT, str(peers.os.getppid()))
    assert not peers.reports_loss()


def ended(code):
    process = subprocess.Popen([sys.executable, "-c", f"import os; {code}"])
    process.wait()
    return process


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os._exit(3)", r"^Process 2 .* ended with exit code 3, see above\. .*limbeck resume RUN"),
        ("os.kill(os.getpid(), 9)", r"^Process 2 .* by signal 9 \(memory may have run out\)\."),
        ("os.kill(os.getpid(), 15)", r"^Process 2 of this training was ended by signal 15\."),
    ],
)
def test_the_message_names_the_process_that_is_lost(state, code, message):
    state.children = [ended("os._exit(0)"), ended(code)]
    error = peers.lost_process()
    assert isinstance(error, ResourceError)
    assert state.is_handled.is_set()
    with pytest.raises(peers.LostProcessError, match=message):
        raise error


def test_a_process_of_another_machine_has_its_own_message():
    assert "see its own message" in str(peers.lost_process())


def test_processes_end_with_the_one_that_has_started_them(state):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    state.children = [sleeper]
    peers.end_children()
    assert sleeper.returncode == -9
    assert not state.children
