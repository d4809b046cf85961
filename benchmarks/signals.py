"""Interrupt commands at random moments: how soon each ends, with which code, and how it continues.

    python benchmarks/signals.py --count 100

Each command gets one signal, SIGINT, SIGTERM or SIGHUP, at a random moment of its duration. It
should end within five seconds with 130, 143 or 129 and one message, and continue to its end
afterwards. The script exits with 1 if one does not.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LIMIT_SECONDS = 5.0
START_SECONDS = 0.1
"""Time in which Python itself starts, which no program can handle."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHEAP = (
    "student.hidden=[8]",
    "teacher=mlp",
    "teacher.model.hidden=[16]",
    "teacher.epochs=5",
    "out=run",
)
COMMANDS = {
    "run": ("run", *CHEAP, "seeds=2", "epochs=10"),
    "sweep": ("run", "-m", *CHEAP, "seeds=1", "epochs=8", "objective.temperature=1,4,8"),
    "store": ("run", *CHEAP, "seeds=1", "epochs=10", "views=shift", "store.views=4"),
    "export": ("export", "../source", "to=bundle"),
}


@dataclass(frozen=True)
class Outcome:
    """What a signal did to one command.

    Attributes:
        kind: Kind of the command.
        signal: Name of the signal.
        moment: Seconds after the start at which it was sent.
        seconds: Seconds until the process ended.
        code: Exit code.
        fault: Description of what is wrong; empty if all is well.
    """

    kind: str
    signal: str
    moment: float
    seconds: float
    code: int
    fault: str


def start(words: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    """Start a command in a folder, with a store of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "limbeck", *words],
        cwd=folder,
        env={**os.environ, "LIMBECK_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=accept_interrupts,
    )


def accept_interrupts() -> None:
    """Undo that background jobs of a shell, and those of ``nohup``, ignore signals."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def measure(
    kind: str, duration: float, number: signal.Signals, root: Path, *, continues: bool
) -> Outcome:
    """Interrupt one command at a random moment, and perhaps continue it."""
    folder = Path(tempfile.mkdtemp(dir=root))
    moment = random.uniform(START_SECONDS, duration)
    process = start(COMMANDS[kind], folder)
    time.sleep(moment)
    process.send_signal(number)
    begin = time.monotonic()
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
    seconds = time.monotonic() - begin
    code = process.returncode
    fault = find_fault(kind, number, seconds, code, err, folder)
    if not fault and continues:
        fault = continue_command(kind, folder)
    if not fault:
        shutil.rmtree(folder)
    return Outcome(kind, number.name, moment, seconds, code, fault)


def find_fault(
    kind: str, number: signal.Signals, seconds: float, code: int, err: str, folder: Path
) -> str:
    """Describe what is wrong after a signal; empty if all is well."""
    if seconds > LIMIT_SECONDS:
        return f"took {seconds:.1f} s"
    if code == 0 or (code == -number and is_finished(kind, folder)):
        return ""  # it had finished; Python no longer handles signals when it ends
    if code != 128 + number:
        return f"code {code}: {err[-300:]}"
    if "Traceback" in err or err.count("error: interrupted.") != 1:
        return f"message: {err[-300:]}"
    return ""


def continue_command(kind: str, folder: Path) -> str:
    """Continue a command; returns what is wrong."""
    if is_finished(kind, folder):
        return ""
    words = COMMANDS[kind]
    if kind != "export" and (folder / "run" / "manifest.json").is_file():
        words = ("resume", "run")
    process = start(words, folder)
    _, err = process.communicate(timeout=300)
    return f"not continued by {words[0]}: {err[-300:]}" if process.returncode else ""


def is_finished(kind: str, folder: Path) -> bool:
    """Whether a command has written all its results."""
    if kind == "export":
        return (folder / "bundle").is_dir()
    manifest = folder / "run" / "manifest.json"
    return manifest.is_file() and '"state": "finished"' in manifest.read_text(encoding="utf-8")


def main() -> int:
    """Interrupt commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="number of signals")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument(
        "--continue-every", type=int, default=1, help="continue only one in so many commands"
    )
    parser.add_argument("--kinds", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="limbeck-signals-") as temporary:
        root = Path(temporary)
        start((*COMMANDS["run"], "out=../source"), Path(tempfile.mkdtemp(dir=root))).communicate()
        durations = {}
        for kind in arguments.kinds:
            begin = time.monotonic()
            _, err = start(COMMANDS[kind], Path(tempfile.mkdtemp(dir=root))).communicate()
            durations[kind] = time.monotonic() - begin
            print(f"{kind}: {durations[kind]:.1f} s without a signal {err[-200:]!r}", flush=True)
        for step in range(arguments.count):
            kind = arguments.kinds[step % len(arguments.kinds)]
            number = random.choice(SIGNALS)
            continues = step // len(arguments.kinds) % arguments.continue_every == 0
            outcomes.append(measure(kind, durations[kind], number, root, continues=continues))
            print(outcomes[-1], flush=True)
    faults = [outcome for outcome in outcomes if outcome.fault]
    codes = Counter((outcome.signal, outcome.code) for outcome in outcomes)
    slowest = max(outcome.seconds for outcome in outcomes)
    print(f"{len(outcomes) - len(faults)} of {len(outcomes)} well, slowest {slowest:.2f} s")
    for (name, code), count in sorted(codes.items()):
        print(f"  {name} {code}: {count}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
