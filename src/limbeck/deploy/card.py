"""The model card of a bundle: what a run knows is filled in, what only a person can know is marked
TODO.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck._base.version import __version__
from limbeck.deploy.calibration import coverage
from limbeck.deploy.gate import Stage
from limbeck.report import wording


def model_card(
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    *,
    arm: str,
    seed: int,
    adjusted: str | None,
    by_hand: bool,
    stages: Sequence[Stage],
    class_names: Sequence[str],
    logits: np.ndarray,
    labels: np.ndarray,
    temperature: float,
) -> str:
    """The text of ``model_card.md``.

    Args:
        summary: of the run.
        manifest: of the run; of it only versions and dates are told, no command and no place.
        arm: of the student that is exported.
        seed: likewise.
        adjusted: how constants were set that are added to its logits; None where there are none.
        by_hand: whether somebody named arm or seed.
        stages: what the gate found.
        class_names: in the order of the logits.
        logits: of the validation samples, ``[N, classes]``.
        labels: of these.
        temperature: of the confidences.
    """
    data, entry = summary["data"], next(entry for entry in summary["arms"] if entry["name"] == arm)
    distilled, wrong = not entry.get("control") and summary["teacher"] is not None, stages[0].errors
    how = (
        "made by knowledge distillation"
        if distilled
        else "trained on labels, without a teacher (a control),"
    )
    parts = [
        f"# Model card: {_plain(summary['recipe'])}, {_plain(arm)}",
        f"A classifier of {len(class_names):,} classes ({_some(class_names)}) with "
        f"{entry['params']:,} parameters "
        f"({_plain(entry['student'])}), {how} with limbeck {__version__}{_day(manifest)}. Of "
        f"{data['test']:,} test "
        f"samples it gets {wrong:,} wrong ({wording.percent(1 - wrong / data['test'])} right).",
        *(
            [
                f"Constants are added to its logits, set by `bias={adjusted}` after training; the "
                "results of the arms below "
                "are without."
            ]
            if adjusted
            else []
        ),
        "## Intended use",
        "TODO: who should use it, for what, on which images; what it must not be used for; who "
        "answers for it.",
        "## Training data",
        f"{_plain(_last_part(data['name']))}: {data['train']:,} samples to train, {data['val']:,} "
        "to validate, "
        f"{data['test']:,} to test. "
        f"This student saw: {entry['transfer']}; {entry.get('views') or 'no views'}.",
        "TODO: where the data is from, whom it shows and whom not, its licence, consent, known "
        "gaps.",
        "## How it was made",
        _made(summary, entry),
        _arms(summary, arm),
        *(
            f"**{sentence}**"
            for verdict, sentence in wording.headlines(summary)
            if verdict != "none"
        ),
        *(f"* {warning}" for warning in summary.get("warnings") or []),
        f"In this bundle: arm {_plain(arm)}, seed {seed}, "
        + (
            "named by whoever exported it."
            if by_hand
            else "chosen on the validation split; the test split had no say."
        ),
        "## What was checked at export",
        f"The student and each exported model answered all {data['test']:,} test samples.",
        _gate(stages),
        "`python run.py verify` repeats this on a device for 16 drawn inputs; no sample of the "
        "data is in this bundle.",
        "## How sure it is",
        f"Confidences are the softmax of the logits divided by {temperature:.3f}, fitted on the "
        "validation split. On "
        "that split, where no answer is given below a confidence (`--abstain`):",
        _coverage(logits, labels, temperature),
        "## Limits",
        "* Always one of the classes above: it does not know that an image shows none of them.",
        "* Images unlike those of the training data (another camera, background, orientation, "
        "contrast) lower the "
        "numbers above by an amount that nobody has measured.",
        *(["* Its teacher's mistakes and biases may have been passed on."] if distilled else []),
        "* Errors are not the same for all classes:",
        _recall(logits, labels, class_names),
        "TODO: harms that a wrong answer can do, groups for which it was not checked, how it is "
        "watched in use.",
        "## Licence and contact",
        "TODO: licence of the model and of the data; whom to ask.",
    ]
    return "\n\n".join(parts) + "\n"


def _some(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(_plain, names[:most])) + more


def _last_part(name: str) -> str:
    """Of a name that is a path."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def _plain(text: object) -> str:
    """A name on one line that means nothing in Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def _day(manifest: Mapping[str, Any]) -> str:
    finished = manifest.get("finished")
    return f" on {finished[:10]}" if isinstance(finished, str) and len(finished) >= 10 else ""


def _made(summary: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    teacher = summary["teacher"]
    taught = (
        "There was no teacher."
        if teacher is None
        else (
            f"Teacher: {_plain(teacher['name'])}, {teacher['params']:,} parameters, "
            f"{teacher['test']['errors']:,} test errors."
        )
    )
    return (
        f"{taught} Student: {_plain(entry['student'])}, {entry['params']:,} parameters. Objective: "
        f"{wording.objective(entry['objective'])}. {summary.get('epochs')} epochs, batches of "
        f"{summary.get('batch_size')}, {wording.optimizer(entry.get('optimizer') or {})}."
    )


def _arms(summary: Mapping[str, Any], arm: str) -> str:
    rows = [["arm", "learns from", "test errors", "accuracy"]]
    for found in summary["arms"][:20]:
        name = f"**{_plain(found['name'])}**" if found["name"] == arm else _plain(found["name"])
        errors = wording.mean_and_sd(found["mean"]["errors"], found["sd"]["errors"])
        rows.append(
            [
                name,
                wording.objective(found["objective"]),
                errors,
                wording.percent(found["mean"]["accuracy"]),
            ]
        )
    return _table(rows)


def _gate(stages: Sequence[Stage]) -> str:
    rows = [["stage", "test errors", "largest difference of logits", "other top class"]]
    rows += [[s.name, f"{s.errors:,}", f"{s.difference:.2g}", f"{s.changed:,}"] for s in stages]
    return _table(rows)


def _coverage(logits: np.ndarray, labels: np.ndarray, temperature: float) -> str:
    rows = [["confidence at least", "answered", "of these wrong"]]
    for threshold, answered, wrong in coverage(logits, labels, temperature):
        rows.append([f"{threshold:g}", wording.percent(answered, 1), wording.percent(wrong)])
    return _table(rows)


def _recall(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> str:
    """The classes with the lowest share of right answers on the validation split."""
    right = logits.argmax(1) == labels
    found = [
        (float(right[labels == k].mean()), k)
        for k in range(len(class_names))
        if (labels == k).any()
    ]
    rows = [["class (validation)", "samples", "right"]]
    for share, k in sorted(found)[:10]:
        rows.append(
            [_plain(class_names[k]), f"{int((labels == k).sum()):,}", wording.percent(share, 1)]
        )
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    )
