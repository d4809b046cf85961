"""Print the JSON files of a folder as one Markdown table: python benchmarks/table.py FOLDER."""

import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OUTCOMES = {True: "met", False: "**missed**", None: "not judged"}


def main() -> None:
    files = sorted(Path(sys.argv[1]).glob("*.json"))
    benchmarks = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    print("| benchmark | compared | seconds | ratio (from, to), n | goal | |")
    print("| --- | --- | --- | --- | --- | --- |")
    for benchmark in benchmarks:
        for goal in benchmark["goals"]:
            print(_row(benchmark, goal))
    for benchmark in benchmarks:
        print("\n" + _note(benchmark))


def _row(benchmark: Mapping[str, Any], goal: Mapping[str, Any]) -> str:
    names = [name for name in (goal["over"], goal["under"]) if name]
    seconds = benchmark.get("seconds", {})
    times = [f"{statistics.median(seconds[name]):.3g}" for name in names if name in seconds]
    ratios = goal["ratios"]
    spread = f"{goal['median']:.3g} ({min(ratios):.3g}, {max(ratios):.3g}), {len(ratios)}"
    cells = [
        f"`{benchmark['benchmark']}`",
        " / ".join(names),
        " / ".join(times),
        spread,
        goal["goal"],
        OUTCOMES[goal["met"]],
    ]
    return f"| {' | '.join(cells)} |"


def _note(benchmark: Mapping[str, Any]) -> str:
    facts = {**benchmark.get("facts", {}), **benchmark.get("extrapolated", {})}
    notes = "; ".join(f"{name.replace('_', ' ')}: {fact}" for name, fact in facts.items())
    machine = f"{benchmark['hardware']['cpu']}, {benchmark['date']}"
    if benchmark["short"]:
        machine += ", short version"
    return f"`{benchmark['benchmark']}`: {benchmark['claim']} {machine}. {notes}".rstrip()


if __name__ == "__main__":
    main()
