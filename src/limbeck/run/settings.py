"""``config.yaml``: the settings of a run, and what they mean in this version.

Settings of an earlier version are compared by meaning: objects have their present names, and a
setting that did not exist then, or no longer exists, is equal to its default.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import yaml

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck._base.reading import parse_yaml, read_bytes
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import read_manifest
from limbeck.run.renamed_targets import MOVED, REPLACED, with_renamed_targets

REMOVED: dict[str, Any] = {}
"""Defaults of settings that earlier versions had, such as ``{"objective.alpha": 0.5}``."""
MEANINGLESS = ("out", "overwrite", "launcher")
"""Settings, or groups of them, that do not affect the results."""
MEANINGLESS_KEYS = ("trainer.devices", "trainer.num_nodes")
"""Settings within groups that do not affect the results, up to rounding."""
MAX_DEPTH = 50
"""Largest depth of groups of settings."""
MAX_CHANGES = 5
"""Maximum number of changed settings in a message."""
_ABSENT = object()

Defaults = Mapping[str, Mapping[str, Any]]
"""Defaults of the settings of each section, such as ``objective``; "" for those outside sections.
"""


def read_settings(run: RunFolder) -> dict[str, Any]:
    """Read ``config.yaml`` of a run, as data: nothing is imported, built or resolved.

    Raises:
        ConfigError: If it is missing.
        UntrustedFileError: If it is damaged, or not the file that the run wrote.
    """
    file = run.config
    try:
        content = read_bytes(file)
    except FileNotFoundError:
        raise ConfigError(
            f"{file} is missing, so the settings of this run are not known. Restore it, or repeat "
            "the study with overwrite=true."
        ) from None
    except (IsADirectoryError, ValueError) as error:
        reason = "it is a folder" if isinstance(error, OSError) else error
        raise UntrustedFileError(f"{file} is damaged: {reason}.") from None
    files = read_manifest(run).files if run.manifest.exists() else None
    digest = (files or {}).get(file.name)
    if digest is not None and sha256(content).hexdigest() != digest:
        raise UntrustedFileError(
            f"{file} is damaged, or not the file that this run wrote: its SHA-256 differs from the "
            f"one in {run.manifest}. Restore it from a copy, or repeat the study with "
            "overwrite=true."
        )
    try:
        settings = parse_yaml(content.decode("utf-8"))
        check_values(settings)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UntrustedFileError(f"{file} is damaged: {reason}.") from None
    return settings


def check_values(settings: Any) -> None:
    """Check that parsed settings are what JSON can hold.

    Raises:
        ValueError: If they are not settings by name, or a value is of another type, such as a date.
    """
    if not isinstance(settings, dict):
        raise ValueError("it should contain settings by name")
    _check_value(settings, "", 0)


def _check_value(value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, (str, int)):
                raise ValueError(f"{path or 'it'} has the key {key!r}, which is no name")
            _check_value(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_value(inner, f"{path}[{number}]", depth + 1)
    elif value is not None and not isinstance(value, (str, int, float)):
        raise ValueError(f"{path} is a {type(value).__name__}")


def check_same_settings(run: RunFolder, settings: Mapping[str, Any], defaults: Defaults) -> None:
    """Check that a run was started with these settings, by their meaning.

    Args:
        run: Folder of a run that is resumed.
        settings: Its settings now.
        defaults: Defaults of the settings.

    Raises:
        ConfigError: If settings differ; the message names each.
        UntrustedFileError: If ``config.yaml`` is damaged.
    """
    changes = changed_settings(read_settings(run), settings, defaults)
    if not changes:
        return
    listing = "; ".join(changes[:MAX_CHANGES])
    if len(changes) > MAX_CHANGES:
        listing += f"; and {len(changes) - MAX_CHANGES} more"
    raise ConfigError(
        f"{run.path}: the settings differ from those with which this run was started: {listing}. "
        "Resume with the same settings, or start over with overwrite=true."
    )


def changed_settings(
    earlier: Mapping[str, Any], now: Mapping[str, Any], defaults: Defaults
) -> list[str]:
    """Describe each setting whose meaning has changed.

    Args:
        earlier: Settings with which a run was started, maybe of an earlier version.
        now: Settings of this version.
        defaults: Defaults of the settings.
    """
    names = {**MOVED, **REPLACED}
    first, second = (with_renamed_targets(part, names) for part in (earlier, now))
    changes = [
        f"{path}: {_show(old)} in the run, {_show(new)} now"
        for path, old, new in _differences(first, second, "", defaults)
        if path.partition(".")[0] not in MEANINGLESS and path not in MEANINGLESS_KEYS
    ]
    orders = [list(part["arms"]) for part in (first, second) if isinstance(part.get("arms"), dict)]
    if not changes and len(orders) == 2 and orders[0] != orders[1]:  # the results are listed in it
        old, new = (", ".join(map(str, order[:MAX_CHANGES])) for order in orders)
        changes.append(f"the order of arms: {old} in the run, {new} now")
    return changes


def _differences(
    old: Any, new: Any, path: str, defaults: Defaults
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path and both values of each setting that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            default = _default(inner, defaults)
            first, second = old.get(key, default), new.get(key, default)
            yield from _differences(first, second, inner, defaults)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (first, second) in enumerate(zip(old, new, strict=True)):
            yield from _differences(first, second, f"{path}[{number}]", defaults)
    elif not _is_equal(old, new):
        yield path, old, new


def _default(path: str, defaults: Defaults) -> Any:
    """Default of a setting: of a section, also in an arm, or of a setting that was removed."""
    section, _, key = path.rpartition(".")
    of_section = defaults.get(section.rpartition(".")[2], {})
    if key in of_section:
        return of_section[key]
    endings = [name for name in REMOVED if path == name or path.endswith(f".{name}")]
    return REMOVED[endings[0]] if endings else _ABSENT


def _is_equal(first: Any, second: Any) -> bool:
    """Whether two values mean the same; numbers are equal as numbers, also ``1e-3`` as text."""
    first, second = (None if value is _ABSENT else value for value in (first, second))
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if type(first) is type(second):
        return bool(first == second)
    if first is None or second is None:
        return False
    try:
        return float(first) == float(second)
    except (TypeError, ValueError, OverflowError):
        return False


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
