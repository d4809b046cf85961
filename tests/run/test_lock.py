"""The lock of a run folder: who holds it, and when it is stale."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time

import pytest
from support.commands import SOURCE

from limbeck._base.errors import ConfigError
from limbeck.run import lock
from limbeck.run.lock import LOCK, Holder, hold_lock

NODE = {"host": "node7", "pid": 4242, "since": "2026-11-29T06:40:12+00:00", "system": "x/y"}
HOLD = """
import sys, time
from pathlib import Path
from limbeck.run.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def take(folder, **options):
    with hold_lock(folder, **options):
        return json.loads((folder / LOCK).read_text() or "{}")


def write(folder, **changes):
    (folder / LOCK).write_text(json.dumps({**vars(Holder.current()), **changes}))


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(params=[True, False], ids=["locks", "no locks"])
def has_locks(request, monkeypatch):
    """Run a test on a file system with locks, and on one without."""
    if not request.param:

        def refuse(*arguments):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", refuse)
    return request.param


def test_the_lock_names_its_process_and_is_removed(tmp_path, has_locks):
    holder = take(tmp_path)
    assert holder == {**vars(Holder.current()), "since": holder["since"]}
    assert holder["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    assert not lock._descriptors


def test_the_message_names_host_process_and_time(tmp_path, has_locks):
    with hold_lock(tmp_path):
        for shared in (False, True):
            with pytest.raises(ConfigError, match=rf"process {os.getpid()} on \S+, since 20") as e:
                take(tmp_path, shared=shared)
        assert str(e.value).startswith(f"{tmp_path} is in use by another process (process ")
        assert (tmp_path / LOCK).is_file()
    take(tmp_path)


def test_a_lock_of_an_ended_process_is_stale(tmp_path, has_locks):
    write(tmp_path, pid=ended_process())
    assert take(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_from_before_a_restart_is_stale(tmp_path, has_locks):
    write(tmp_path, system="another-boot/pid:[1]")
    take(tmp_path)


def test_a_lock_of_another_machine_is_removed_by_hand(tmp_path, has_locks):
    """Whether its process still runs cannot be seen from here."""
    write(tmp_path, **NODE)
    expected = (
        f"{tmp_path} is in use by another process (process 4242 on node7, since 2026-11-29 06:40 "
        f"UTC). Wait until it has finished, or stop it. If it no longer runs, delete "
        f"{tmp_path / LOCK} and try again."
    )
    for shared in (False, True):
        with pytest.raises(ConfigError, match=re.escape(expected)):
            take(tmp_path, shared=shared)
    (tmp_path / LOCK).unlink()
    take(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 4000,
        *(
            json.dumps({**NODE, key: value}).encode()
            for key, value in [
                ("pid", "1"),
                ("pid", 0),
                ("host", "\x1b[2J"),
                ("since", 3),
                ("x", 1),
            ]
        ),
    ],
)
def test_a_damaged_lock_names_no_process(tmp_path, content, monkeypatch):
    (tmp_path / LOCK).write_bytes(content)
    take(tmp_path)
    (tmp_path / LOCK).write_bytes(content)
    monkeypatch.setattr(lock, "NAMING_SECONDS", 0.0)
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.raises(ConfigError, match=r"in use by another process\. .*delete .*\.lock and"):
        take(tmp_path)


@pytest.mark.parametrize("make", ["link", "folder"])
def test_what_is_no_lock_file_is_not_followed(tmp_path, make):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    if make == "link":
        (folder / LOCK).symlink_to(victim)
    else:
        (folder / LOCK).mkdir()
    with pytest.raises(ConfigError, match=r"\.lock cannot be opened .*Delete it"):
        take(folder)
    assert victim.read_text() == "precious"


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"process {process.pid} on"):
        take(tmp_path)
    process.kill()
    process.wait()
    assert take(tmp_path)["pid"] == os.getpid()


def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    with hold_lock(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
        descriptor = os.open(tmp_path / LOCK, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    take(tmp_path)
    os.kill(child, 9)
    os.waitpid(child, 0)


COUNT = """
import os, sys, time
from pathlib import Path
from limbeck._base.errors import ConfigError
from limbeck.run import lock
if sys.argv[1] == "no locks":
    lock.fcntl = None
taken = 0
while taken < 60:
    try:
        with lock.hold_lock(Path("run")):
            descriptor = os.open("inside", os.O_CREAT | os.O_EXCL)  # fails if another is inside
            os.close(descriptor)
            os.unlink("inside")
        taken += 1
    except ConfigError:
        time.sleep(0.001)  # the other processes need the processor to get on
print("alone")
"""


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_lock_that_is_released_while_it_is_opened_is_taken(tmp_path, monkeypatch, has_locks):
    """Without locks of the system, it used to leave a file that named nobody and blocked runs."""
    if not has_locks:
        monkeypatch.setattr("limbeck.run.lock.fcntl", None)
    really_open = os.open
    files = []

    def open_late(path, flags, *mode):
        files.append(path)
        if len(files) == 1:
            raise FileExistsError(errno.EEXIST, "File exists")
        return really_open(path, flags, *mode)

    monkeypatch.setattr("os.open", open_late)
    start = time.monotonic()
    with hold_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert time.monotonic() - start < 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["locks", "no locks"])
def test_two_processes_never_hold_the_lock_at_once(tmp_path, kind):
    """The lock file used to be removed before the lock was released."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", COUNT, kind]
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    processes = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=300)[0] for process in processes] == ["alone\n"] * 3
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_that_nobody_can_change_is_read_without_a_lock(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.open", refuse)
    with hold_lock(tmp_path, shared=True):
        pass
    with pytest.raises(ConfigError, match="Read-only file system"), hold_lock(tmp_path):
        pass


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_reader_may_call_other_readers(tmp_path, monkeypatch, has_locks):
    if not has_locks:
        monkeypatch.setattr("limbeck.run.lock.fcntl", None)
    with hold_lock(tmp_path, shared=True):
        with hold_lock(tmp_path, shared=True):
            pass
        assert (tmp_path / LOCK).exists()
        with pytest.raises(ConfigError, match="in use"), hold_lock(tmp_path):
            pass
    assert not (tmp_path / LOCK).exists()
