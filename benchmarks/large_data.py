"""Claim: a study of 1,000,000 images of 32 x 32, and one of 10 GB of text, need less than 2 GB of
memory, and at most 1.2 times the time of the same study with the data in memory. n = 3.

``limbeck run`` trains with two seeds for one epoch in a separate process, with
``data.in_memory=false`` and ``true`` in alternation. The images have random pixels around ten
patterns, and lie in a Parquet file; a teacher, the control and the distilled student see all of
them. The text repeats the paragraphs of Python's manual in random order; a language model without a
teacher is trained on 20,000 of its blocks, which lie anywhere in it.
The cache of images and tokens is written by a first run of each, whose peak counts too. The time is
that of the teacher, its answers, the students and the evaluation, as the manifest has it. The peak
is that of the resident memory of the process tree, as in memory.py: it includes pages of mapped
files, and the 1.3 GB that a study of a few images needs.

The folder (``--folder``) needs 10 GB for the images, and 25 GB for the text.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import VERDICTS, arguments, write_json
from memory import watch

from limbeck.data.text.files import python_topics
from limbeck.data.text.training import train_bpe

MOST, SLOWEST = 2.0, 1.2
"""Goals: gigabytes of memory, and the ratio of the times."""
IMAGES, TEXT_BYTES, BLOCKS = 1_000_000, 10e9, 20_000
SHORT = 1 / 500
"""Share of these sizes in the short version."""
AT_ONCE, VOCABULARY = 10_000, 4096
ON_DISK, IN_MEMORY = "on the disk", "in memory"


@dataclass(frozen=True)
class Study:
    """A study of drawn data.

    Attributes:
        name: Name for the table.
        draw: Function that writes the data to a file.
        settings: Function from the file to the settings of the study.
    """

    name: str
    draw: Callable[[Path], None]
    settings: Callable[[Path], list[str]]


def draw_images(file: Path, count: int) -> None:
    """Write images of ten classes as PPM files in a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    patterns = random.integers(60, 196, (10, 32, 32, 3), dtype=np.int16)
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    with pq.ParquetWriter(file, schema, compression="none") as writer:
        for first in range(0, count, AT_ONCE):
            labels = random.integers(0, 10, min(AT_ONCE, count - first))
            noise = random.integers(-60, 61, (len(labels), 32, 32, 3), dtype=np.int16)
            pixels = (patterns[labels] + noise).clip(0, 255).astype(np.uint8)
            images = [b"P6 32 32 255\n" + image.tobytes() for image in pixels]
            names = [f"class {label}" for label in labels]
            writer.write_table(pa.table([images, names], schema=schema), row_group_size=5000)


def draw_text(file: Path, size: float) -> None:
    """Write the paragraphs of Python's manual again and again, each time in another order."""
    paragraphs = python_topics().split(b"\n\n")
    with file.open("wb") as stream:
        while stream.tell() < size:
            order = np.random.default_rng(stream.tell()).permutation(len(paragraphs))
            stream.write(b"\n\n".join(paragraphs[number] for number in order) + b"\n\n")
    tokenizer = train_bpe([python_topics().decode()], VOCABULARY)
    (file.parent / "tokenizer.json").write_text(tokenizer.definition, encoding="utf-8")


def image_settings(file: Path) -> list[str]:
    """Return the settings of a study of images."""
    return [
        "data=image_table",
        f"data.root={file}",
        "data.size=32",
        "teacher=mlp",
        "teacher.epochs=1",
        "epochs=1",
    ]


def text_settings(file: Path, blocks: int) -> list[str]:
    """Return the settings of a study of text, whose validation and test splits are small."""
    return [
        "data=text",
        f"data.path={file}",
        f"data.tokenizer={file.parent / 'tokenizer.json'}",
        "data.val=0.0005",
        "data.test=0.0005",
        "teacher=none",
        "student=gpt",
        "student.width=32",
        "~arms.soft",
        f"transfer.samples={blocks}",
        "batch_size=32",
        "epochs=1",
    ]


def studies(options: argparse.Namespace) -> Iterator[Study]:
    """Yield the studies to measure."""
    share = SHORT if options.short else options.share
    images, size, blocks = int(IMAGES * share), TEXT_BYTES * share, int(BLOCKS * share)
    if "images" in options.kinds:
        yield Study(f"{images:,} images", lambda file: draw_images(file, images), image_settings)
    if "text" in options.kinds:
        yield Study(
            f"{size / 1e9:g} GB of text",
            lambda file: draw_text(file, size),
            lambda file: text_settings(file, blocks),
        )


def run(settings: list[str], folder: Path, *, in_memory: bool) -> tuple[int, float]:
    """Return the peak memory of a study in bytes, and the seconds of its stages."""
    for name in ("run", "store"):
        shutil.rmtree(folder / name, ignore_errors=True)
    setting = f"data.in_memory={str(in_memory).lower()}"
    common = ["seeds=2", setting, f"out={folder / 'run'}"]
    peak, _ = watch([sys.executable, "-m", "limbeck", "run", *settings, *common])
    manifest = json.loads((folder / "run" / "manifest.json").read_text(encoding="utf-8"))
    return peak, sum(manifest["seconds"].values())


def measure(study: Study, folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the peaks in GB and the seconds of all runs of a study."""
    os.environ["LIMBECK_CACHE"] = str(folder / "cache")
    os.environ["LIMBECK_STORE"] = str(folder / "store")
    file = folder / "data"
    study.draw(file)
    settings = study.settings(file)
    results: dict[str, list[float]] = {}
    peak, _ = run(settings, folder, in_memory=False)
    results["first run, GB"] = [peak / 1e9]
    for _ in range(1 if options.short else options.repeats):
        for place in (ON_DISK, IN_MEMORY):
            peak, seconds = run(settings, folder, in_memory=place == IN_MEMORY)
            results.setdefault(f"{place}, GB", []).append(peak / 1e9)
            results.setdefault(f"{place}, s", []).append(seconds)
    return results


def judge(name: str, results: dict[str, list[float]], *, short: bool) -> list[dict[str, Any]]:
    """Print what was measured, and return how it compares with the goals."""
    for what, values in results.items():
        listing = ", ".join(f"{value:.2f}" for value in values)
        print(f"  {name}, {what + ':':<20} {listing}", flush=True)
    peaks = results["first run, GB"] + results[f"{ON_DISK}, GB"]
    pairs = zip(results[f"{ON_DISK}, s"], results[f"{IN_MEMORY}, s"], strict=True)
    ratios = [on_disk / in_memory for on_disk, in_memory in pairs]
    goals = []
    for what, values, number, most in (
        ("peak on the disk, GB", peaks, max(peaks), MOST),
        ("time on the disk / in memory", ratios, statistics.median(ratios), SLOWEST),
    ):
        met = None if short else number <= most
        print(f"  {name}, {what}: {number:.2f}, at most {most:g}: {VERDICTS[met]}", flush=True)
        goals.append(
            {
                "over": f"{name}, {what}",
                "under": "",
                "goal": f"at most {most:g}",
                "ratios": values,
                "median": number,
                "met": met,
            }
        )
    return goals


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--folder", type=Path, help="a folder on a disk with room")
        parser.add_argument("--share", type=float, default=1.0, help="share of the whole size")
        parser.add_argument("--kinds", nargs="+", default=["images", "text"])

    options = arguments(__doc__, repeats=3, add=add)
    print(options.claim)
    measured, goals = {}, []
    for study in studies(options):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            measured[study.name] = measure(study, Path(folder), options)
        goals += judge(study.name, measured[study.name], short=options.short)
    write_json(options, measured=measured, goals=goals)


if __name__ == "__main__":
    main()
