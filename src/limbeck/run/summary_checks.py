"""Checks of the content of ``summary.json``, which may come from someone else."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import UntrustedFileError
from limbeck.run.metrics import Metrics, TextMetrics

if TYPE_CHECKING:
    from limbeck.run.summary import Summary

MAX_VARIANCE = 1e100
MAX_SAMPLES = 10**15
"""Largest numbers that plans are computed from; what is above comes from no study."""


def check_schema(content: Mapping[str, Any], where: str, supported: int) -> None:
    """Check the version of the file format."""
    if "schema" not in content:
        raise UntrustedFileError(f"{where}: schema is missing.")
    schema = content["schema"]
    if isinstance(schema, bool) or not isinstance(schema, int):
        raise UntrustedFileError(f"{where}: schema should be an integer, found {schema!r}.")
    if schema != supported:
        raise UntrustedFileError(
            f"{where}: schema {schema} is not supported, expected {supported}. Update limbeck to "
            "read it."
        )


def check_deltas(summary: "Summary", where: str) -> None:
    """Check that each comparison has the differences in the measure of the study."""
    keys = [f"delta_{summary.measure}"]
    if summary.measure == "bits_per_byte":
        keys.append("delta_errors")
    for number, comparison in enumerate(summary.comparisons):
        for key in keys:
            if getattr(comparison, key) is None:
                raise UntrustedFileError(f"{where}: comparisons[{number}].{key} is missing.")


def check_text(summary: "Summary", where: str) -> None:
    """Check the keys that a study of text requires."""
    data = summary.data
    required: dict[str, Any] = {
        "data.tokenizer": data.tokenizer,
        "data.block": data.block,
        "data.tokens": data.tokens,
        "data.bytes": data.bytes,
    }
    for split in ("train", "val", "test"):
        required[f"data.tokens.{split}"] = (data.tokens or {}).get(split)
    required["data.bytes.test"] = (data.bytes or {}).get("test")
    for path, value in required.items():
        if value is None:
            raise UntrustedFileError(f"{where}: {path} is missing.")
    for path, metrics in _all_metrics(summary):
        if not isinstance(metrics, TextMetrics):
            raise UntrustedFileError(
                f"{where}: {path} needs bits_per_byte and perplexity; one of them is missing."
            )


def check_variances(summary: "Summary", where: str) -> None:
    """Check the numbers that plans are computed from."""
    for number, comparison in enumerate(summary.comparisons):
        parts = comparison.variances
        if parts is None:
            continue
        path = f"comparisons[{number}].variances"
        for value in (parts.seeds, parts.samples, parts.residual):
            if not 0 <= value <= MAX_VARIANCE:
                raise UntrustedFileError(f"{where}: {path} has a number below 0, or above 1e100.")
        if not 2 <= parts.number_of_samples <= MAX_SAMPLES:
            raise UntrustedFileError(
                f"{where}: {path}.number_of_samples should be from 2 to {MAX_SAMPLES:.0e}."
            )


def check_replacements(summary: "Summary", where: str) -> None:
    """Check that replacements name arms of the study."""
    names = {arm.name for arm in summary.arms}
    for number, entry in enumerate(summary.replacements or ()):
        for name in (entry.arm, entry.reference):
            if name is not None and name not in names:
                raise UntrustedFileError(
                    f"{where}: replacements[{number}] names {name[:40]!r}, which is no arm."
                )


def _all_metrics(summary: "Summary") -> Iterator[tuple[str, Metrics]]:
    """Yield the path and the value of all metrics in a summary."""
    if summary.teacher is not None:
        yield "teacher.test", summary.teacher.test
    for i, arm in enumerate(summary.arms):
        yield f"arms[{i}].mean", arm.mean
        yield f"arms[{i}].sd", arm.sd
        for j, seed in enumerate(arm.seeds):
            yield f"arms[{i}].seeds[{j}].val", seed.val
            yield f"arms[{i}].seeds[{j}].test", seed.test
