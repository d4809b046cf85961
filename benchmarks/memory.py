"""Claim: a whole MNIST study needs less than 3 GB of memory at its peak. n = 1 for each number of
epochs.

``limbeck run recipe=mnist`` runs in a separate process: its convnet teacher, the store, four arms
with three seeds, test and report. The peak does not depend on the number of epochs, so two small
numbers are measured: 1, with a live teacher, and 9, the smallest number with which the answers for
all 25 views are stored. The peak is that of the whole process tree: the largest sum of resident
memory in samples 0.25 s apart, or the peak of the main process if that is more. No time is
measured.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from common import VERDICTS, arguments, fresh_folder, write_json

MOST = 3e9
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(root: int) -> int:
    """Return the bytes of resident memory of a process and its descendants."""
    parents, pages = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        process = int(folder.name)
        try:
            parents[process] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages[process] = int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # the process has ended
    family = {root}
    while children := {p for p, parent in parents.items() if parent in family} - family:
        family |= children
    return PAGE * sum(pages.get(process, 0) for process in family)


def high_water(process: int) -> int:
    """Return the largest number of bytes that a process had in memory so far."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    return 0


def watch(command: list[str]) -> tuple[int, float]:
    """Run a command, and return its peak memory in bytes and its duration in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    samples, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.is_set():
            samples.extend([resident(process.pid), high_water(process.pid)])
            time.sleep(0.25)

    watcher = threading.Thread(target=sample)
    watcher.start()
    output = process.stderr.read() if process.stderr else ""
    status = process.wait()
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return max(samples), time.perf_counter() - start


def peak(overrides: list[str]) -> int:
    """Return the peak memory in bytes of one run of the command line."""
    with fresh_folder() as folder:
        command = [sys.executable, "-m", "limbeck", "run", *overrides, f"out={folder / 'run'}"]
        return watch(command)[0]


def runs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the overrides of each run by name."""
    if options.short:
        return {"digits, quick": ["quick=true"]}
    mnist = [
        "recipe=mnist",
        f"data.root={options.data}",
        "teacher.epochs=1",
        "trainer.accelerator=cpu",
    ]
    return {f"mnist, {epochs} epochs": [*mnist, f"epochs={epochs}"] for epochs in (1, 9)}


def main() -> None:
    options = arguments(__doc__)
    options.claim = options.claim.partition(" n = ")[0]
    print(options.claim)
    peaks = {}
    for name, overrides in runs(options).items():
        peaks[name] = peak(overrides)
        met = VERDICTS[None if options.short else peaks[name] < MOST]
        print(
            f"  {name:<60} {peaks[name] / 1e9:10.2f} GB   at most {MOST / 1e9:g} GB: {met}",
            flush=True,
        )
    if options.json:
        goals = [
            {
                "over": f"{name}, GB",
                "under": "",
                "goal": f"at most {MOST / 1e9:g}",
                "ratios": [value / 1e9],
                "median": value / 1e9,
                "met": None if options.short else value < MOST,
            }
            for name, value in peaks.items()
        ]
        write_json(options, bytes=peaks, goals=goals)


if __name__ == "__main__":
    main()
