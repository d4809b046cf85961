"""Claim: 200,000 answers of a teacher are read and matched with their samples in under 2 s and with
500 MB. n = 3 for each form of a file.

The answers are logits of ten classes for samples with file names. Each form is read in a process
of its own, which imports everything first. Its time is CPU time, its memory the peak of resident
memory above that before the file is opened (Linux).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import VERDICTS, arguments, write_json

from limbeck import Answers
from limbeck.data import Dataset
from limbeck.data.resampling import ResampledSplits
from limbeck.teacher.answer_files.columns import Requirements
from limbeck.teacher.answer_files.write import Block, open_writer
from limbeck.teacher.file_teacher import DatasetAnswers

FORMS = ("csv", "parquet", "folder", "npz", "jsonl")
CLASSES, SECONDS, MEGABYTES = 10, 2.0, 500.0


def names(count: int) -> list[str]:
    return [f"train/class{number % CLASSES}/{number:07}.png" for number in range(count)]


def write(file: Path, count: int) -> None:
    ids = np.array(names(count), dtype=object)
    logits = np.random.default_rng(0).standard_normal((count, CLASSES)).astype(np.float32)
    with open_writer(file, [f"c{number}" for number in range(CLASSES)]) as writer:
        for first in range(0, count, 2048):
            rows = slice(first, first + 2048)
            writer.add(Block(ids[rows], "train", logits[rows]))


def dataset(count: int) -> Dataset:
    x = np.arange(count + 5, dtype=np.float32)[:, None]
    y = np.arange(count + 5) % CLASSES
    labels = [f"c{number}" for number in range(CLASSES)]
    train, test = slice(0, count), slice(count, None)
    arrays = x[train], y[train], x[test], y[test]
    return Dataset.from_arrays(*arrays, ids=names(count), val=count // 10, class_names=labels)


def resident() -> float:
    """Return the resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def read(file: Path, count: int) -> tuple[float, float]:
    """Return CPU seconds and MB for one file, in this process."""
    data = dataset(count)
    if "parquet" in file.name or not file.suffix:
        import pyarrow.parquet  # noqa: F401
    peak, ended = [resident()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            peak.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    answers, _ = Answers(file).read(Requirements(data.class_names))
    splits = ResampledSplits(data, seeds=[0])
    DatasetAnswers(answers, splits).check(torch.arange(len(data.train)))
    seconds = time.process_time() - start
    ended.set()
    watcher.join()
    return seconds, max(peak) - peak[0]


def measure(file: Path, count: int) -> tuple[float, float]:
    """Call :func:`read` in a new process."""
    command = [sys.executable, __file__, "--read", str(file), "--count", str(count)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, megabytes = json.loads(result.stdout)
    return seconds, megabytes


def goals_of(form: str, values: list[tuple[float, float]], *, short: bool) -> list[dict]:
    goals = []
    for unit, goal, column in (("s", SECONDS, 0), ("MB", MEGABYTES, 1)):
        ratios = [value[column] for value in values]
        middle = median(ratios)
        met = None if short else middle < goal
        verdict = f"under {goal:g} {unit}: {VERDICTS[met]}"
        print(f"  {form:<10} {middle:8.2f} {unit:<3} {verdict}", flush=True)
        name = f"{form}, {unit}"
        entry = {"over": name, "under": "", "goal": f"under {goal:g}", "ratios": ratios}
        goals.append({**entry, "median": middle, "met": met})
    return goals


def main() -> None:
    options = arguments(__doc__, repeats=3)
    options.claim = options.claim.partition(" n = ")[0]
    print(options.claim)
    count, forms, repeats = 200_000, FORMS, options.repeats
    if options.short:
        count, forms, repeats = 2000, FORMS[:2], 1
    goals = []
    with tempfile.TemporaryDirectory() as folder:
        for form in forms:
            file = Path(folder) / ("parts" if form == "folder" else f"answers.{form}")
            write(file, count)
            values = [measure(file, count) for _ in range(repeats)]
            goals += goals_of(form, values, short=options.short)
    write_json(options, goals=goals)


if __name__ == "__main__":
    if "--read" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--read", type=Path)
        parser.add_argument("--count", type=int)
        own = parser.parse_args()
        print(json.dumps(read(own.read, own.count)))
    else:
        main()
