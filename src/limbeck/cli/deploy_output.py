"""``limbeck export``: settings of the command line, and what is said at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from limbeck._base.checks import closest
from limbeck._base.errors import ConfigError
from limbeck.deploy.export import Exported
from limbeck.report import cost

EXPORT: Mapping[str, tuple[type, str]] = {
    "to": (str, "to=FOLDER"),
    "arm": (str, "arm=soft"),
    "seed": (int, "seed=0"),
    "int8": (bool, "int8=false"),
    "int8_share": (float, "int8_share=0.002"),
    "adjusted": (str, "adjusted=prior"),
    "zipped": (bool, "zipped=false"),
    "overwrite": (bool, "overwrite=true"),
}
"""The settings of ``limbeck export``, their types and an example of each."""

DEMO: Mapping[str, tuple[type, str]] = {
    "port": (int, "port=8000"),
    "arm": (str, "arm=soft"),
    "seed": (int, "seed=0"),
}
SAMPLE: Mapping[str, tuple[type, str]] = {
    "tokens": (int, "tokens=200"),
    "temperature": (float, "temperature=0.8"),
    "seed": (int, "seed=0"),
    "arm": (str, "arm=soft"),
}


def read_settings(words: Sequence[str], known: Mapping[str, tuple[type, str]]) -> dict[str, Any]:
    """Settings given as ``KEY=VALUE``.

    Raises:
        ConfigError: a key is unknown or given twice, or a value is of another type.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in known:
            near = closest(key, known)
            hint = f"; did you mean {known[near][1]}?" if near else "."
            raise ConfigError(f"unknown setting {word}{hint} Known: {', '.join(known)}.")
        if key in found:
            raise ConfigError(f"{key} is given twice.")
        found[key] = _value(key, text, *known[key])
    return found


def _value(key: str, text: str, kind: type, example: str) -> Any:
    if kind is str:
        if not text:
            raise ConfigError(f"{key}= is empty; as in {example}.")
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    fits = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
    if not fits or (kind is not bool and isinstance(value, bool)):
        words = {bool: "true or false", int: "a whole number", float: "a number"}
        raise ConfigError(f"{key}={text} should be {words[kind]}, as in {example}.")
    return value


def told(exported: Exported) -> str:
    """What ``limbeck export`` prints at the end."""
    size = sum(file.stat().st_size for file in exported.folder.iterdir())
    lines = [
        str(exported),
        "",
        f"bundle: {exported.folder} ({size / 1e6:.1f} MB): arm {exported.arm}, seed "
        f"{exported.seed}",
    ]
    if exported.zipped is not None:
        lines.append(f"zipped: {exported.zipped} ({exported.zipped.stat().st_size / 1e6:.1f} MB)")
    lines.append(f"on the device: python {Path(exported.folder.name) / 'run.py'} verify")
    return "\n".join(lines)


def cost_table(content: Mapping[str, Any]) -> str:
    """``cost.json`` as lines of text."""
    table = [
        [cell.partition("\n")[0] for cell in row]
        for row in [cost.heading(content), *cost.rows(content)]
    ]
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if k < 2 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join([*lines, cost.note(content)])
