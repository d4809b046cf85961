"""Summaries of studies, made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.run.comparison import Comparison, Delta, GapClosed
from limbeck.run.metrics import Metrics, TextMetrics
from limbeck.run.summary import (
    ArmResult,
    DataFacts,
    Seconds,
    SeedResult,
    Summary,
    TeacherResult,
)

SECONDS = Seconds(teacher=31.5, store=2.25, training=185.0, evaluation=1.5, total=221.0)
IMAGES = DataFacts(name="digits", classes=10, train=1097, val=200, test=500)
TEXT = DataFacts(
    name="letters",
    classes=256,
    train=90,
    val=5,
    test=63,
    tokenizer="bytes",
    block=64,
    tokens={"train": 5760, "val": 320, "test": 4032},
    bytes={"test": 1_234_567},
)


def make_metrics(errors: float | None, **values: float | None) -> Metrics:
    """Metrics with so many errors; those of text if ``bits_per_byte`` is among the values."""
    defaults = {"accuracy": 0.9, "nll": 0.3, "ece": 0.1, "agreement": None, "kl_to_teacher": None}
    if "bits_per_byte" in values:
        return TextMetrics(errors=errors, **{**defaults, "perplexity": 8.0, **values})
    return Metrics(errors=errors, **{**defaults, **values})


def make_arm(
    name: str,
    errors: Sequence[float],
    *,
    val: float | None = None,
    bits: Sequence[float] | None = None,
    objective: dict[str, Any] | None = None,
    **fields: Any,
) -> ArmResult:
    """An arm with these test errors, seed by seed.

    Args:
        name: Name of the arm.
        errors: Test errors of each seed.
        val: Validation errors of every seed; by default the test errors.
        bits: Bits per byte of each seed, on both splits.
        objective: Settings of the objective that differ from those of soft targets.
        fields: Further fields of the record.
    """
    settings = {"hard_weight": 0.1, "soft_weight": 0.9, "temperature": 4.0, "soft": "kl"}
    settings |= objective or {}
    seeds = []
    for seed, wrong in enumerate(errors):
        values = {} if bits is None else {"bits_per_byte": bits[seed]}
        test = make_metrics(wrong, **values)
        seeds.append(
            SeedResult(
                seed=seed, val=make_metrics(wrong if val is None else val, **values), test=test
            )
        )
    means = {} if bits is None else {"bits_per_byte": float(np.mean(bits))}
    sds = {} if bits is None else {"bits_per_byte": _sd(bits)}
    params = fields.pop("params", 100)
    return ArmResult(
        **{
            "name": name,
            "student": f"mlp {params}",
            "params": params,
            "control": settings["soft_weight"] == 0,
            "objective": settings,
            "transfer": "all",
            "views": "none",
            "optimizer": {"name": "adam", "lr": 0.001},
            "seeds": tuple(seeds),
            "mean": make_metrics(float(np.mean(errors)), **means),
            "sd": make_metrics(_sd(errors), **sds),
            **fields,
        }
    )


def make_control(name: str, errors: Sequence[float], **fields: Any) -> ArmResult:
    """An arm that learns from labels alone."""
    return make_arm(name, errors, objective={"soft_weight": 0.0, "hard_weight": 1.0}, **fields)


def make_comparison(arm: str, control: str, **fields: Any) -> Comparison:
    """A comparison; by default of errors, with the verdict "helps"."""
    defaults = {
        "delta_errors": Delta(mean=-23.333, ci95=(-30.1, -16.5), per_seed=(-25, -20, -25)),
        "p_value": 0.00041,
        "gap_closed": GapClosed(errors=0.62, nll=0.5),
        "verdict": "helps",
        "main": False,
    }
    return Comparison(arm=arm, control=control, **{**defaults, **fields})


def make_summary(
    arms: Sequence[ArmResult] = (), comparisons: Sequence[Comparison] = (), **fields: Any
) -> Summary:
    """A summary of a study of images, with a teacher that makes 7 errors."""
    teacher = TeacherResult(name="big", params=9000, test=make_metrics(7))
    defaults = {"recipe": "made", "data": IMAGES, "teacher": teacher, "seconds": SECONDS}
    return Summary(arms=tuple(arms), comparisons=tuple(comparisons), **{**defaults, **fields})


def make_text_summary(
    arms: Sequence[ArmResult] = (), comparisons: Sequence[Comparison] = (), **fields: Any
) -> Summary:
    """A summary of a study of text, with a teacher that needs 2.1 bits per byte."""
    test = make_metrics(10, bits_per_byte=2.1)
    teacher = TeacherResult(name="gpt", params=9000, test=test)
    defaults = {"measure": "bits_per_byte", "data": TEXT, "teacher": teacher}
    return make_summary(arms, comparisons, **{**defaults, **fields})


def make_sweep(
    temperatures: Sequence[float] = (1, 4, 20),
    weights: Sequence[float] = (0.1, 0.9),
    sizes: Sequence[int] = (100,),
) -> Summary:
    """A sweep over temperature, soft weight and size, each size with a control.

    Test errors are 10 T + 100 weight + 1000 / size; the validation split prefers the largest T.
    """
    arms, comparisons = [], []
    for size in sizes:
        suffix = f",hidden={size}" if len(sizes) > 1 else ""
        control = f"hard{suffix}"
        arms.append(make_control(control, [200 + size, 210 + size], params=size))
        for temperature in temperatures:
            for weight in weights:
                name = f"soft,temperature={temperature},soft_weight={weight}{suffix}"
                mean = 10 * temperature + 100 * weight + 1000 / size
                objective = {"temperature": temperature, "soft_weight": weight}
                val = 1000 - temperature - weight
                errors = [mean - 1, mean + 1]
                arms.append(make_arm(name, errors, val=val, params=size, objective=objective))
                comparisons.append(make_comparison(name, control))
    return make_summary(arms, comparisons)


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
