"""Kinds of answers: their detection, their checks, and their conversion to logits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.columns import LOG_PROBABILITIES, LOGITS, PROBABILITIES
from limbeck.teacher.answer_files.table import AnswerTable

TOLERANCE = 0.02
"""Largest difference between 1 and the sum of the probabilities of a row, which may be rounded."""
FLOOR = 1e-7
"""Probability in place of zero, unless the file has smaller ones."""
PART_ROWS = 1 << 14


@dataclass(frozen=True)
class Ranges:
    """Ranges of the values of a table.

    Attributes:
        low: Smallest value; -inf does not count.
        high: Largest value.
        smallest: Smallest value above zero; infinite if there is none.
        sums: Sum of each row, ``[N]``.
        log_sums: Log of the sum of the exponentials of each row, ``[N]``.
        zeros: Number of rows with a zero.
        infinite: Number of rows with -inf.
    """

    low: float
    high: float
    smallest: float
    sums: NDArray
    log_sums: NDArray
    zeros: int
    infinite: int


def measure(table: AnswerTable) -> Ranges:
    """Compute the ranges of the values of a table.

    Raises:
        TeacherError: If a value is NaN or +inf.
    """
    assert table.values is not None
    low, high, smallest = np.inf, -np.inf, np.inf
    sums, log_sums = [], []
    zeros = infinite = 0
    for first, part in _parts(table.values):
        top = part.max(1)
        invalid = ~(top < np.inf)  # NaN is not below anything
        if invalid.any():
            row = first + int(invalid.argmax())
            value = "NaN" if np.isnan(table.values[row]).any() else "an infinite number"
            raise TeacherError(
                f"{table.where}: {table.name_of(row)} contains {value}. Remove or repair it."
            )
        is_finite = part > -np.inf
        low = min(low, float(part.min(where=is_finite, initial=np.inf)))
        high = max(high, float(top.max()))
        smallest = min(smallest, float(part.min(where=part > 0, initial=np.inf)))
        zeros += int((part == 0).any(1).sum())
        infinite += int((~is_finite).any(1).sum())
        sums.append(part.sum(1, dtype=np.float64))
        shift = np.where(top > -np.inf, top, 0.0)[:, None]
        with np.errstate(divide="ignore"):
            total = np.log(np.exp(part - shift).sum(1, dtype=np.float64))
        log_sums.append(total + shift[:, 0])
    return Ranges(
        low, high, smallest, np.concatenate(sums), np.concatenate(log_sums), zeros, infinite
    )


def detect_kind(table: AnswerTable, ranges: Ranges) -> str:
    """Detect what the values of a table are.

    Values from 0 to 1 whose rows sum to one are probabilities; values of at most 0 whose
    exponentials do are log-probabilities; others are logits. The most probable classes of a row
    may sum to less.

    Raises:
        TeacherError: If values from 0 to 1 do not sum to one, so that they might be either.
    """
    is_top = table.top is not None
    if ranges.low >= 0 and ranges.high <= 1 + 1e-6:
        if _share(ranges.sums, is_top) > 0.5:
            return PROBABILITIES
        row = int(np.abs(ranges.sums - 1).argmax())
        raise TeacherError(
            f"{table.where}: the values are between 0 and 1, but the rows do not sum to one (that "
            f"of {table.name_of(row)} to {ranges.sums[row]:.4g}), so they are no probabilities. "
            "If they are logits, say so with teacher.kind=logits."
        )
    if ranges.high <= 1e-6 and _share(np.exp(ranges.log_sums), is_top) > 0.5:
        return LOG_PROBABILITIES
    return LOGITS


def check_kind(table: AnswerTable, ranges: Ranges, kind: str) -> None:
    """Check that values are what they are said to be.

    Raises:
        TeacherError: If a probability is below 0 or above 1, a row does not sum to one, or a logit
            is infinite.
    """
    if kind == LOGITS:
        if ranges.infinite:
            raise TeacherError(
                f"{table.where}: {ranges.infinite} rows have a logit of -inf. Give such a class a "
                "finite one, such as the smallest of the row minus 20."
            )
        return
    sums, name = ranges.sums, "probabilities"
    is_valid = ranges.low >= 0 and ranges.infinite == 0
    if kind == LOG_PROBABILITIES:
        sums, name = np.exp(ranges.log_sums), "log-probabilities"
        is_valid = ranges.high <= 1e-6
    if not is_valid:
        raise TeacherError(
            f"{table.where}: values from {ranges.low:.4g} to {ranges.high:.4g} are no {name}. If "
            "they are logits, say so with teacher.kind=logits."
        )
    wrong = ~_sums_to_one(sums, table.top is not None)
    if wrong.any():
        row = int(wrong.argmax())
        raise TeacherError(
            f"{table.where}: the {name} of {int(wrong.sum())} rows do not sum to one, such as "
            f"{table.name_of(row)} with {sums[row]:.4g}. Divide each row by its sum."
        )


def as_log_probabilities(values: NDArray, ranges: Ranges, kind: str) -> tuple[NDArray, list[str]]:
    """Convert values to logits: probabilities to their logs, with a floor for zeros.

    Args:
        values: Values ``[N, K]``, float32.
        ranges: Their ranges.
        kind: Kind of the values.

    Returns:
        Logits ``[N, K]``, the values themselves if nothing has to change; and sentences about what
        was changed.
    """
    if kind == LOGITS:
        return values, []
    if kind == LOG_PROBABILITIES:
        if not ranges.infinite:
            return values, []
        floor = min(np.log(FLOOR), ranges.low)
        return np.maximum(values, np.float32(floor)), [_floor_note(ranges.infinite, np.exp(floor))]
    floor = min(FLOOR, ranges.smallest)
    logits = np.empty(values.shape, np.float32)
    for first, part in _parts(values):
        logits[first : first + len(part)] = np.log(np.maximum(part, floor), dtype=np.float64)
    return logits, [_floor_note(ranges.zeros, floor)] if ranges.zeros else []


def _floor_note(rows: int, floor: float) -> str:
    noun = "row has" if rows == 1 else "rows have"
    return f"{rows:,} {noun} a probability of zero, which became {floor:.1g}"


def _sums_to_one(sums: NDArray, is_top: bool) -> NDArray:
    is_enough = sums > 0 if is_top else sums >= 1 - TOLERANCE
    return is_enough & (sums <= 1 + TOLERANCE)


def _share(sums: NDArray, is_top: bool) -> float:
    return float(_sums_to_one(sums, is_top).mean())


def _parts(values: NDArray) -> Iterator[tuple[int, NDArray]]:
    """Yield parts of the rows with their first row, so that no copy of all is needed."""
    for first in range(0, len(values), PART_ROWS):
        yield first, values[first : first + PART_ROWS]
