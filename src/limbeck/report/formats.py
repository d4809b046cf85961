"""How numbers look on the page and in the terminal."""

import math
from typing import Any

MISSING = "–"
MINUS = "−"


def known(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def count(value: Any, *, signed: bool = False) -> str:
    """A number of errors: ``1,234`` when whole, ``85.3`` otherwise."""
    return fixed(value, 0 if known(value) and float(value).is_integer() else 1, signed=signed)


def tenths(value: Any, *, signed: bool = False) -> str:
    """A mean number of errors, always with one decimal."""
    return fixed(value, 1, signed=signed)


def fixed(value: Any, decimals: int, *, signed: bool = False) -> str:
    """``value`` with so many decimals; no sign where they are all 0."""
    if not known(value):
        return MISSING
    text = f"{abs(value):,.{decimals}f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def percent(value: Any, decimals: int = 2) -> str:
    """A share as ``99.15 %``."""
    return f"{fixed(100 * value, decimals)} %" if known(value) else MISSING


def nats(value: Any) -> str:
    """A small quantity with four decimals, a large one with two."""
    return fixed(value, 4 if known(value) and abs(value) < 10 else 2)


def bits(value: Any) -> str:
    """Bits per byte: ``2.341``."""
    return fixed(value, 3)


def perplexity(value: Any) -> str:
    """``5.07``, ``213.4``, ``18,204``, ``4e+300``."""
    if known(value) and value >= 1e7:
        return f"{value:.0e}"
    return fixed(value, 2 if not known(value) or value < 100 else 1 if value < 1000 else 0)


def seconds(value: Any) -> str:
    """A duration: ``0.8 s``, ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if not known(value):
        return MISSING
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def p_value(value: Any) -> str:
    """``p = 0.032``, or ``p < 0.0001``."""
    if not known(value):
        return f"p = {MISSING}"
    if value < 0.0001:
        return "p < 0.0001"
    if 0.0495 <= value < 0.05:
        return f"p = {value:.4f}" if value < 0.04995 else "p < 0.05"
    if value < 0.001:
        return f"p = {value:.4f}"
    return f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``, ``1,200 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def mean_and_sd(mean: Any, sd: Any) -> str:
    """Errors as ``85.3 ± 4.2``; the mean alone where there is one seed."""
    return f"{tenths(mean)} ± {tenths(sd)}" if known(sd) else count(mean)


def cell(kind: str, value: Any) -> str:
    """The text of one number of the results table."""
    kinds = {
        "count": count,
        "percent": percent,
        "nats": nats,
        "seconds": seconds,
        "bits": bits,
        "perplexity": perplexity,
    }
    return kinds[kind](value)
