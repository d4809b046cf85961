"""Shared parts of the benchmarks: options, data, alternating repetitions, goals, table and JSON."""

import argparse
import gc
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, Views, mnist
from limbeck.data.study_data import StudyData
from limbeck.run.manifest import hardware, installed_versions, now
from limbeck.store.answers import TeacherPass
from limbeck.store.build import open_store
from limbeck.teacher.signal import LiveTeacher, StoredTeacher
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.fabric import quiet_lightning
from limbeck.training.fit import fit
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

MEAN, STD = 0.1307, 0.3081
VERDICTS = {True: "met", False: "missed", None: "not judged, too short"}
MACHINE_OPTIONS = ("device", "precision", "compile", "workers")
EPOCHS = 4
"""Number of epochs of a fit; the first is not counted."""


@dataclass(frozen=True)
class Contestant:
    """A computation to time.

    Attributes:
        call: Function that runs the computation. The whole call is timed unless it returns seconds
            of its own: one value, or several by name.
        times: Factor of the measured seconds; above 1 where ``call`` runs only a part.
        warm: Shorter call that runs once before the clock starts; None for ``call`` itself.
    """

    call: Callable[[], float | dict[str, float] | None]
    times: int = 1
    warm: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Goal:
    """Bounds on the ratio of two contestants' times."""

    over: str
    under: str
    at_least: float | None = None
    at_most: float | None = None

    def met(self, ratio: float) -> bool:
        """Whether a ratio reaches the goal."""
        return ratio >= self.at_least if self.at_least is not None else ratio <= (self.at_most or 0)

    def __str__(self) -> str:
        return (
            f"at least {self.at_least:g}"
            if self.at_least is not None
            else f"at most {self.at_most:g}"
        )


def arguments(
    description: str | None,
    *,
    repeats: int = 5,
    device: bool = False,
    add: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> argparse.Namespace:
    """Parse the options of every benchmark; with ``device`` also those of an accelerator.

    ``add`` adds options of a benchmark's own.
    """
    claim = " ".join((description or "").strip().partition("\n\n")[0].split())
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LIMBECK_DATA", "data")) / "mnist"
    )
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    parser.add_argument(
        "--short",
        action="store_true",
        help="a small version on random data that only checks it works",
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes of the others' DataLoaders; tutorials: 0"
    )
    parser.set_defaults(device="cpu", precision="32-true", compile=False)
    if device:
        parser.add_argument("--device", choices=["cpu", "cuda"])
        parser.add_argument(
            "--precision", help="of limbeck and of loops in memory: 32-true or bf16-mixed"
        )
        parser.add_argument("--compile", action="store_true", help="trainer.compile=true")
    add(parser)
    options = parser.parse_args()
    options.claim = re.sub(r" n = \d+\.$", "", claim.removeprefix("Claim: "))
    return options


def small_or_whole(options: argparse.Namespace) -> Dataset:
    """Return MNIST with 5,000 validation images; in the short version random images."""
    if not options.short:
        return mnist(options.data)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1300, 1, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (1300,), generator=generator)
    names = list("0123456789")
    return Dataset.from_arrays(
        images[:1100], labels[:1100], images[1100:], labels[1100:], class_names=names, val=100
    )


def trainer_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of limbeck's training loop."""
    settings = {"accelerator": options.device, "precision": options.precision}
    return settings | ({"compile": True} if options.compile else {})


def autocast(options: argparse.Namespace) -> Any:
    """Return the same precision for a plain loop."""
    return torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16-mixed")


def clock() -> float:
    """Return the time in seconds after the device has finished all work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def without_lightning() -> Iterator[None]:
    """Undo the effect of Lightning, which sets a variable that slows every optimizer step
    by microseconds.
    """
    before = os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    try:
        yield
    finally:
        if before is not None:
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = before


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Make an empty folder for a run, with an empty store."""
    before = os.environ.get("LIMBECK_STORE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LIMBECK_STORE"] = str(Path(folder) / "store")
        try:
            yield Path(folder)
        finally:
            os.environ.pop("LIMBECK_STORE")
            if before is not None:
                os.environ["LIMBECK_STORE"] = before


def build_store(
    teacher: nn.Module, data: Dataset, views: Views, folder: Path, device: str = "cpu"
) -> StoredTeacher:
    """Compute a teacher's answers for the training split in all views, in a store like that of a
    study.
    """
    teacher_pass = TeacherPass(
        teacher=LiveTeacher(teacher),
        inputs=data.train.inputs,
        rows=torch.arange(len(data.train)),
        views=views,
        classes=data.classes,
        device=torch.device(device),
    )
    header = teacher_pass.header("float16")
    return open_store(teacher_pass, header, folder, StageProgress(enabled=False))


def epoch_of_fit(task: DistillationTask, data: StudyData, options: argparse.Namespace) -> float:
    """Return the seconds of an epoch of limbeck's loop with validation, CSV log and checkpoints."""
    stamps = []

    def advance(done: float, note: str = "") -> None:
        if done == int(done):  # at the end of an epoch
            stamps.append(clock())

    epochs = 2 if options.short else EPOCHS
    with fresh_folder() as folder, quiet_lightning():
        fit(
            task,
            data,
            options=TrainerOptions.of(trainer_options(options)).with_epochs(epochs),
            loggers=[CSVLogger(folder / "logs", "fit")],
            checkpoints=folder / "checkpoints",
            advance=advance,
        )
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1)


def epoch_of_loop(epoch: Callable[[], Any], options: argparse.Namespace) -> float:
    """Return the seconds of an epoch of a plain loop, the mean of all but the first."""
    stamps = [clock()]
    for _ in range(2 if options.short else EPOCHS):
        epoch()
        stamps.append(clock())
    return (stamps[-1] - stamps[1]) / (len(stamps) - 2)


def alternate(
    contestants: dict[str, Contestant], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Measure the seconds of each contestant in alternation (A B A B ...).

    Each is called once before, unmeasured, except in the short version.
    """
    seconds: dict[str, list[float]] = {}
    for contestant in [] if options.short else contestants.values():
        (contestant.warm or contestant.call)()
    for _ in range(1 if options.short else options.repeats):
        for name, contestant in contestants.items():
            gc.collect()
            began = clock()
            own = contestant.call()
            values = (
                own if isinstance(own, dict) else {name: clock() - began if own is None else own}
            )
            for part, value in values.items():
                seconds.setdefault(part, []).append(value * contestant.times)
    return seconds


def report(
    seconds: dict[str, list[float]],
    goals: Sequence[Goal],
    options: argparse.Namespace,
    extrapolated: dict[str, str] | None = None,
    **facts: Any,
) -> None:
    """Print median and range of each contestant and of the pairwise ratios; write them as JSON."""
    machine, extrapolated = asdict(hardware()), extrapolated or {}
    runs = len(next(iter(seconds.values())))
    print(f"{options.claim}\n{machine['cpu']}, {torch.get_num_threads()} threads, n = {runs}")
    for name, values in seconds.items():
        note = f"   ({extrapolated[name]})" if name in extrapolated else ""
        print(f"  {name:<60} {_spread(values)} s{note}")
    judged = []
    for goal in goals:
        if goal.over not in seconds or goal.under not in seconds:
            print(f"  {goal.over} / {goal.under}: not measured here")
            continue
        ratios = [a / b for a, b in zip(seconds[goal.over], seconds[goal.under], strict=True)]
        met = None if options.short else goal.met(statistics.median(ratios))
        print(
            f"  {f'{goal.over} / {goal.under}':<60} {_spread(ratios)}     {goal}: {VERDICTS[met]}"
        )
        judged.append(
            {
                "over": goal.over,
                "under": goal.under,
                "goal": str(goal),
                "ratios": ratios,
                "median": statistics.median(ratios),
                "met": met,
            }
        )
    for name, fact in facts.items():
        print(f"  {name.replace('_', ' ')}: {fact}")
    write_json(
        options,
        seconds=seconds,
        extrapolated=extrapolated,
        goals=judged,
        facts=facts,
        options={name: str(getattr(options, name)) for name in MACHINE_OPTIONS},
        threads=torch.get_num_threads(),
    )


def write_json(settings: argparse.Namespace, **content: Any) -> None:
    """Write the numbers of a benchmark, if its options name a file for them.

    Args:
        settings: Options of the benchmark.
        content: Numbers by name.
    """
    if settings.json is None:
        return
    facts = {
        "benchmark": Path(sys.argv[0]).stem,
        "claim": settings.claim,
        "date": now(),
        **content,
        "short": settings.short,
        "hardware": asdict(hardware()),
        "versions": installed_versions(),
    }
    settings.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _spread(values: Sequence[float]) -> str:
    return f"median {statistics.median(values):10.3f}   from {min(values):.3f} to {max(values):.3f}"
