"""What stored answers to tokens keep of a teacher, and what reading them costs.

Claim: sampled answers of at most 48 bytes a token keep at least 95 % of what all logits gain a
student over its control (bits per byte of a test text, students from soft targets alone at T = 1, n
= seeds), where the most probable classes, renormalised, lose more; and a training step that reads
stored answers takes less than 1.1 times a plain one. Each student learns from the same blocks,
order and initial weights; the teacher is the same; nothing is chosen on the test.

    python benchmarks/token_store.py --text FILE --teacher RUN [--seeds 3] [--short]

A student that learns from renormalised answers is no option of limbeck: it is made here, to
compare.
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
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from limbeck import Arm, Objective, Optimizer, Study
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, NoViews, TransferSet, text
from limbeck.data.batches import TrainBatches
from limbeck.evaluation.verdict import paired_interval
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
"""Blocks of validation and of test: a fraction of a long text, where eight students times seeds are
scored.
"""
KINDS = [
    ("dense", 0, False),
    *(
        (kind, k, renormalised)
        for k in (12, 4)
        for kind, renormalised in (("sampled", False), ("topk", False), ("topk", True))
    ),
]


class Renormalised(TeacherSignal):
    """The most probable classes as if there were no others."""

    def __init__(self, inner: TeacherSignal):
        self.inner = inner

    def __call__(
        self, x: Tensor, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """As :class:`~limbeck.teacher.signal.TeacherSignal` has it."""
        found = self.inner(x, sample, view)
        if isinstance(found, Tensor):
            return found
        return SparseTargets(found.ids, found.log_p.log_softmax(-1), None, found.classes)


@contextmanager
def renormalising() -> Iterator[None]:
    """Studies learn from renormalised answers."""

    def opened(*arguments: Any) -> Renormalised:
        return Renormalised(open_store(*arguments))

    with patch.object(soft_targets, "open_store", opened):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, help="a text; Python's own manual if not given")
    parser.add_argument(
        "--teacher", type=Path, help="a run with its teacher; an untrained one if not given"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--samples", type=float, default=0.05, help="share of the blocks that students see"
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument(
        "--kinds", nargs="+", default=[name_of(*kind) for kind in KINDS], help="as in 'sampled 12'"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--short", action="store_true", help="seconds: only shows that it runs")
    options = parser.parse_args()
    data = with_less_to_score(text(options.text))
    student = partial(GPT, width=64, layers=2, heads=2)
    if options.short:
        data, options.samples, options.seeds, options.epochs = data.head(64), 32, 2, 1
        student = partial(GPT, width=16, layers=1, heads=1)
    teacher = (
        build(partial(GPT, width=64), data, 0)
        if options.teacher is None
        else load_model(options.teacher).model
    )
    found = {"hardware": asdict(hardware()), "gains": gains(data, teacher, student, options)}
    found["steps"] = steps(data, teacher, student, repeats=3 if options.short else 31)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def name_of(kind: str, k: int, renormalised: bool) -> str:
    """As in the table."""
    return kind if k == 0 else f"{kind} {k}" + " renormalised" * renormalised


def with_less_to_score(data: Dataset) -> Dataset:
    """The same text to train on, and of the other splits what their first blocks hold."""
    val, test = (
        split.take(torch.arange(min(SCORED, len(split)))) for split in (data.val, data.open_test())
    )
    return Dataset.from_splits(
        data.name, data.train, val, test, class_names=data.class_names, tokenizer=data.tokenizer
    )


def gains(
    data: Dataset, teacher: torch.nn.Module, student: Any, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Bits per byte of the students of each kind, and the share of the dense gain that it keeps."""
    reached: dict[str, list[float]] = {}
    facts: dict[str, float] = {"hard": 0.0}
    with tempfile.TemporaryDirectory() as place:
        wanted = [kind for kind in KINDS if name_of(*kind) in {"dense", *options.kinds}]
        for number, (kind, k, renormalised) in enumerate([("control", 0, False), *wanted]):
            name = name_of(kind, k, renormalised)
            out, store = (
                Path(place) / f"{number}",
                {"folder": Path(place) / "store", "kind": kind, "k": max(k, 1)},
            )
            with renormalising() if renormalised else nullcontext():
                study = Study(
                    data,
                    {"arm": Arm(objective=HARD if kind == "control" else SOFT)},
                    student=student,
                    out=out,
                    teacher=teacher,
                    seeds=options.seeds,
                    epochs=options.epochs,
                    batch_size=8,
                    optimizer=ADAMW,
                    transfer=TransferSet(samples=options.samples),
                    trainer={"precision": options.precision},
                    store="off" if kind == "control" else store,
                )
                (arm,) = study.run().arms
            reached[name] = [seed["test"]["bits_per_byte"] for seed in arm["seeds"]]
            stores = (
                json.loads((out / "manifest.json").read_text(encoding="utf-8"))
                .get("stores", {})
                .values()
            )
            facts[name] = next((used["record_bytes"] for used in stores), 0)
    rows = []
    print(f"\n{'kind':<22}{'bytes':>6}  {'bits/byte':>16}  share of the dense gain (95 %)")
    for name, values in reached.items():
        pairs = list(zip(values, reached["control"], reached["dense"], strict=True))
        share = paired_interval(
            [(control - own) / (control - dense) for own, control, dense in pairs]
        )
        rows.append(
            {
                "kind": name,
                "bytes": facts[name],
                "bits_per_byte": values,
                "share": share.mean,
                "ci95": share.ci95,
            }
        )
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        bounds = (
            ""
            if share.ci95 is None
            else f" ({100 * share.ci95[0]:.1f} to {100 * share.ci95[1]:.1f})"
        )
        mean = statistics.fmean(values)
        print(
            f"{name:<22}{facts[name]:>6.0f}  {mean:>8.4f} ± {spread:.4f}  {100 * share.mean:.1f} "
            f"%{bounds}"
        )
    return rows


def steps(
    data: Dataset, teacher: torch.nn.Module, student: Any, *, repeats: int
) -> dict[str, float]:
    """Seconds of a plain step, of one that reads stored answers too, and of one that learns from
    them.
    """
    rows = torch.arange(min(512, len(data.train)))
    pairs = [[build(student, data, seed) for seed in range(3)]]
    cohort, progress = Cohort(pairs), StageProgress(enabled=False)
    hard, soft = StackedObjective([HARD]), StackedObjective([Objective(temperature=1.0)])
    with tempfile.TemporaryDirectory() as place:
        answers = TeacherPass(
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
                answers, answers.header("float16", kind=kind, k=12), Path(place), progress
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
            found = None if signal is None else signal(batch.x, batch.sample, batch.view)
            targets: Any = None
            if learn and found is not None:
                targets = (
                    found.flatten(1, 2)
                    if isinstance(found, Tensor)
                    else found.map(lambda part: part.flatten(1, 2))
                )
            logits = cohort(batch.x).flatten(-3, -2)
            terms = (soft if learn else hard)(
                logits, targets, batch.y.flatten(1), counts=batch.counts
            )
            optimizer.zero_grad()
            terms.loss.sum().backward()
            optimizer.step()
            return time.perf_counter() - began

        ways: dict[str, tuple[TeacherSignal | None, bool]] = {"plain": (None, False)}
        for kind, signal in signals.items():
            ways |= {
                f"plain, reading {kind}": (signal, False),
                f"learning from {kind}": (signal, True),
            }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(repeats):
            for name, (signal, learn) in ways.items():
                times[name].append(step(batches[number % len(batches)], signal, learn=learn))
    found = {name: statistics.median(values) for name, values in times.items()}
    print(f"\nOne step of 3 students, 1,024 tokens each, median of {repeats}:")
    for name, seconds in found.items():
        print(f"  {name:<24}{1000 * seconds:8.2f} ms  {seconds / found['plain']:.3f}")
    return found


if __name__ == "__main__":
    main()
