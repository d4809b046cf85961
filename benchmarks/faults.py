"""Claim: whatever fails on the disk, nothing is lost, and one message says so. n = 840.

Each trial runs a command (``run``, ``distill``, ``export``, ``cost`` or ``predict``) of a small
study in a forked process in which one file operation fails: the disk is full from there on
(ENOSPC), fails once (EIO) or denies access (EACCES), or the process is killed with SIGKILL before,
during (after half of the bytes) or after the operation. Then

* the exit code is a documented one, and no traceback is printed;
* no file under its final name is incomplete;
* the command is repeated, or resumed, without a fault. It succeeds, its results equal those of an
  undisturbed command bit for bit, and no temporary file is left.

The table counts trials, and those that failed, by place and fault. By default, each place is tried
in the first command that writes to it, and there the first, a middle and the last operation of each
kind fail. ``--all-commands`` tries a place in every command, ``--every`` takes all operations.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kill_and_resume as trials
import numpy as np
import yaml
from kill_and_resume import leftovers, prepare, results, wait, write_inputs
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.faults import ERRORS, KILLS, Disk, Operation

MOST_SECONDS = 40
HANGS = 99
"""Exit code of a command that does not end."""
FAULTS = (*ERRORS, *KILLS)
DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, 8, -signal.SIGKILL}
JOBS = (
    ("digits", "run"),
    ("images", "run"),
    ("text", "run"),
    ("digits", "store"),
    ("digits", "export"),
    ("digits", "cost"),
    ("digits", "predict"),
)
PLACES = (
    (r"run/config\.yaml", "config"),
    (r"run/manifest\.json", "manifest"),
    (r"run/logs.*", "log"),
    (r"run/checkpoints.*", "checkpoint"),
    (r"run/teacher.*", "teacher"),
    (r"run/students.*", "student"),
    (r"run/metrics\.csv", "metrics"),
    (r"run/(predictions|examples)\.npz", "predictions"),
    (r"run/summary\.json", "summary"),
    (r"run/report\.html", "report"),
    (r"run/cost\.json", "cost"),
    (r"(run)?(/\.lock)?", "folder"),
    (r"store.*", "store"),
    (r"cache/[^/]*\.tokens", "token cache"),
    (r"cache.*", "image cache"),
    (r"(bundle/)?bundle\.zip", "zip file"),
    (r"\.?bundle.*", "bundle"),
    (r"answers\.csv", "predict --out"),
)
FINAL_FOLDER = re.compile(r"^\.(bundle)\.\d+-[0-9a-f]{8}\.tmp(?=/)")
TEMPORARY = re.compile(r"(.*/)?\.(.+?)\.(\d+-[0-9a-f]{8}\.tmp|new|\d+)(/.*)?")


def place_of(operation: Operation, folder: Path) -> str:
    """Return the place in the table of an operation."""
    name = os.path.relpath(operation.path, folder.resolve())
    if name == ".":
        return "folder"
    name = FINAL_FOLDER.sub(r"\1", name)
    match = TEMPORARY.fullmatch(name)
    if match is not None:
        name = f"{match[1] or ''}{match[2]}"
    return next((place for pattern, place in PLACES if re.fullmatch(pattern, name)), "other")


def words_of(recipe: str, verb: str) -> list[str]:
    """Return the command of a trial."""
    if verb == "cost":
        return ["cost", "run"]
    if verb == "predict":
        return ["predict", "bundle", "picture.png", "--out", "answers.csv"]
    return trials.words_of(recipe, verb)


def make_folder(recipe: str, verb: str, inputs: Path, folder: Path) -> None:
    """Create the folder of a trial with what its command needs."""
    prepare(recipe, {"cost": "export", "predict": "export"}.get(verb, verb), inputs, folder)
    if verb == "predict":
        (folder / "bundle").symlink_to(inputs / recipe / "export" / "bundle")
        (folder / "picture.png").symlink_to(inputs / "pictures" / "class0" / "0.png")


def skip_measurements() -> None:
    """Let ``limbeck cost`` write a cost without measuring it, which takes half a minute."""
    from limbeck.deploy import run_cost
    from limbeck.run.cost import CostRow, Latency, Timing

    timing = Timing(latency_ms=Latency(median=1.0, quartiles=(1.0, 1.0), runs=1), per_second=1.0)
    row = CostRow(
        model="soft",
        kind="mlp",
        params=1,
        runtime="onnx",
        precision="fp32",
        bytes=1,
        macs=1,
        memory=None,
        errors=0,
        threads={"1": timing},
    )
    run_cost.measure = lambda *arguments: (row,)


def run_with_fault(
    words: Sequence[str], folder: Path, log: Path, temporary: Path, disk: Disk
) -> int:
    """Run a command in a forked process with a fault; returns its exit code."""
    process = os.fork()
    if process:
        code = wait(process, MOST_SECONDS)
        return HANGS if code is None and disk.fault not in KILLS else code or 0
    skip_measurements()
    with disk:
        code = trials.call(words, folder, log, temporary)
    os._exit(code)


def record(
    words: Sequence[str], folder: Path, log: Path, temporary: Path
) -> tuple[int, list[Operation]]:
    """Run a command without a fault; returns its exit code and its file operations."""
    file = folder.with_name(f"{folder.name}.operations")
    process = os.fork()
    if process:
        code = wait(process, None) or 0
        return code, pickle.loads(file.read_bytes())
    skip_measurements()
    with Disk(folder) as disk:
        code = trials.call(words, folder, log, temporary)
    file.write_bytes(pickle.dumps(disk.operations))
    os._exit(code)


def incomplete_files(folder: Path) -> Iterator[str]:
    """Yield the files that cannot be read, without temporary ones."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or TEMPORARY.fullmatch(name) or name.startswith("run/logs/"):
            continue
        try:
            _read(file)
        except Exception as error:  # each library raises errors of its own
            yield f"{name} is incomplete: {type(error).__name__}: {error}"


def _read(file: Path) -> None:
    if file.suffix == ".json":
        json.loads(file.read_text())
    elif file.suffix == ".yaml":
        yaml.safe_load(file.read_text())
    elif file.suffix == ".npz":
        with np.load(file) as arrays:
            list(arrays.values())
    elif file.suffix == ".safetensors":
        load_file(file)
    elif file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
    elif file.suffix in (".csv", ".html") and not file.read_text().endswith(("\n", "</html>")):
        raise ValueError("it has no end")


def make_older(folder: Path) -> None:
    """Make temporary files older: a person repeats a command later than this script.

    A temporary file of the last two seconds may belong to another machine, so it stays.
    """
    for file in folder.rglob(".*.tmp"):
        moment = time.time() - 60
        os.utime(file, (moment, moment), follow_symlinks=False)


def attempt(job: tuple[str, str], inputs: Path, expected: Path, fault: str, at: int) -> list[str]:
    """Run a trial. Returns descriptions of what went wrong."""
    recipe, verb = job
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder, log, temporary = Path(place, "trial"), Path(place, "log"), Path(place, "temporary")
        temporary.mkdir()
        make_folder(recipe, verb, inputs, folder)
        words = words_of(recipe, verb)

        def kill() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        disk = Disk(folder, fault=fault, at=at, kill=kill)
        code = run_with_fault(words, folder, log, temporary, disk)
        first = log.read_text() if log.exists() else ""
        if code not in DOCUMENTED:
            problems.append(f"exit code {code}")
        if "Traceback" in first or (code > 0 and "error:" not in first):
            problems.append(f"no message: {first[-1500:]}")
        problems += incomplete_files(folder)
        make_older(folder)
        log.write_text("")
        manifest = folder / "run" / "manifest.json"
        if verb in ("run", "store") and manifest.is_file():
            words = ["resume", "run"]
        if code != 0 or verb not in ("predict",):
            code = run_with_fault(words, folder, log, temporary, Disk(folder))
            if "start it again" in log.read_text():
                words = words_of(recipe, verb)
                code = run_with_fault(words, folder, log, temporary, Disk(folder))
        again = log.read_text()
        if code and "already finished" not in again:
            problems.append(f"the repeated command ends with {code}: {again[-1500:]}")
        ours, theirs = results(folder), results(expected)
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                problems.append(f"{name} differs, is missing or surplus")
        if verb in ("run", "store") and not (folder / "run" / "report.html").is_file():
            problems.append("report.html is missing")
        problems += [f"left over: {name}" for name in leftovers(folder)]
    return problems


def points(operations: Sequence[Operation], folder: Path, *, every: bool) -> Iterator[int]:
    """Yield the numbers of the operations that fail."""
    groups = defaultdict(list)
    for number, operation in enumerate(operations):
        groups[place_of(operation, folder), operation.kind].append(number)
    for numbers in groups.values():
        selection = numbers if every else {numbers[0], numbers[len(numbers) // 2], numbers[-1]}
        yield from sorted(selection)


def _call(arguments: tuple[Any, ...]) -> list[str]:
    return attempt(*arguments[1])


def main() -> int:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", action="store_true", help="let every operation fail")
    parser.add_argument(
        "--all-commands", action="store_true", help="try each place in every command"
    )
    parser.add_argument("--jobs", nargs="*", help="commands, such as digits-run; all by default")
    parser.add_argument("--processes", type=int, default=2, help="number of trials at once")
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials to run")
    options = parser.parse_args()
    trials.import_modules()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failed: Counter[str] = Counter()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        inputs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        write_inputs(inputs)
        work: list[tuple[tuple[str, str, Operation], tuple[Any, ...]]] = []
        commands: dict[str, tuple[str, str]] = {}
        for recipe, verb in JOBS:
            expected = inputs / recipe / verb
            make_folder(recipe, verb, inputs, expected)
            log = inputs / "log.txt"
            code, operations = record(words_of(recipe, verb), expected, log, inputs)
            if code:
                raise SystemExit(f"{recipe} {verb} ends with {code}:\n{log.read_text()}")
            if options.jobs and f"{recipe}-{verb}" not in options.jobs:
                continue
            for at in points(operations, expected, every=options.every):
                place = place_of(operations[at], expected)
                command = commands.setdefault(place, (recipe, verb))
                if command != (recipe, verb) and not options.all_commands:
                    continue
                for fault in FAULTS:
                    if operations[at].takes(fault):
                        key = (place, fault, operations[at])
                        work.append((key, ((recipe, verb), inputs, expected, fault, at)))
        step = round(1 / options.share)
        work = work[::step]
        with multiprocessing.get_context("fork").Pool(options.processes) as pool:
            for (key, arguments), problems in zip(work, pool.imap(_call, work), strict=True):
                place, fault, operation = key
                counts[place][fault] += 1
                if problems:
                    failed[place, fault] += 1  # type: ignore[index]
                    job = "-".join(arguments[0])
                    print(
                        f"--- {job}: {fault} at {arguments[-1]}, {operation.kind} {operation.path}"
                    )
                    print("\n".join(problems), flush=True)
    print("".join(f"{name:>14}" for name in ("", *FAULTS)))
    for place, row in counts.items():
        cells = [place]
        for fault in FAULTS:
            bad = failed[place, fault]  # type: ignore[index]
            cells.append(f"{row[fault]}" + (f" ({bad} bad)" if bad else ""))
        print("".join(f"{cell:>14}" for cell in cells))
    total = sum(map(Counter.total, counts.values()))
    print(f"{total} trials, {failed.total()} bad, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
