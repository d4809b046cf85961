"""Claim: commands that are killed at any moment and repeated end as if never disturbed. n = 200.

Each trial starts a command (``run``, a sweep, ``distill`` into a new store, or ``export``) of a
small study of digits, of image files or of text, kills it with SIGKILL at a random moment, and
repeats or resumes it until it succeeds; one attempt in three is killed again. In every other trial
the run folder is on another disk than the temporary folder. In the end, the weights, predictions,
metrics, stores and bundles have to equal those of an undisturbed command bit for bit, as does the
summary except for durations. No temporary file may be left beside them, no attempt may print a
traceback, and a command that is repeated as advised has to succeed. What kills leave in the
system's temporary folder, which the system empties, is counted.

The commands run in forked processes that have imported PyTorch already, so that kills meet work.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is imported

DISKS = (Path("/dev/shm"), Path(tempfile.gettempdir()))
MOST_ATTEMPTS = 8
"""Maximum number of attempts of a trial, of which only the first ones are killed."""
MODULES = (
    "limbeck.cli.config.instantiate",
    "limbeck.deploy.export",
    "limbeck.report.page",
    "limbeck.training.loggers",
    "matplotlib.figure",
    "onnxruntime.quantization",
    "scipy.stats",
)
"""Modules that are imported before processes are forked."""
COMMON = ("logger=csv", "seeds=2", "store.folder=store")
RECIPES = {
    "digits": (
        "recipe=digits",
        "epochs=8",
        "teacher=mlp",
        "teacher.model.hidden=[64]",
        "teacher.epochs=8",
        "student.hidden=[16]",
    ),
    "images": (
        "recipe=plain",
        "data=image_folder",
        "data.root=pictures",
        "data.size=12",
        "data.channels=1",
        "epochs=6",
        "teacher=mlp",
        "teacher.model.hidden=[32]",
        "teacher.epochs=6",
        "student.hidden=[8]",
        "batch_size=32",
    ),
    "text": (
        "recipe=text",
        "data.path=text.txt",
        "data.block=16",
        "data.cache=cache",
        "teacher.model.width=16",
        "teacher.model.layers=1",
        "teacher.model.heads=1",
        "teacher.model.dropout=0",
        "teacher.epochs=2",
        "student.width=8",
        "student.layers=1",
        "student.heads=1",
        "epochs=2",
        "trainer.precision=32-true",
    ),
}
JOBS = tuple(
    (recipe, verb)
    for recipe in RECIPES
    for verb in ("run", "sweep", "store", "export")
    if (recipe, verb) != ("text", "export")  # bundles hold classifiers
)


@dataclass
class Trial:
    """Result of one trial.

    Attributes:
        recipe: Name of the study.
        verb: ``run``, ``sweep``, ``store`` or ``export``.
        other_disk: Whether the run folder was on another disk than the temporary folder.
        kills: Number of kills that met a running command.
        attempts: Number of commands.
        leftovers: Number of files and folders that are left in the system's temporary folder.
        faults: Descriptions of what went wrong.
    """

    recipe: str
    verb: str
    other_disk: bool
    kills: int = 0
    attempts: int = 0
    leftovers: int = 0
    faults: list[str] = field(default_factory=list)


# Commands -----------------------------------------------------------------------------------------


def words_of(recipe: str, verb: str) -> list[str]:
    """Return the command of a trial, which is started in the folder of the trial."""
    if verb == "export":
        return ["export", "run", "to=bundle", "int8=false", "overwrite=true"]
    words = [*RECIPES[recipe], *COMMON, "out=run"]
    if verb == "sweep":
        return ["run", "-m", *words, "objective.soft_weight=0.5,0.9"]
    if verb == "store":
        return ["distill", *words, "epochs=1", "teacher.from=teacher"]
    return ["run", *words]


def start(words: Sequence[str], folder: Path, log: Path, temporary: Path) -> int:
    """Start a command in a forked process; returns its id."""
    process = os.fork()
    if process:
        return process
    os._exit(call(words, folder, log, temporary))


def call(words: Sequence[str], folder: Path, log: Path, temporary: Path) -> int:
    """Call a command in this process, which does nothing else. Returns the exit code."""
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["LIMBECK_CACHE"] = str(folder / "cache")
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from limbeck.cli.main import main

        code = main(list(words))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def wait(process: int, seconds: float | None) -> int | None:
    """Wait for a process, and kill it after some seconds. Returns its exit code; None if killed."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, 0 if deadline is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGKILL else code
        time.sleep(0.005)


def import_modules() -> None:
    """Import what takes seconds, before processes are forked."""
    import torch

    torch.set_num_threads(1)
    for module in MODULES:
        importlib.import_module(module)


# Files --------------------------------------------------------------------------------------------


def write_inputs(folder: Path) -> None:
    """Write the image files and the text of the studies."""
    generator = np.random.default_rng(0)
    for label in range(3):
        pictures = folder / "pictures" / f"class{label}"
        pictures.mkdir(parents=True)
        for number in range(80):
            pixels = generator.integers(0, 120, (16, 16)).astype(np.uint8)
            pixels[4 * label : 4 * label + 6, 3:12] += 100
            Image.fromarray(pixels).save(pictures / f"{number}.png")
    letters = generator.choice(list("abcdefgh "), 12_000, p=[0.3, 0.2, 0.1, 0.1, *[0.06] * 5])
    (folder / "text.txt").write_text("".join(letters))


def without_durations(content: Any) -> Any:
    """Return parsed JSON without the durations in it."""
    if isinstance(content, dict):
        pairs = content.items()
        return {key: without_durations(value) for key, value in pairs if key != "seconds"}
    if isinstance(content, list):
        return [without_durations(value) for value in content]
    return content


def results(folder: Path) -> dict[str, str]:
    """Return digests of all results of a trial, by path."""
    digests = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or not name.startswith(("run/", "store/", "bundle")):
            continue
        if name.startswith("run/logs/"):  # epochs may be logged twice; metrics.csv has them once
            continue
        content = file.read_bytes()
        if file.name == "summary.json":
            content = json.dumps(without_durations(json.loads(content))).encode()
        elif file.name == "metrics.csv":
            content = b"\n".join(sorted(content.splitlines()))
        elif file.suffix not in (".safetensors", ".npz", ".bin", ".onnx", ".zip"):
            continue
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files in a folder; the lock of a killed process does no harm."""
    paths = [path for path in folder.rglob("*") if path.name.startswith((".", "limbeck-"))]
    return [str(path) for path in paths if path.name != ".lock"]


def prepare(recipe: str, verb: str, inputs: Path, folder: Path) -> None:
    """Create the folder of a trial with what its command needs."""
    folder.mkdir(parents=True)
    for name in ("pictures", "text.txt"):
        (folder / name).symlink_to(inputs / name)
    finished = inputs / recipe / "run"
    if verb == "store":
        (folder / "teacher").symlink_to(finished / "run")
    elif verb == "export":
        shutil.copytree(finished / "run", folder / "run")


# Trials -------------------------------------------------------------------------------------------


def measure(recipe: str, verb: str, inputs: Path) -> float:
    """Run a command undisturbed, in a folder of the inputs. Returns its seconds."""
    folder = inputs / recipe / verb
    prepare(recipe, verb, inputs, folder)
    log = folder / "log.txt"
    began = time.monotonic()
    code = wait(start(words_of(recipe, verb), folder, log, inputs), None)
    if code:
        raise SystemExit(f"{recipe} {verb} ends with {code} undisturbed:\n{log.read_text()}")
    return time.monotonic() - began


def attempt(trial: Trial, number: int, inputs: Path, seconds: float, seed: int) -> Trial:
    """Run a trial: kill the command, repeat it until it succeeds, compare the results."""
    draw = random.Random(f"{seed} {number}")
    disks = DISKS if trial.other_disk else (DISKS[number // 2 % 2],) * 2
    with contextlib.ExitStack() as stack:
        place, temporary = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kill-", dir=disk)))
            for disk in disks
        )
        folder, log = place / "trial", place / "log.txt"
        prepare(trial.recipe, trial.verb, inputs, folder)
        words = words_of(trial.recipe, trial.verb)
        for count in range(MOST_ATTEMPTS):
            is_killed = count == 0 or (count < MOST_ATTEMPTS - 2 and draw.random() < 1 / 3)
            moment = draw.uniform(0, seconds) if is_killed else None
            code = wait(start(words, folder, log, temporary), moment)
            trial.attempts += 1
            trial.kills += code is None
            if code == 0 or (code == 2 and "already finished" in log.read_text()):
                break
            if code is not None and "no run to resume" not in log.read_text():
                break
            words = words_of(trial.recipe, trial.verb)
            if trial.verb != "export" and (folder / "run" / "manifest.json").is_file():
                words = ["resume", "run"]
        trial.leftovers = len(list(temporary.iterdir())) - (temporary == place)
        trial.faults += faults(folder, inputs / trial.recipe / trial.verb, log)
    return trial


def faults(folder: Path, expected: Path, log: Path) -> list[str]:
    """Compare the results of a trial with those of the undisturbed command."""
    text = log.read_text()
    descriptions = []
    messages = [line for line in text.splitlines() if "is already finished" not in line]
    if any("Traceback" in line or line.startswith("error:") for line in messages):
        descriptions.append(text[-1500:])
    ours, theirs = results(folder), results(expected)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            state = "differs" if name in ours and name in theirs else "missing or surplus"
            descriptions.append(f"{name} {state}")
    return descriptions + [f"left over: {name}" for name in leftovers(folder)]


def _call(arguments: tuple[Any, ...]) -> Trial:
    return attempt(*arguments)


def trials(options: argparse.Namespace, inputs: Path) -> Iterator[Trial]:
    """Run trials until enough kills have met a running command."""
    seconds = {job: measure(*job, inputs) for job in JOBS}
    print("undisturbed:", {" ".join(job): round(value, 1) for job, value in seconds.items()})
    kills = number = 0
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        while kills < options.count:
            batch = []
            for _ in range(min(options.count - kills, 4 * options.processes)):
                recipe, verb = job = JOBS[number % len(JOBS)]
                trial = Trial(recipe, verb, other_disk=number // len(JOBS) % 2 == number % 2)
                batch.append((trial, number, inputs, seconds[job], options.seed))
                number += 1
            for trial in pool.imap_unordered(_call, batch):
                kills += trial.kills
                yield trial


def main() -> int:
    """Run the trials and print their counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="number of kills")
    parser.add_argument("--processes", type=int, default=2, help="number of trials at once")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args()
    import_modules()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-") as inputs:
        write_inputs(Path(inputs))
        counts: dict[tuple[str, str], Counter[str]] = {job: Counter() for job in JOBS}
        total = Counter[str]()
        for trial in trials(options, Path(inputs)):
            row = counts[trial.recipe, trial.verb]
            for counter in (row, total):
                counter["trials"] += 1
                counter["kills"] += trial.kills
                counter["attempts"] += trial.attempts
                counter["other disk"] += trial.kills if trial.other_disk else 0
                counter["left in TMPDIR"] += trial.leftovers
                counter["failed"] += bool(trial.faults)
            for fault in trial.faults:
                where = "another disk" if trial.other_disk else "one disk"
                print(f"{trial.recipe} {trial.verb}, {where}: {fault}", flush=True)
    columns = ("trials", "kills", "other disk", "attempts", "left in TMPDIR", "failed")
    print("".join(f"{name:>16}" for name in ("", *columns)))
    for job, row in (*counts.items(), (("all", ""), total)):
        print(
            "".join(f"{value:>16}" for value in (" ".join(job), *(row[name] for name in columns)))
        )
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
