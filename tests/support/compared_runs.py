"""Run folders with students whose errors are known, to be compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from limbeck._base.files import write_json
from limbeck.run.folder import RunFolder
from limbeck.run.summary import DataFacts, SeedResult, write_summary
from support.summaries import (
    make_arm,
    make_comparison,
    make_control,
    make_metrics,
    make_summary,
    make_text_summary,
)

SAMPLES = 400
DATA = DataFacts(name="digits", classes=2, train=1097, val=200, test=SAMPLES)


def wrong(rate, seed):
    """Errors on the test samples, of which the first are the most difficult."""
    difficulty = np.linspace(1.8, 0.2, SAMPLES)
    return np.random.default_rng(seed).random(SAMPLES) < rate * difficulty


def finish(folder, summary, arrays, digest="a" * 64, **facts):
    run = RunFolder(folder)
    write_summary(run, summary)
    np.savez(run.predictions, **arrays)
    manifest = {
        "recipe": summary.recipe,
        "seeds": [],
        "state": "finished",
        "started": "2030-01-01T10:00:00+00:00",
        "digests": {"data": digest, "teacher": "b" * 64},
        **facts,
    }
    write_json(run.manifest, manifest)
    return Path(folder)


def make_run(folder, *, soft=0.1, seeds=(0, 1, 2), hard=0.2, shift=0, summary=None, **options):
    """Write a run of images with the arms hard and soft.

    Args:
        folder: Run folder.
        soft: Error rate of the arm soft.
        seeds: Seeds of the students.
        hard: Error rate of the control.
        shift: Number that makes the students of the arm soft other ones.
        summary: Further content of the summary.
        options: Digest of the data, and other content of the manifest.
    """
    rates = {"hard": (hard, 0), "soft": (soft, 1000 + shift)}
    labels = np.arange(SAMPLES) % 2
    arrays, arms = {"labels": labels}, []
    for name, (rate, start) in rates.items():
        errors = [wrong(rate, start + seed) for seed in seeds]
        for seed, errs in zip(seeds, errors, strict=True):
            arrays[f"students/{name}/seed{seed}"] = np.eye(2, dtype="f4")[labels ^ errs]
        make = make_control if name == "hard" else make_arm
        arm = make(name, [int(errs.sum()) for errs in errors])
        numbered = [replace(entry, seed=seed) for entry, seed in zip(arm.seeds, seeds, strict=True)]
        arms.append(replace(arm, seeds=tuple(numbered)))
    comparison = make_comparison("soft", "hard", main=True)
    facts = {"data": DATA, "batch_size": 64, **(summary or {})}
    return finish(folder, make_summary(arms, [comparison], **facts), arrays, **options)


def make_text_run(folder, scale, *, blocks=60, **options):
    """Write a run of text whose arm soft has a known NLL of each token; return the NLL, too."""
    nll = scale * np.random.default_rng(0).random((3, blocks, 16)).astype("f4")
    nll += 0.1 * np.random.default_rng(int(100 * scale)).random(nll.shape).astype("f4")
    bits = [float(part.sum() / np.log(2) / 4000) for part in nll]
    test = make_metrics(10, bits_per_byte=bits[0])
    arm = make_arm("soft", [10, 10, 10], bits=bits)
    seeds = tuple(SeedResult(seed=seed, val=test, test=test) for seed in range(3))
    summary = make_text_summary([replace(arm, seeds=seeds)])
    summary = replace(summary, data=replace(summary.data, test=blocks, bytes={"test": 4000}))
    arrays = {f"nll/students/soft/seed{seed}": nll[seed] for seed in range(3)}
    return finish(folder, summary, arrays, **options), nll
