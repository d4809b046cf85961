"""Claim: none. What 1,000 students, and the labelling of 1e9 images or 1e12 tokens, cost.

Time, network and storage on 1, 8, 64 and 1,024 GPUs, as the tables of ``docs/concepts/scale.md``.
Measured here, on one core: reading JPEG files, and writing answers. Everything about GPUs is an
assumption (``Assumptions``). The times are those of a simulation of the scheduler, with machines
that fail (``simulation.py``); medians of five simulations (``--short``: one).
"""

import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from common import arguments, fresh_folder
from PIL import Image
from simulation import Cluster, Outcome, simulate

from limbeck.teacher.answer_files.write import Block, open_writer

GPUS = (1, 8, 64, 1024)
BLOCKS_PER_GPU = 64
"""Smallest number of blocks of a labelling per GPU; more blocks lose less at failures."""
MOST_BLOCKS = 200_000


@dataclass(frozen=True)
class Assumptions:
    """What is assumed of the machines and the work.

    Attributes:
        flops: Operations per second that a model reaches on a GPU: 40 % of 300e12 in bfloat16.
        hours_between_failures: Mean time of a GPU between failures: 419 interruptions of 16,384
            GPUs in 54 days (Dubey et al. 2024, "The Llama 3 Herd of Models", table 5).
        per_machine: Number of GPUs of a machine.
        repair: Time until a machine is replaced, in seconds.
        start: Time until a worker has imported PyTorch and loaded its data, in seconds.
        link: Bytes per second of a machine's network, 25 Gbit/s.
        storage: Bytes per second of the object storage, for all machines together.
        cores: Cores of a machine that decode images.
        student: Time to train a student alone on a GPU, in seconds.
        share: Time that each further student of a cohort adds, as a share of the first one's; 64
            students of an MLP take 9.9 times as long as one (``cohort.py``, on a CPU).
        params: Number of parameters of a student, an MLP 784-800-800-10.
        samples: Bytes of samples and stored answers of the study, which each machine gets once.
        image: Bytes of an image file.
        image_flops: Operations per image: ViT-L/16 at 224 x 224, 61.6e9 multiply-adds.
        token_flops: Operations per token: two per parameter of a model of 8e9.
    """

    flops: float = 120e12
    hours_between_failures: float = 16_384 * 54 * 24 / 419
    per_machine: int = 8
    repair: float = 600.0
    start: float = 60.0
    link: float = 25e9 / 8
    storage: float = 100e9
    cores: int = 96
    student: float = 600.0
    share: float = 8.9 / 63
    params: float = 1.3e6
    samples: float = 5e9
    image: float = 100e3
    image_flops: float = 2 * 61.6e9
    token_flops: float = 2 * 8e9


@dataclass(frozen=True)
class Rates:
    """What one core of this machine does.

    Attributes:
        decode_rate: JPEG files of 500 x 375 pixels per second, decoded and resized to 224 x 224.
        write_rate: Answers of 1,000 classes per second, written as Parquet.
        answer: Bytes of such an answer on disk.
    """

    decode_rate: float
    write_rate: float
    answer: float


def measure(short: bool) -> Rates:
    """Measure the rates of one core."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (94, 125, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((500, 375), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    count = 10 if short else 300
    start = time.process_time()
    for _ in range(count):
        with Image.open(io.BytesIO(buffer.getvalue())) as image:
            np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
    decode_rate = count / (time.process_time() - start)

    rows = 500 if short else 8000
    logits = rng.standard_normal((rows, 1000)).astype(np.float32)
    ids = np.array([f"{number:012}" for number in range(rows)], dtype=object)
    with fresh_folder() as folder:
        file = Path(folder) / "answers.parquet"
        start = time.process_time()
        with open_writer(file, [f"c{number}" for number in range(1000)]) as writer:
            writer.add(Block(ids, "train", logits))
        write_rate = rows / (time.process_time() - start)
        size = file.stat().st_size / rows
    return Rates(decode_rate, write_rate, size)


def cluster_of(gpus: int, assumed: Assumptions, start: float) -> Cluster:
    """Return the cluster with a number of GPUs."""
    return Cluster(gpus, assumed.per_machine, assumed.hours_between_failures, start, assumed.repair)


def typical(
    tasks: list[float], cluster: Cluster, checkpoint: float, simulations: int
) -> tuple[float, Outcome]:
    """Return the median time of several simulations, and the outcome of the first."""
    outcomes = [
        simulate(tasks, cluster, checkpoint=checkpoint, seed=seed) for seed in range(simulations)
    ]
    return median(outcome.seconds for outcome in outcomes), outcomes[0]


def study_rows(assumed: Assumptions, simulations: int, students: int = 1000) -> list[list[str]]:
    """Compute the table of a study: the size of cohorts that is fastest for each number of GPUs."""
    rows = []
    for gpus in GPUS:
        machines = math.ceil(gpus / assumed.per_machine)
        # machines get the samples from each other, so that twice as many have them after each copy
        start = assumed.start + math.ceil(math.log2(machines) + 1) * assumed.samples / assumed.link
        cluster = cluster_of(gpus, assumed, start)
        options = []
        for size in (1, 2, 4, 8, 16, 32, 64):  # at most 100 million parameters
            duration = assumed.student * (1 + assumed.share * (size - 1))
            checkpoint = min(duration / 20, 60.0)
            tasks = [duration] * math.ceil(students / size)
            seconds, outcome = typical(tasks, cluster, checkpoint, simulations)
            # weights and both moments of Adam, in float32, go to the machine of the run folder
            traffic = students * assumed.params * 12 * duration / checkpoint
            seconds = max(seconds, traffic / assumed.link)
            options.append((seconds, size, sum(tasks), traffic, outcome))
        seconds, size, work, traffic, outcome = min(options, key=lambda option: option[0])
        rows.append(
            [
                f"{gpus:,}",
                f"{size}",
                duration_text(seconds),
                f"{gpus * seconds / 3600:,.0f}",
                f"{work / (gpus * seconds):.0%}",
                size_text(machines * assumed.samples + traffic),
                f"{traffic / seconds / assumed.link:.0%}",
                f"{outcome.rework / work:.2%}",
            ]
        )
    return rows


def labelling_rows(
    count: float, flops: float, read: float, answer: float, assumed: Assumptions, simulations: int
) -> list[list[str]]:
    """Compute the table of a labelling.

    Args:
        count: Number of inputs.
        flops: Operations per input.
        read: Bytes of an input.
        answer: Bytes of an answer.
        assumed: Assumptions.
        simulations: Number of simulations.
    """
    rows = []
    for gpus in GPUS:
        fastest = assumed.flops / flops
        rate = min(fastest, assumed.storage / (read + answer) / gpus)
        blocks = min(max(BLOCKS_PER_GPU * gpus, 20_000), MOST_BLOCKS)
        tasks = [count / blocks / rate] * blocks
        seconds, outcome = typical(
            tasks, cluster_of(gpus, assumed, assumed.start), math.inf, simulations
        )
        rows.append(
            [
                f"{gpus:,}",
                duration_text(seconds),
                f"{gpus * seconds / 3600:,.0f}",
                f"{count / fastest / (gpus * seconds):.0%}",
                f"{count / seconds * (read + answer) / 1e9:,.2f} GB/s",
                f"{outcome.failures:,}",
                f"{outcome.rework / sum(tasks):.3%}",
            ]
        )
    return rows


def duration_text(seconds: float) -> str:
    """Format a duration."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:,.1f} days"
    return f"{seconds / 3600:.1f} h" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} min"


def size_text(size: float) -> str:
    """Format a number of bytes."""
    units = ("kB", "MB", "GB", "TB")
    power = min(len(units), max(1, int(math.log10(size) // 3)))
    return f"{size / 1000**power:,.3g} {units[power - 1]}"


def print_table(heading: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    for row in [heading, ["---"] * len(heading), *rows]:
        print("| " + " | ".join(row) + " |")
    print()


def main() -> None:
    options = arguments(__doc__)
    simulations = 1 if options.short else 5
    assumed, rates = Assumptions(), measure(options.short)
    image_rate = assumed.flops / assumed.image_flops
    token_rate = assumed.flops / assumed.token_flops
    print(
        f"One core decodes {rates.decode_rate:,.0f} JPEG files per second and writes "
        f"{rates.write_rate:,.0f} answers of 1,000 classes ({rates.answer:,.0f} bytes each). A GPU "
        f"answers {image_rate:,.0f} images or {token_rate:,.0f} tokens per second, so it needs "
        f"{image_rate / rates.decode_rate:.1f} cores to decode images and "
        f"{image_rate / rates.write_rate:.2f} to write answers.\n"
    )
    print("A study of 1,000 students:\n")
    print_table(
        [
            "GPUs",
            "students per cohort",
            "time",
            "GPU hours",
            "GPUs at work",
            "network",
            "link of the run folder",
            "done twice",
        ],
        study_rows(assumed, simulations),
    )
    heading = ["GPUs", "time", "GPU hours", "GPUs at work", "storage", "blocks lost", "done twice"]
    count = 1e9
    input_size, answer_size = size_text(count * assumed.image), size_text(count * rates.answer)
    print(f"1e9 images: {input_size} to read, {answer_size} of answers:\n")
    print_table(
        heading,
        labelling_rows(
            count, assumed.image_flops, assumed.image, rates.answer, assumed, simulations
        ),
    )
    count, answer = 1e12, 48.0
    print(
        f"1e12 tokens: {size_text(4 * count)} to read, {size_text(answer * count)} of answers (12 "
        "sampled tokens of a large vocabulary):\n"
    )
    print_table(
        heading,
        labelling_rows(count, assumed.token_flops, 4.0, answer, assumed, simulations),
    )


if __name__ == "__main__":
    main()
