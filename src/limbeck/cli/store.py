"""All stores of a folder: list them, verify them, clear them away."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck.store.files import StoreFolder, find_stores, in_bytes, remove_store, size_of, writing
from limbeck.store.key import default_folder

COLUMNS = ("key", "data", "teacher", "views", "rows", "kind", "bytes", "size", "age", "state")
"""Bytes are those of one answer."""
SHOWN_DIGITS = 12
_BEGINNING = re.compile(r"[0-9a-f]{4,32}")


def table(root: Path) -> list[str]:
    """One line for each store, under a line of headings."""
    paths = find_stores(root)
    if not paths:
        return [f"no stores in {root}"]
    rows = [COLUMNS, *(_row(path) for path in paths)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    total = in_bytes(sum(size_of(path) for path in paths))
    return [*lines, f"{len(paths)} store{'s' * (len(paths) > 1)}, {total}, in {root}"]


def _row(path: Path) -> tuple[str, ...]:
    key, size = path.name[:SHOWN_DIGITS], in_bytes(size_of(path))
    try:
        store = StoreFolder.open(path)
        if store is None:
            return (key, *["?"] * 6, size, "?", "empty")
        header, finished = store.header, len(store.journal())
    except UntrustedFileError:
        return (key, *["?"] * 6, size, "?", "damaged")
    except ResourceError:
        return (key, *["?"] * 6, size, "?", "unreadable")
    state = "complete" if finished == header.shards else f"{finished} of {header.shards} shards"
    label = [header.label.get(name, "?") for name in ("data", "teacher")]
    views = f"{header.views} ({header.label.get('views', '?')})"
    rows = f"{header.rows}" + (f" x {header.positions} tokens" if header.parts["tokens"] else "")
    kept = (header.kind_name, str(header.record_bytes))
    return (key, *label, views, rows, *kept, size, _age(header.created), state)


def _age(created: str) -> str:
    """How long ago, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def verify(root: Path, keys: Sequence[str]) -> Iterator[str]:
    """Read every finished shard of the stores named, or of all; yields a line for each that is
    sound.

    Raises:
        ConfigError: a key names no store.
        UntrustedFileError: at the end, naming what is damaged.
        ResourceError: a store may not be read.
    """
    damaged = []
    for path in pick(root, keys) if keys else find_stores(root):
        try:
            store = StoreFolder.open(path)
            bad = store.check()[0] if store else []
        except UntrustedFileError as error:
            damaged.append(str(error))
            continue
        if bad:
            named = (
                f"shard {bad[0]} is" if len(bad) == 1 else f"shards {', '.join(map(str, bad))} are"
            )
            damaged.append(f"{path}: {named} damaged.")
            continue
        finished = f"{len(store.journal())} of {store.header.shards} shards" if store else "empty"
        yield f"{path.name[:SHOWN_DIGITS]}  sound, {finished}, {in_bytes(size_of(path))}"
    if damaged:
        raise UntrustedFileError(
            "\n".join(damaged)
            + "\nThe next run that needs them computes damaged shards anew; 'limbeck store clear KEY' "
            "removes a store."
        )


def clear(root: Path, keys: Sequence[str], *, everything: bool) -> Iterator[str]:
    """Delete the stores named, or all; yields a line for each. Whatever is no store of limbeck
    stays.

    Raises:
        ConfigError: none is named, a key names no store, or a process is computing one.
        ResourceError: one may not be deleted.
    """
    if bool(keys) == everything:
        raise ConfigError(
            "Name the stores to clear, as 'limbeck store list' shows them, or clear all with --all."
        )
    for path in find_stores(root) if everything else pick(root, keys):
        size = size_of(path)
        with writing(root):
            lock = FileLock(f"{path}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise ConfigError(
                    f"store {path.name[:SHOWN_DIGITS]} is being computed by another process; wait "
                    "for it, or stop it."
                ) from None
            try:
                remove_store(path)
            finally:
                lock.release()
        yield f"{path.name[:SHOWN_DIGITS]}  removed, {in_bytes(size)} freed"


def pick(root: Path, keys: Sequence[str]) -> list[Path]:
    """The stores that keys name; the beginning of a key is enough.

    Raises:
        ConfigError: a key is none, or names no store or several.
    """
    stores, picked = find_stores(root), []
    for key in keys:
        if not _BEGINNING.fullmatch(key):
            raise ConfigError(
                f"{key!r} is no key: 4 to 32 of the digits 0 to 9 and a to f were expected."
            )
        found = [path for path in stores if path.name.startswith(key)]
        if len(found) != 1:
            known = ", ".join(path.name[:SHOWN_DIGITS] for path in found or stores) or "none"
            raise ConfigError(
                f"{key} is the key of {len(found) or 'no'} store{'s' * (len(found) > 1)} in "
                f"{root}; there: {known}."
            )
        picked += found
    return picked


# The verb -----------------------------------------------------------------------------------------


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck store``."""
    text = "list, verify or clear the stores of teachers' answers"
    parser = verbs.add_parser("store", help=text, description=text)
    parser.add_argument("action", choices=["list", "verify", "clear"], help="what to do")
    parser.add_argument(
        "keys", nargs="*", metavar="KEY", help="key of a store, or the beginning of it"
    )
    parser.add_argument("--all", action="store_true", help="clear every store")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder of the stores, if not the default one"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """List, verify or clear stores."""
    if arguments.all and arguments.action != "clear":
        raise ConfigError(f"--all goes with 'limbeck store clear', not with {arguments.action}.")
    if arguments.keys and arguments.action == "list":
        raise ConfigError("'limbeck store list' takes no key: it lists every store.")
    root = default_folder() if arguments.folder is None else arguments.folder
    lines: Iterable[str] = table(root)
    if arguments.action == "verify":
        lines = verify(root, arguments.keys)
    elif arguments.action == "clear":
        lines = clear(root, arguments.keys, everything=arguments.all)
    for line in lines:
        print(line)
    return 0
