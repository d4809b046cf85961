"""What the benchmarks share: alternating repetitions, medians and spread, a table and JSON."""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limbeck.data import Dataset, mnist
from limbeck.manifest import hardware, installed_versions


def arguments(description: str | None) -> argparse.Namespace:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=(description or "").strip().splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LIMBECK_DATA", "data")) / "mnist")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="a small version that only checks that it works")
    return parser.parse_args()


def small_or_whole(options: argparse.Namespace) -> Dataset:
    """MNIST, or random images of its shape for the short version."""
    if not options.short:
        return mnist(options.data)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1200, 1, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (1200,), generator=generator)
    return Dataset.from_arrays(
        images[:1000], labels[:1000], images[1000:], labels[1000:], class_names=list("0123456789")
    )


def alternate(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contestant, in turn A B A B ..., after one unmeasured call of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for call in contestants.values():
        call()
    for _ in range(repeats):
        for name, call in contestants.items():
            gc.collect()
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def report(claim: str, seconds: dict[str, list[float]], options: argparse.Namespace, **facts: Any) -> None:
    """Print median and spread, the ratio of the last contestant to the first pair by pair, and keep them as JSON."""
    names = list(seconds)
    ratios = [b / a for a, b in zip(seconds[names[0]], seconds[names[-1]], strict=True)]
    machine = hardware()
    print(f"{claim}\n{machine['cpu']}, {torch.get_num_threads()} threads, n = {len(ratios)}")
    for name, values in (*seconds.items(), (f"{names[-1]} / {names[0]}", ratios)):
        print(f"  {name:<44} median {statistics.median(values):8.3f}   from {min(values):.3f} to {max(values):.3f}")
    if options.json:
        content = {"claim": claim, "seconds": seconds, "ratios": ratios, "median_ratio": statistics.median(ratios)}
        content |= {"hardware": machine, "versions": installed_versions(), "short": options.short, **facts}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
