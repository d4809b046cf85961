"""Measure how fast the models of a bundle are on this device."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import BATCH_SIZE, Bundle
from .errors import RuntimeFailure
from .file_names import KINDS
from .machine import count_cores, peak_memory, processor_name
from .timing import seconds_of_calls, spread

FORMAT = 1
MAX_SECONDS = 60
"""Maximum duration of a measurement: the seconds of every call are kept."""
MAX_FACTOR = 5.0
"""Limit of a measurement of slow calls, as a multiple of its duration."""
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def bench(
    bundle_path: str | Path, *, threads: Sequence[int] | None = None, seconds: float = 1.0
) -> dict[str, Any]:
    """Measure the time of each model of a bundle for one input and for batches of them.

    Only the model is measured, without the reading of files. The inputs are the golden ones.

    Args:
        bundle_path: Folder or zip file of the bundle.
        threads: Numbers of threads; None for one and for the number of cores.
        seconds: Duration of each measurement in seconds.

    Returns:
        ``name`` of the bundle, ``device``, and ``measurements``: for each model and number of
        threads the seconds for one input (``latency``: median, low, high and number of calls) and
        inputs per second in batches (``throughput``).

    Raises:
        RuntimeFailure: If a number is out of range, or the bundle is damaged.
    """
    cores = count_cores()
    threads = sorted({1, cores}) if threads is None else list(threads)
    if not all(1 <= number <= 1024 for number in threads):
        raise RuntimeFailure("--threads should be from 1 to 1024.")
    if not 0 < seconds <= MAX_SECONDS:
        raise RuntimeFailure(f"--seconds should be above 0 and at most {MAX_SECONDS}.")
    bundle = Bundle(bundle_path)
    inputs = bundle.golden()["inputs"]
    batch = np.concatenate([inputs] * -(-BATCH_SIZE // len(inputs)))[:BATCH_SIZE]
    measurements = []
    for number in threads:
        for kind in bundle.kinds:
            model = bundle.load(kind, threads=number)
            times = []
            for some in (inputs[:1], batch):
                call = lambda model=model, some=some: model.logits(some)  # noqa: E731
                times.append(spread(seconds_of_calls(call, seconds, MAX_FACTOR * seconds)))
            single, batches = times
            measurements.append(
                {
                    "model": kind,
                    "bytes": len(bundle.read(KINDS[kind])),
                    "threads": number,
                    "latency": single._asdict(),
                    "batch": len(batch),
                    "throughput": len(batch) / batches.median,
                }
            )
    return {
        "format": FORMAT,
        "name": bundle.name,
        "device": _device(cores),
        "measurements": measurements,
    }


def describe(result: dict[str, Any]) -> list[str]:
    """Return the lines of a table of :func:`bench`."""
    device = result["device"]
    rows = [["model", "size", "threads", "one input", "10 to 90 % of calls", "in batches"]]
    for one in result["measurements"]:
        latency = one["latency"]
        rows.append(
            [
                KINDS[one["model"]],
                f"{one['bytes'] / 1000:,.1f} kB",
                str(one["threads"]),
                _duration(latency["median"]),
                f"{_duration(latency['low'])} to {_duration(latency['high'])}",
                f"{one['throughput']:,.0f} inputs/s",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    cores = "1 core" if device["cores"] == 1 else f"{device['cores']} cores"
    memory = "" if device["memory"] is None else f", peak memory {device['memory'] / 1e6:.0f} MB"
    return [
        f"{result['name']} on {device['processor']}, {cores}, ONNX Runtime "
        f"{device['onnxruntime']}{memory}",
        *lines,
    ]


def _device(cores: int) -> dict[str, Any]:
    """Return what is known of this device, and the peak memory of this process in bytes."""
    import onnxruntime

    return {
        "processor": processor_name(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "memory": peak_memory(),
    }


def _duration(seconds: float) -> str:
    """Return seconds in a unit that suits them."""
    fitting = [unit for unit in UNITS if seconds >= 0.9995 * unit[1]]  # 0.9997 is rounded to 1
    unit, size = (fitting or UNITS[-1:])[0]
    return f"{seconds / size:.3g} {unit}"
