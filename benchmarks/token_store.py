"""Claim: with sampled answers of at most 48 bytes per token a student keeps at least 95 % of the
gain over its control that it has with all logits, and a step that reads stored answers takes less
than 1.1 times as long as a plain one. n = seeds.

The gain is in bits per byte of a test text, with students trained on soft targets only at T = 1.
The most probable classes, renormalised, should lose more. All students have the same blocks, order,
initial weights and teacher, and nothing is chosen on the test split.

    python benchmarks/token_store.py --text FILE --teacher RUN [--seeds 3] [--short]

Training on renormalised answers is not an option of limbeck. It is added here for comparison.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from limbeck import Arm, Objective, Optimizer, RunOptions, Schedule, Study
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, NoViews, TransferSet, text_file
from limbeck.data.batches import TrainBatches
from limbeck.evaluation.statistics import paired_interval
from limbeck.losses import StackedObjective
from limbeck.losses.sparse import SparseTargets
from limbeck.models import GPT, load_model
from limbeck.run.manifest import hardware
from limbeck.store.answers import TeacherPass
from limbeck.store.build import open_store
from limbeck.study import targets as soft_targets
from limbeck.study.arms import build
from limbeck.teacher.signal import LiveTeacher, TeacherSignal
from limbeck.training.cohort.stack import Cohort

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
SOFT = Objective(hard_weight=0.0, soft_weight=1.0, temperature=1.0)
ADAMW = Optimizer(name="adamw", lr=0.005, weight_decay=0.1, schedule="one_cycle")
SCORED = 320
"""Maximum number of validation and test blocks, because many students are scored."""


class Kind(NamedTuple):
    """A way to store answers.

    Attributes:
        kind: Kind of the store: ``dense``, ``sampled`` or ``topk``.
        k: Number of classes per token.
        renormalised: Whether students take the classes as if there were no others.
    """

    kind: str
    k: int = 0
    renormalised: bool = False

    @property
    def name(self) -> str:
        """Name in the table."""
        name = f"{self.kind} {self.k}" if self.k else self.kind
        return f"{name} renormalised" if self.renormalised else name


KINDS = [
    Kind("dense"),
    Kind("sampled", 12),
    Kind("topk", 12),
    Kind("topk", 12, renormalised=True),
    Kind("sampled", 4),
    Kind("topk", 4),
    Kind("topk", 4, renormalised=True),
]


class Renormalised(TeacherSignal):
    """The most probable classes as if there were no others."""

    def __init__(self, inner: TeacherSignal):
        self.inner = inner

    def __call__(
        self, x: Tensor, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """See :class:`~limbeck.teacher.signal.TeacherSignal`."""
        answers = self.inner(x, sample, view)
        if isinstance(answers, Tensor):
            return answers
        return SparseTargets(answers.ids, answers.log_p.log_softmax(-1), None, answers.classes)


@contextmanager
def renormalised_answers() -> Iterator[None]:
    """Let studies learn from renormalised answers."""

    def open_renormalised(*arguments: Any) -> Renormalised:
        return Renormalised(open_store(*arguments))

    with patch.object(soft_targets, "open_store", open_renormalised):
        yield


def main() -> None:
    claim = " ".join((__doc__ or "").partition("\n\n")[0].split())
    parser = argparse.ArgumentParser(description=claim)
    add = parser.add_argument
    add("--text", type=Path, help="text file; Python's own manual by default")
    add("--teacher", type=Path, help="run with a teacher; an untrained one by default")
    add("--seeds", type=int, default=3)
    add("--samples", type=float, default=0.05, help="share of the blocks that students see")
    add("--epochs", type=int, default=6)
    add("--precision", default="32-true")
    names = [kind.name for kind in KINDS]
    add("--kinds", nargs="+", default=names, help="kinds to compare, such as 'sampled 12'")
    add("--json", type=Path, help="file for the numbers")
    add("--short", action="store_true", help="a small version that only checks it works")
    options = parser.parse_args()
    data = with_fewer_test_blocks(text_file(options.text))
    student = partial(GPT, width=64, layers=2, heads=2)
    if options.short:
        data, options.samples, options.seeds, options.epochs = data.head(64), 32, 2, 1
        student = partial(GPT, width=16, layers=1, heads=1)
    if options.teacher is None:
        teacher = build(partial(GPT, width=64), data, 0)
    else:
        teacher = load_model(options.teacher).model
    result = {"hardware": asdict(hardware()), "gains": gains(data, teacher, student, options)}
    result["steps"] = steps(data, teacher, student, repeats=3 if options.short else 31)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def with_fewer_test_blocks(data: Dataset) -> Dataset:
    """Return the dataset with the first blocks of validation and test split."""
    splits = []
    for split in (data.val, data.open_test()):
        splits.append(split.take(torch.arange(min(SCORED, len(split)))))
    return Dataset.from_splits(
        data.name, data.train, *splits, class_names=data.class_names, tokenizer=data.tokenizer
    )


def gains(
    data: Dataset, teacher: torch.nn.Module, student: Any, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train students on each kind of answers; return their bits per byte and shares of the gain."""
    results: dict[str, tuple[list[float], float]] = {}
    kinds = [kind for kind in KINDS if kind.name in {"dense", *options.kinds}]
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate([Kind("control"), *kinds]):
            out, store = Path(folder) / f"{number}", Path(folder) / "store"
            results[kind.name] = train(kind, data, teacher, student, options, out, store)
    control, dense = results["control"][0], results["dense"][0]
    rows = []
    print(f"\n{'kind':<22}{'bytes':>6}  {'bits/byte':>16}  share of the dense gain (95 %)")
    for name, (values, record_bytes) in results.items():
        shares = []
        for own, without, best in zip(values, control, dense, strict=True):
            shares.append((without - own) / (without - best))
        share = paired_interval(shares)
        row = {"kind": name, "bytes": record_bytes, "bits_per_byte": values}
        rows.append({**row, "share": share.mean, "ci95": share.ci95})
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        mean = statistics.fmean(values)
        bounds = ""
        if share.ci95 is not None:
            bounds = f" ({100 * share.ci95[0]:.1f} to {100 * share.ci95[1]:.1f})"
        print(
            f"{name:<22}{record_bytes:>6.0f}  {mean:>8.4f} ± {spread:.4f}  "
            f"{100 * share.mean:.1f} %{bounds}"
        )
    return rows


def train(
    kind: Kind,
    data: Dataset,
    teacher: torch.nn.Module,
    student: Any,
    options: argparse.Namespace,
    out: Path,
    store: Path,
) -> tuple[list[float], float]:
    """Train a study of one kind; return the bits per byte by seed and the bytes of an answer."""
    is_control = kind.kind == "control"
    store_settings = {"folder": store, "kind": kind.kind, "k": max(kind.k, 1)}
    with renormalised_answers() if kind.renormalised else nullcontext():
        study = Study(
            data,
            {"arm": Arm(objective=HARD if is_control else SOFT)},
            student=student,
            out=out,
            teacher=teacher,
            seeds=options.seeds,
            schedule=Schedule(epochs=options.epochs, batch_size=8, optimizer=ADAMW),
            transfer=TransferSet(samples=options.samples),
            options=RunOptions(
                trainer={"precision": options.precision},
                store="off" if is_control else store_settings,
            ),
        )
        (arm,) = study.run().arms
    bits_per_byte = [result.test.bits_per_byte for result in arm.seeds]
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    stores = list(manifest.get("stores", {}).values())
    return bits_per_byte, stores[0]["record_bytes"] if stores else 0.0


def steps(
    data: Dataset, teacher: torch.nn.Module, student: Any, *, repeats: int
) -> dict[str, float]:
    """Time a plain step, one that also reads stored answers, and one that learns from them."""
    rows = torch.arange(min(512, len(data.train)))
    pairs = [[build(student, data, seed) for seed in range(3)]]
    cohort, progress = Cohort(pairs), StageProgress(enabled=False)
    hard, soft = StackedObjective([HARD]), StackedObjective([Objective(temperature=1.0)])
    with tempfile.TemporaryDirectory() as place:
        teacher_pass = TeacherPass(
            teacher=LiveTeacher(teacher),
            inputs=data.train.inputs,
            rows=rows,
            views=NoViews(),
            classes=data.classes,
            positions=data.positions,
            vocabulary=data.tokenizer.digest if data.tokenizer else None,
        )
        signals = {
            kind: open_store(
                teacher_pass,
                teacher_pass.header("float16", kind=kind, k=12),
                Path(place),
                progress,
            )
            for kind in ("dense", "topk", "sampled")
        }
        batches = list(
            TrainBatches(
                data.train, rows, None, views=NoViews(), seeds=[0, 1, 2], batch_size=8, epoch=int
            )
        )
        optimizer = torch.optim.AdamW(cohort.parameters(), fused=True)

        def step(batch: Any, signal: TeacherSignal | None, *, learn: bool) -> float:
            began = time.perf_counter()
            targets: Any = None
            if signal is not None:
                targets = signal(batch.x, batch.sample, batch.view)
            if not learn:
                targets = None
            elif isinstance(targets, Tensor):
                targets = targets.flatten(1, 2)
            else:
                targets = targets.map(lambda part: part.flatten(1, 2))
            logits = cohort(batch.x).flatten(-3, -2)
            objective = soft if learn else hard
            terms = objective(logits, targets, batch.y.flatten(1), counts=batch.counts)
            optimizer.zero_grad()
            terms.loss.sum().backward()
            optimizer.step()
            return time.perf_counter() - began

        ways: dict[str, tuple[TeacherSignal | None, bool]] = {"plain": (None, False)}
        for kind, signal in signals.items():
            ways[f"plain, reading {kind}"] = (signal, False)
            ways[f"learning from {kind}"] = (signal, True)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(repeats):
            for name, (signal, learn) in ways.items():
                times[name].append(step(batches[number % len(batches)], signal, learn=learn))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\nOne step of 3 students, 1,024 tokens each, median of {repeats}:")
    for name, seconds in medians.items():
        print(f"  {name:<24}{1000 * seconds:8.2f} ms  {seconds / medians['plain']:.3f}")
    return medians


if __name__ == "__main__":
    main()
