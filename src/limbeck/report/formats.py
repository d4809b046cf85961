"""Number formats of the page and the terminal."""

import math
import re
from collections.abc import Callable
from typing import TypeGuard

MISSING = "–"
MINUS = "−"
_PARTS = re.compile(r"[^/,_ ]+[/,_ ]*|[/,_ ]+")
"""A part of a name, with the signs after which it may be broken."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def fixed(value: object, decimals: int, *, signed: bool = False) -> str:
    """A number with a fixed number of decimals, without a sign if all digits are 0."""
    if not is_number(value):
        return MISSING
    text = f"{abs(value):,.{decimals}f}"
    if is_zero(text):
        return text
    if value < 0:
        return MINUS + text
    return f"+{text}" if signed else text


def is_zero(text: str) -> bool:
    """Whether a formatted number has no digit but 0."""
    return not any(digit in text for digit in "123456789")


def count(value: object, *, signed: bool = False) -> str:
    """A number of errors: ``1,234`` if whole, else ``85.3``."""
    decimals = 0 if is_number(value) and float(value).is_integer() else 1
    return fixed(value, decimals, signed=signed)


def percent(value: object, decimals: int = 2) -> str:
    """A share as ``99.15 %``."""
    if not is_number(value):
        return MISSING
    return f"{fixed(100 * value, decimals)} %"


def share(value: object) -> str:
    """The relative size of a model: ``53.3 %``; a small share keeps two digits: ``0.050 %``."""
    if not is_number(value) or value < 0:
        return MISSING
    per_cent = 100 * value
    if per_cent >= 10:
        return percent(value, 0 if per_cent >= 99.95 else 1)
    if 0 < per_cent < 0.001:
        return "< 0.001 %"
    decimals = 1 if per_cent >= 1 or per_cent == 0 else 1 - math.floor(math.log10(per_cent))
    return percent(value, decimals)


def nats(value: object) -> str:
    """A small number with four decimals, one of at least 10 with two."""
    is_large = is_number(value) and abs(value) >= 10
    return fixed(value, 2 if is_large else 4)


def bits(value: object) -> str:
    """Bits per byte: ``2.341``."""
    return fixed(value, 3)


def perplexity(value: object) -> str:
    """A perplexity: ``5.07``, ``213.4``, ``18,204``, ``4e+300``."""
    if not is_number(value) or value < 100:
        return fixed(value, 2)
    if value < 1000:
        return fixed(value, 1)
    if value < 1e7:
        return fixed(value, 0)
    return f"{value:.0e}"


def seconds(value: object) -> str:
    """A duration: ``0.8 s``, ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if not is_number(value):
        return MISSING
    if 0 < value < 0.05:
        return "< 0.1 s"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def file_size(value: object) -> str:
    """Bytes as ``457 kB`` or ``5.1 MB``."""
    if not is_number(value):
        return MISSING
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        size = value / unit
        if size >= 10:
            return f"{size:,.0f} {name}"
        if size >= 1:
            return f"{size:.1f} {name}"
    return f"{value:.0f} B"


def p_value(value: object) -> str:
    """A p-value: ``p = 0.032`` or ``p < 0.0001``.

    Just below 0.05 it has more digits, so that rounding does not hide significance.
    """
    if not is_number(value):
        return f"p = {MISSING}"
    if value < 0.0001:
        return "p < 0.0001"
    if 0.04995 <= value < 0.05:
        return "p < 0.05"
    if value < 0.001 or 0.0495 <= value < 0.05:
        return f"p = {value:.4f}"
    if value < 0.1:
        return f"p = {value:.3f}"
    return f"p = {value:.2f}"


def bare_p_value(value: object) -> str:
    """A p-value in a table whose heading names it: ``0.032`` or ``< 0.0001``."""
    return p_value(value).removeprefix("p ").removeprefix("= ")


def seeds_and_splits(seeds: int, splits: int | None) -> str:
    """Numbers of seeds and of splits: ``10 seeds, 2 on each of 5 splits``."""
    text = plural(seeds, "seed")
    if not splits:
        return text
    if seeds == splits:
        return f"{text}, each on its own split"
    if seeds % splits == 0:
        return f"{text}, {seeds // splits} on each of {splits} splits"
    return f"{text} on {plural(splits, 'split')}"


def milliseconds(value: float) -> str:
    """A time in milliseconds with two digits: ``0.012 ms``, ``140 ms``."""
    return f"{value:.0f} ms" if value >= 100 else f"{value:.2g} ms"


def plural(number: int, noun: str) -> str:
    """A number and its noun: ``1 seed``, ``3 seeds``, ``1,200 samples``."""
    ending = "" if number == 1 else "s"
    return f"{number:,} {noun}{ending}"


def break_name(name: str, width: int) -> list[str]:
    """Break a name into lines after a ``/``, a comma, an underscore or a space.

    A part that is longer than the width stays in one piece.
    """
    lines = [""]
    for part in _PARTS.findall(name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += part
    return lines


def mean_and_sd(mean: object, sd: object) -> str:
    """Errors as ``85.3 ± 4.2``; the mean alone for a single seed."""
    if not is_number(sd):
        return count(mean)
    return f"{fixed(mean, 1)} ± {fixed(sd, 1)}"


def digits(value: object) -> str:
    """A number of any size with four digits: ``0.05213``, ``43.21``, ``18,204``."""
    if not is_number(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = 3 - math.floor(math.log10(abs(value)))
    if decimals > 8:
        return f"{value:.3g}"
    return fixed(value, max(0, decimals))


FORMATS: dict[str, Callable[[object], str]] = {
    "count": count,
    "percent": percent,
    "nats": nats,
    "seconds": seconds,
    "bits": bits,
    "perplexity": perplexity,
    "digits": digits,
}
"""Formats of the columns of the results table."""
