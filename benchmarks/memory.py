"""Claim: a whole MNIST study takes less than 3 GB of memory at its peak. n = 1 for each number of
epochs.

``limbeck run recipe=mnist`` in a process of its own: its convnet teacher, the store, four arms of
three seeds, test and report. The peak does not hang on the number of epochs, so two small ones are
run: 1, at which the teacher is asked live, and 9, the least at which its answers to all 25 views
are stored. The peak is that of the whole process tree: the largest sum of resident memory seen in
looks 0.25 s apart, or the largest process's own peak if that is more. No clock.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from common import VERDICTS, arguments, fresh_folder

from limbeck.run.manifest import hardware, installed_versions, now

MOST = 3e9
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(root: int) -> int:
    """Bytes that a process and its descendants hold now."""
    parents, pages = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            pages[int(folder.name)] = int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # it has ended
    family = {root}
    while found := {p for p, parent in parents.items() if parent in family} - family:
        family |= found
    return PAGE * sum(pages.get(p, 0) for p in family)


def peak(overrides: list[str]) -> int:
    """Bytes at the peak of one run of the command line."""
    with fresh_folder() as folder:
        command = [sys.executable, "-m", "limbeck", "run", *overrides, f"out={folder / 'run'}"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        seen, done = [0], threading.Event()

        def look() -> None:
            while not done.is_set():
                seen.append(resident(process.pid))
                time.sleep(0.25)

        watcher = threading.Thread(target=look)
        watcher.start()
        said = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        done.set()
        watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return max(*seen, usage.ru_maxrss * 1024)


def runs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Settings of each run by name."""
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
        content = {
            "benchmark": "memory",
            "claim": options.claim,
            "date": now(),
            "bytes": peaks,
            "goals": goals,
            "short": options.short,
            "hardware": asdict(hardware()),
            "versions": installed_versions(),
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
