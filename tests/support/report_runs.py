"""Finished run folders, made from random logits: their numbers are computed, not invented."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from limbeck._base.files import write_json
from limbeck.run.comparison import Comparison, Delta, GapClosed
from limbeck.run.folder import RunFolder
from limbeck.run.metrics import Metrics, TextMetrics
from limbeck.run.summary import (
    ArmResult,
    DataFacts,
    SeedResult,
    Summary,
    TeacherResult,
    write_summary,
)
from support.summaries import SECONDS

ARMS = ("hard", "soft", "hard + shifts", "soft + shifts")
TEXT_ARMS = ("hard", "soft", "hard-long", "shuffled")
HOSTILE = (
    "<script>alert(1)</script>",
    "a & b",
    '" onload="alert(2)',
    "$x^2$",
    "_hidden",
    "[red]bold[/red]",
    "\x1b[31mred\x07",
    "abc\u202ecba",
    "猫",
)
T_QUANTILE = {2: 12.706, 3: 4.303}
BLOCK, VOCABULARY, BYTES_PER_TOKEN = 16, 50, 4
MANIFEST = {
    "limbeck": "0.1.0",
    "versions": {"python": "3.12.3", "torch": "2.10.0"},
    "command": "limbeck run mnist <a>",
    "hardware": {
        "cpu": "Some CPU",
        "cores": 8,
        "memory_gib": 31.2,
        "devices": ["cuda:0 Some GPU"],
    },
    "git_commit": None,
    "started": "2030-01-01T10:00:00Z",
    "finished": "2030-01-01T10:03:41Z",
    "state": "finished",
}


# Numbers ------------------------------------------------------------------------------------------


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def metrics(logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None) -> Metrics:
    log_p = log_softmax(logits)
    wrong = int((logits.argmax(1) != labels).sum())
    accuracy = 1 - wrong / len(labels)
    agreement = kl = None
    if teacher is not None:
        log_t = log_softmax(teacher)
        agreement = float((logits.argmax(1) == teacher.argmax(1)).mean())
        kl = float((np.exp(log_t) * (log_t - log_p)).sum(1).mean())
    return Metrics(
        errors=wrong,
        accuracy=accuracy,
        nll=float(-log_p[np.arange(len(labels)), labels].mean()),
        ece=float(abs(np.exp(log_p.max(1)).mean() - accuracy)),
        agreement=agreement,
        kl_to_teacher=kl,
    )


def text_metrics(logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None) -> TextMetrics:
    values = metrics(logits, labels, teacher)
    bits = float(values.nll / np.log(2) / BYTES_PER_TOKEN)
    return TextMetrics(**asdict(values), bits_per_byte=bits, perplexity=float(np.exp(values.nll)))


def over_seeds(tests: Sequence[Metrics], reduce: Callable[[list[float]], float | None]) -> Metrics:
    values: dict[str, Any] = {}
    for key, first in asdict(tests[0]).items():
        values[key] = None if first is None else reduce([getattr(test, key) for test in tests])
    return type(tests[0])(**values)


def standard_deviation(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def delta(differences: list[float]) -> Delta:
    mean, seeds = float(np.mean(differences)), len(differences)
    if seeds == 1:
        return Delta(mean=mean, ci95=None, per_seed=tuple(differences))
    half = T_QUANTILE[seeds] * standard_deviation(differences) / seeds**0.5
    return Delta(
        mean=mean,
        ci95=(mean - half, mean + half),
        ci95_total=(mean - 1.5 * half, mean + 1.5 * half),
        per_seed=tuple(differences),
    )


def compare(
    arm: ArmResult, control: ArmResult, teacher: TeacherResult | None, *, main: bool
) -> Comparison:
    """A comparison; the verdict follows from the interval over seeds and samples alone."""
    is_text = isinstance(arm.mean, TextMetrics)

    def differences(key: str) -> list[float]:
        pairs = zip(arm.seeds, control.seeds, strict=True)
        return [getattr(a.test, key) - getattr(c.test, key) for a, c in pairs]

    def closed(key: str) -> float | None:
        if teacher is None:
            return None
        best, start = getattr(teacher.test, key), getattr(control.mean, key)
        return (start - getattr(arm.mean, key)) / (start - best) if start > best else None

    gap = GapClosed(errors=closed("errors"), nll=closed("nll"))
    if is_text and gap.nll is not None and len(arm.seeds) > 1:
        gap = GapClosed(errors=gap.errors, nll=gap.nll, nll_ci95=(gap.nll - 0.06, gap.nll + 0.06))
    judged_by = delta(differences("bits_per_byte" if is_text else "errors"))
    bounds = judged_by.ci95_total
    is_clear = bounds is not None and not bounds[0] <= 0 <= bounds[1]
    verdict = "not shown"
    if is_clear:
        verdict = "helps" if judged_by.mean < 0 else "hurts"
    p_value = 0.00041 if is_clear else 0.31
    return Comparison(
        arm=arm.name,
        control=control.name,
        delta_errors=delta(differences("errors")),
        delta_bits_per_byte=judged_by if is_text else None,
        p_value=p_value,
        gap_closed=gap,
        verdict=verdict,
        main=main,
    )


def scalars(arms: Sequence[str], seeds: int, *, teacher: bool) -> list[dict[str, Any]]:
    """Rows of ``metrics.csv``: twelve epochs of each student and of the teacher."""
    random = np.random.default_rng(3)
    runs = [("students", arm, seed) for arm in arms for seed in range(seeds)]
    if teacher:
        runs.append(("teacher", "teacher", 0))
    rows = []
    for stage, arm, seed in runs:
        level = 0.01 + 0.004 * (arms.index(arm) if arm in arms else 0)
        for epoch in range(12):
            error = level + 0.12 * np.exp(-epoch / 2) + 0.001 * random.random()
            values = {"val_acc": 1 - error, "train_loss": 5 * error, "val_loss": 3 * error}
            for metric, value in values.items():
                row = {"stage": stage, "arm": arm, "seed": seed, "epoch": epoch}
                rows.append({**row, "metric": metric, "value": float(value)})
    return rows


# Run folders --------------------------------------------------------------------------------------


def build_run(
    path: Path,
    *,
    arms: Sequence[str] = ARMS,
    seeds: int = 3,
    teacher: bool = True,
    classes: int = 10,
    class_names: Sequence[str] = (),
    **fields: Any,
) -> Path:
    """Write a run folder; every arm at an even place is the control of the arm after it."""
    random, test = np.random.default_rng(7), 600
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, test - classes)])
    signal, mistakes = 6.0 * np.eye(classes)[labels], random.normal(size=(test, classes))

    def model(noise: float) -> np.ndarray:
        own = random.normal(size=(test, classes))
        return (signal + noise * (mistakes + own)).astype(np.float32)

    arrays: dict[str, np.ndarray] = {"labels": labels.astype(np.int64)}
    teacher_logits = model(1.15) if teacher else None
    teacher_result = None
    if teacher_logits is not None:
        arrays["teacher"] = teacher_logits
        teacher_result = TeacherResult(
            name="mlp 784-1200-1200-10",
            params=2_395_210,
            test=metrics(teacher_logits, labels, None),
        )
    results = []
    for number, arm in enumerate(arms):
        tests = []
        for seed in range(seeds):
            logits = model(1.75 - 0.1 * number - 0.13 * (number % 2))
            arrays[f"students/{arm}/seed{seed}"] = logits
            tests.append(metrics(logits, labels, teacher_logits))
        soft_weight = 0.9 * (number % 2)
        results.append(
            ArmResult(
                name=arm,
                student="mlp 784-800-800-10",
                params=1_276_810,
                control=number % 2 == 0,
                objective={
                    "hard_weight": 1 - soft_weight,
                    "soft_weight": soft_weight,
                    "temperature": 4.0,
                    "soft": "kl",
                    "scale_by_t2": True,
                },
                transfer="train",
                views="shift 2" if "shifts" in arm else "none",
                seconds=4.2 + number,
                **_over_seeds(tests),
            )
        )
    comparisons = []
    pairs = list(zip(results[::2], results[1::2], strict=False))
    for number, (control, arm) in enumerate(pairs, 1):
        comparisons.append(compare(arm, control, teacher_result, main=number == len(pairs)))
    summary = Summary(
        **{
            "recipe": "mnist-hinton",
            "data": DataFacts(name="mnist", classes=classes, train=54000, val=6000, test=test),
            "teacher": teacher_result,
            "arms": tuple(results),
            "comparisons": tuple(comparisons),
            "epochs": 12,
            "batch_size": 128,
            "seconds": SECONDS,
            "classes": tuple(class_names),
            **fields,
        }
    )
    return _write(path, summary, MANIFEST, scalars(arms, seeds, teacher=teacher), arrays)


def build_text_run(path: Path, *, seeds: int = 3, teacher: bool = True) -> Path:
    """Write a run folder of a study of text.

    Its arms are a control, one that trains longer, one with soft targets and one with shuffled
    soft targets.
    """
    random, blocks = np.random.default_rng(11), 60
    tokens = BLOCK * blocks
    truth = random.normal(size=(tokens, VOCABULARY)) * 1.8
    labels = (truth + random.gumbel(size=truth.shape)).argmax(1)
    mistakes = random.normal(size=truth.shape)

    def model(noise: float) -> np.ndarray:
        own = 0.3 * random.normal(size=truth.shape)
        return (truth + noise * (mistakes + own)).astype(np.float32)

    teacher_logits = model(0.4) if teacher else None
    teacher_result = None
    if teacher_logits is not None:
        test = text_metrics(teacher_logits, labels, None)
        teacher_result = TeacherResult(name="gpt 6 x 192", params=2_901_888, test=test)
    results = {}
    for name, noise in zip(TEXT_ARMS, (1.1, 0.95, 1.05, 1.13), strict=True):
        tests = [text_metrics(model(noise), labels, teacher_logits) for _ in range(seeds)]
        is_control = name.startswith("hard")
        soft_weight = 0.0 if is_control else 0.5
        results[name] = ArmResult(
            name=name,
            student="gpt 2 x 64",
            params=123_456,
            control=is_control,
            objective={
                "hard_weight": 1 - soft_weight,
                "soft_weight": soft_weight,
                "temperature": 1.0,
                "soft": "kl",
                "shuffled": name == "shuffled",
            },
            transfer="train",
            views="none",
            seconds=41.5,
            epochs=24 if name == "hard-long" else 12,
            **_over_seeds(tests),
        )
    pairs = [("soft", "hard"), ("soft", "hard-long"), ("shuffled", "hard")]
    comparisons = [
        compare(results[arm], results[control], teacher_result, main=number == 0)
        for number, (arm, control) in enumerate(pairs)
    ]
    summary = Summary(
        recipe="text-topics",
        measure="bits_per_byte",
        data=DataFacts(
            name="python topics",
            classes=VOCABULARY,
            train=900,
            val=blocks,
            test=blocks,
            tokenizer="bpe-50",
            block=BLOCK,
            tokens={"train": 900 * BLOCK, "val": tokens, "test": tokens},
            bytes={"test": tokens * BYTES_PER_TOKEN},
        ),
        teacher=teacher_result,
        arms=tuple(results.values()),
        comparisons=tuple(comparisons),
        epochs=12,
        batch_size=32,
        seconds=SECONDS,
    )
    store = {"rows": 900, "views": "none", "kind": "sampled", "k": 12, "record_bytes": 36}
    manifest = {"limbeck": "0.1.0", "state": "finished", "stores": {"5ab1" * 16: store}}
    arrays = {"nll/students/soft/seed0": np.ones((blocks, BLOCK), np.float32)}
    return _write(path, summary, manifest, scalars(TEXT_ARMS, seeds, teacher=teacher), arrays)


def _over_seeds(tests: Sequence[Metrics]) -> dict[str, Any]:
    seeds = [SeedResult(seed=seed, val=test, test=test) for seed, test in enumerate(tests)]
    return {
        "seeds": tuple(seeds),
        "mean": over_seeds(tests, lambda values: float(np.mean(values))),
        "sd": over_seeds(tests, standard_deviation),
    }


def _write(
    path: Path,
    summary: Summary,
    manifest: dict[str, Any],
    rows: list[dict[str, Any]],
    arrays: dict[str, np.ndarray],
) -> Path:
    run = RunFolder(path)
    write_summary(run, summary)
    write_json(run.manifest, manifest)
    run.write_scalars(rows)
    np.savez(run.predictions, **arrays)
    return path
