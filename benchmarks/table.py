"""The JSON files of a folder as one markdown table: python benchmarks/table.py FOLDER."""

import json
import statistics
import sys
from pathlib import Path

VERDICTS = {True: "met", False: "**missed**", None: "not judged"}


def main() -> None:
    found = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(Path(sys.argv[1]).glob("*.json"))
    ]
    print(
        "| benchmark | compared | seconds | ratio (from, to), n | goal | |\n| --- | --- | --- | "
        "--- | --- | --- |"
    )
    for content in found:
        for goal in content["goals"]:
            names = [name for name in (goal["over"], goal["under"]) if name]
            times = [
                statistics.median(content["seconds"][n])
                for n in names
                if n in content.get("seconds", {})
            ]
            spread = f"{goal['median']:.3g} ({min(goal['ratios']):.3g}, {max(goal['ratios']):.3g})"
            print(
                f"| `{content['benchmark']}` | {' / '.join(names)} | "
                f"{' / '.join(f'{t:.3g}' for t in times)} "
                f"| {spread}, {len(goal['ratios'])} | {goal['goal']} | {VERDICTS[goal['met']]} |"
            )
    for content in found:
        facts = {**content.get("facts", {}), **content.get("extrapolated", {})}
        notes = "; ".join(f"{name.replace('_', ' ')}: {fact}" for name, fact in facts.items())
        machine = f"{content['hardware']['cpu']}, {content['date']}{', short version' if content['short'] else ''}"
        print(f"\n`{content['benchmark']}`: {content['claim']} {machine}. {notes}".rstrip())


if __name__ == "__main__":
    main()
