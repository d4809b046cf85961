"""Finished run folders, made up from random logits: their numbers are computed, not invented."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from limbeck._base.files import write_json
from limbeck.run.folder import RunFolder
from limbeck.run.summary import parse_summary

ARMS = ("hard", "soft", "hard + shifts", "soft + shifts")
HOSTILE = (
    "<script>alert(1)</script>",
    "a & b",
    '" onload="alert(2)',
    "$x^2$",
    "_hidden",
    "[red]bold[/red]",
    "猫",
)


def metrics(logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None) -> dict[str, Any]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    wrong = int((logits.argmax(1) != labels).sum())
    found = {
        "errors": wrong,
        "accuracy": 1 - wrong / len(labels),
        "nll": float(-log_p[np.arange(len(labels)), labels].mean()),
        "ece": float(abs(np.exp(log_p.max(1)).mean() - 1 + wrong / len(labels))),
        "agreement": None,
        "kl_to_teacher": None,
    }
    if teacher is not None:
        found["agreement"] = float((logits.argmax(1) == teacher.argmax(1)).mean())
        moved = teacher.astype(np.float64) - teacher.max(1, keepdims=True)
        log_t = moved - np.log(np.exp(moved).sum(1, keepdims=True))
        found["kl_to_teacher"] = float((np.exp(log_t) * (log_t - log_p)).sum(1).mean())
    return found


def spread(tests: list[dict[str, Any]], reduce: Callable[[list[float]], float]) -> dict[str, Any]:
    return {
        key: None if tests[0][key] is None else reduce([t[key] for t in tests]) for key in tests[0]
    }


def compared(
    control: dict[str, Any], arm: dict[str, Any], teacher: dict[str, Any] | None
) -> dict[str, Any]:
    pairs = zip(arm["seeds"], control["seeds"], strict=True)
    deltas = [a["test"]["errors"] - c["test"]["errors"] for a, c in pairs]
    mean, gap = float(np.mean(deltas)), {"errors": None, "nll": None}
    half = 4.303 * float(np.std(deltas, ddof=1)) / len(deltas) ** 0.5 if len(deltas) > 1 else None
    if teacher is not None:
        for key in gap:
            better = control["mean"][key] - teacher["test"][key]
            gap[key] = (control["mean"][key] - arm["mean"][key]) / better if better > 0 else None
    shown = half is not None and abs(mean) > half
    verdict = ("helps" if mean < 0 else "hurts") if shown else "not shown"
    ci95 = None if half is None else [mean - half, mean + half]
    return {
        "arm": arm["name"],
        "control": control["name"],
        "mcnemar_p": 0.00041,
        "gap_closed": gap,
        "verdict": verdict,
        "delta_errors": {"mean": mean, "ci95": ci95, "per_seed": deltas},
    }


def scalars(
    arms: tuple[str, ...], seeds: int, teacher: bool, random: np.random.Generator
) -> list[dict[str, Any]]:
    runs = [("students", arm, seed) for arm in arms for seed in range(seeds)] + [
        ("teacher", "teacher", 0)
    ] * teacher
    rows = []
    for stage, arm, seed in runs:
        level = 0.01 + 0.004 * (arms.index(arm) if arm in arms else 0)
        for epoch in range(12):
            error = level + 0.12 * np.exp(-epoch / 2) + 0.001 * random.random()
            values = {
                "val_acc": 1 - error,
                "train_loss": 5 * error * (1 + ("soft" in arm)),
                "val_loss": 3 * error,
            }
            for metric, value in values.items():
                rows.append(
                    {
                        "stage": stage,
                        "arm": arm,
                        "seed": seed,
                        "epoch": epoch,
                        "metric": metric,
                        "value": float(value),
                    }
                )
    return rows


def build_run(
    path: Path,
    *,
    arms: tuple[str, ...] = ARMS,
    seeds: int = 3,
    teacher: bool = True,
    classes: int = 10,
    test: int = 600,
    names: list[str] | None = None,
    extras: dict[str, Any] | None = None,
) -> Path:
    """Write a run folder; arms at even places are controls of the arm after them."""
    random = np.random.default_rng(7)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, test - classes)])
    signal = 6.0 * np.eye(classes)[labels]
    mistakes = random.normal(size=(test, classes))

    def model(noise: float) -> np.ndarray:
        return (signal + noise * (mistakes + random.normal(size=(test, classes)))).astype(
            np.float32
        )

    arrays: dict[str, np.ndarray] = {"labels": labels.astype(np.int64)}
    taught = model(1.15) if teacher else None
    if taught is not None:
        arrays["teacher"] = taught
    entries = []
    for number, arm in enumerate(arms):
        tests = []
        for seed in range(seeds):
            logits = model(1.75 - 0.1 * number - 0.13 * (number % 2))
            arrays[f"students/{arm}/seed{seed}"] = logits
            tests.append(metrics(logits, labels, taught))
        soft = 0.9 * (number % 2)
        entries.append(
            {
                "name": arm,
                "student": "mlp 784-800-800-10",
                "params": 1_276_810,
                "transfer": "train",
                "objective": {
                    "hard_weight": 1 - soft,
                    "soft_weight": soft,
                    "temperature": 4.0,
                    "soft": "kl",
                    "scale_by_t2": True,
                },
                "seeds": [{"seed": i, "val": dict(t), "test": t} for i, t in enumerate(tests)],
                "mean": spread(tests, lambda v: float(np.mean(v))),
                "sd": spread(tests, lambda v: float(np.std(v, ddof=1)) if len(v) > 1 else None),
                "control": number % 2 == 0,
                "views": "shift 2" if "shifts" in arm else "none",
                "seconds": 4.2 + number,
            }
        )
    told = None
    if taught is not None:
        told = {
            "name": "mlp 784-1200-1200-10",
            "params": 2_395_210,
            "test": metrics(taught, labels, None),
        }
    compare = [compared(entries[i], entries[i + 1], told) for i in range(0, len(entries) - 1, 2)]
    if compare:
        compare[-1]["main"] = True
    summary = (
        {
            "schema": 1,
            "recipe": "mnist-hinton",
            "data": {
                "name": "mnist",
                "classes": classes,
                "train": 54000,
                "val": 6000,
                "test": test,
            },
            "teacher": told,
            "arms": entries,
            "comparisons": compare,
            "epochs": 12,
            "batch_size": 128,
            "seconds": {
                "teacher": 31.5 * teacher,
                "store": 2.25 * teacher,
                "training": 185.0,
                "evaluation": 1.5,
                "total": 221.0,
            },
        }
        | ({"classes": names} if names else {})
        | (extras or {})
    )
    parse_summary(summary)
    folder = RunFolder(path)
    write_json(folder.summary, summary)
    write_json(
        folder.manifest,
        {
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
        },
    )
    folder.write_scalars(scalars(arms, seeds, teacher, random))
    np.savez(folder.predictions, **arrays)
    return path


def load_summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


# Text ---------------------------------------------------------------------------------------------

TEXT_ARMS = ("hard", "soft", "hard-long", "shuffled")
TEXT_PAIRS = ((1, 0), (1, 2), (3, 0))
BLOCK, VOCABULARY, BYTES_A_TOKEN = 16, 50, 4


def text_metrics(
    logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None
) -> dict[str, Any]:
    found = metrics(logits, labels, teacher)
    bits = found["nll"] / np.log(2) / BYTES_A_TOKEN
    return found | {"bits_per_byte": float(bits), "perplexity": float(np.exp(found["nll"]))}


def compared_text(
    control: dict[str, Any], arm: dict[str, Any], teacher: dict[str, Any] | None
) -> dict[str, Any]:
    key, found = "bits_per_byte", compared(control, arm, teacher)
    pairs = list(zip(arm["seeds"], control["seeds"], strict=True))
    deltas = [a["test"][key] - c["test"][key] for a, c in pairs]
    mean, several = float(np.mean(deltas)), len(deltas) > 1
    half = 4.303 * float(np.std(deltas, ddof=1)) / len(deltas) ** 0.5 if several else None
    shown = half is not None and abs(mean) > 1.5 * half
    gap = found["gap_closed"]
    return found | {
        "mcnemar_p": None,
        "p_value": 0.00041 if shown else 0.31,
        "delta_bits_per_byte": {
            "mean": mean,
            "ci95": None if half is None else [mean - half, mean + half],
            "per_seed": deltas,
            "ci95_total": None if half is None else [mean - 1.5 * half, mean + 1.5 * half],
        },
        "gap_closed": gap
        | {"nll_ci95": [gap["nll"] - 0.06, gap["nll"] + 0.06] if several and gap["nll"] else None},
        "verdict": ("helps" if mean < 0 else "hurts") if shown else "not shown",
    }


def build_text_run(path: Path, *, seeds: int = 3, teacher: bool = True, blocks: int = 60) -> Path:
    """Write the run folder of a study of text: a control, one trained for longer, soft targets,
    shuffled ones.
    """
    random, tokens = np.random.default_rng(11), BLOCK * blocks
    truth = random.normal(size=(tokens, VOCABULARY)) * 1.8
    labels = (truth + random.gumbel(size=truth.shape)).argmax(1)
    mistakes = random.normal(size=truth.shape)

    def model(noise: float) -> np.ndarray:
        return (truth + noise * (mistakes + 0.3 * random.normal(size=truth.shape))).astype(
            np.float32
        )

    taught = model(0.4) if teacher else None
    entries = []
    for name, noise in zip(TEXT_ARMS, (1.1, 0.95, 1.05, 1.13), strict=True):
        tests = [text_metrics(model(noise), labels, taught) for _ in range(seeds)]
        control = name.startswith("hard")
        objective = (
            {"hard_weight": 1.0, "soft_weight": 0.0}
            if control
            else {"hard_weight": 0.5, "soft_weight": 0.5}
        )
        entries.append(
            {
                "name": name,
                "student": "gpt 2 x 64",
                "params": 123_456,
                "transfer": "train",
                "views": "none",
                "objective": objective
                | {
                    "temperature": 1.0,
                    "soft": "kl",
                    "scale_by_t2": True,
                    "label_smoothing": 0.0,
                    "shuffled": name == "shuffled",
                    "teacher_share": 0.5,
                },
                "seeds": [{"seed": i, "val": dict(t), "test": t} for i, t in enumerate(tests)],
                "mean": spread(tests, lambda v: float(np.mean(v))),
                "sd": spread(tests, lambda v: float(np.std(v, ddof=1)) if len(v) > 1 else None),
                "control": control,
                "seconds": 41.5,
                "epochs": 24 if name == "hard-long" else 12,
            }
        )
    told = None
    if taught is not None:
        told = {
            "name": "gpt 6 x 192",
            "params": 2_901_888,
            "test": text_metrics(taught, labels, None),
        }
    compare = [compared_text(entries[control], entries[arm], told) for arm, control in TEXT_PAIRS]
    compare[0]["main"] = True
    summary = {
        "schema": 1,
        "recipe": "text-topics",
        "measure": "bits_per_byte",
        "classes": [],
        "data": {
            "name": "python topics",
            "classes": VOCABULARY,
            "train": 900,
            "val": blocks,
            "test": blocks,
            "tokenizer": "bpe-50",
            "block": BLOCK,
            "bytes": {"test": tokens * BYTES_A_TOKEN},
            "tokens": {"train": 900 * BLOCK, "val": tokens, "test": tokens},
        },
        "teacher": told,
        "arms": entries,
        "comparisons": compare,
        "epochs": 12,
        "batch_size": 32,
        "seconds": {
            "teacher": 310.0 * teacher,
            "store": 22.5 * teacher,
            "training": 166.0,
            "evaluation": 4.5,
            "total": 503.0,
        },
    }
    parse_summary(summary)
    folder = RunFolder(path)
    write_json(folder.summary, summary)
    store = {"rows": 900, "views": "none", "kind": "sampled", "k": 12, "record_bytes": 36}
    write_json(
        folder.manifest, {"limbeck": "0.1.0", "state": "finished", "stores": {"5ab1" * 16: store}}
    )
    folder.write_scalars(scalars(TEXT_ARMS, seeds, teacher, random))
    nll = {
        f"nll/students/{arm}/seed{seed}": np.ones((blocks, BLOCK), np.float32)
        for arm in TEXT_ARMS
        for seed in range(seeds)
    }
    np.savez(folder.predictions, **nll)
    return path
