"""Signals: the flag, the exit codes and the watchdog, in processes of their own."""

import signal
import subprocess
import sys
import time

import pytest
from support.commands import SOURCE, interruptible, killed_at_the_end

from limbeck._base import signals
from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.training.epochs import read_epoch

WORK = {
    "loop": "ready()\n    while True:\n        signals.check_interrupt(); time.sleep(0.01)",
    "anywhere": "ready(); time.sleep(60)",
    "swallowed": """try:
        ready(); time.sleep(60)
    except BaseException:
        pass
    while True:
        signals.check_interrupt(); time.sleep(0.01)""",
    "deaf": "with signals.defer_interrupts(): ready(); time.sleep(60)",
    "other error": """try:
        ready(); time.sleep(60)
    except BaseException:
        raise RuntimeError("a library")""",
}
PROGRAM = """
import time
import limbeck.cli.main
from limbeck._base import signals
from limbeck.__main__ import main
from limbeck.cli import recipes

signals.GRACE_SECONDS = {grace}
def ready():
    print("ready", flush=True)
def work(arguments):
    signals.set_advice(lambda: "Continue.")
    {work}
recipes.run = work
raise SystemExit(main())
"""


def start(work, grace=30.0):
    program = PROGRAM.format(work=WORK[work], grace=grace)
    process = subprocess.Popen(
        [sys.executable, "-c", program, "recipes"],
        env={"PYTHONPATH": SOURCE},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("work", "number"),
    [
        ("loop", signal.SIGINT),
        ("anywhere", signal.SIGTERM),
        ("swallowed", signal.SIGTERM),
        ("other error", signal.SIGHUP),
    ],
)
def test_a_signal_ends_a_command_with_its_code_and_a_message(work, number):
    with killed_at_the_end(start(work)) as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert err == "error: interrupted. Continue.\n"


@pytest.mark.parametrize(("grace", "count"), [(0.2, 1), (30.0, 2)])
def test_the_watchdog_ends_a_process_that_does_not_listen(grace, count):
    with killed_at_the_end(start("deaf", grace)) as process:
        process.send_signal(signal.SIGTERM)
        if count == 2:
            time.sleep(0.1)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 143
    assert err == "\nerror: interrupted. Continue.\n"


def test_long_loops_read_the_flag(monkeypatch):
    steps = read_epoch(range(9), 9)
    assert next(steps).number == 1
    with StageProgress(enabled=False).stage("work", 2) as advance:
        advance(1)
        monkeypatch.setattr(signals._state, "first", signal.SIGTERM)
        with pytest.raises(signals.Interrupted):
            advance(2)
    with pytest.raises(signals.Interrupted):
        next(steps)
    assert signals.exit_code() == 143


def test_the_error_of_another_thread_ends_a_loop():
    signals.set_failure(ConfigError("taken over"))
    try:
        with pytest.raises(ConfigError, match="taken over"):
            signals.check_interrupt()
    finally:
        signals.set_failure(None)
    signals.check_interrupt()
