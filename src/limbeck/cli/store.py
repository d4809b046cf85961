"""``limbeck store``: list, verify and clear the stores of a folder."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from limbeck._base import cache
from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck.store.files import (
    StoreFolder,
    find_stores,
    in_bytes,
    name_shards,
    remove_store,
    size_of,
    writing,
)
from limbeck.store.key import Header

COLUMNS = ("key", "data", "teacher", "views", "rows", "kind", "bytes", "size", "age", "state")
"""Headings of the table; ``bytes`` are those of one answer."""
KEY_DIGITS = 12
_BEGINNING = re.compile(r"[0-9a-f]{4,32}")


def table(root: Path) -> list[str]:
    """One line for each store, below a line of headings."""
    paths = find_stores(root)
    if not paths:
        return [f"no stores in {root}"]
    rows = [COLUMNS, *map(_row, paths)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    total = in_bytes(sum(map(size_of, paths)))
    noun = "store" if len(paths) == 1 else "stores"
    return [*lines, f"{len(paths)} {noun}, {total}, in {root}"]


def _row(path: Path) -> tuple[str, ...]:
    size = in_bytes(size_of(path))
    header, state = None, "empty"
    try:
        store = StoreFolder.open(path)
        if store is not None:
            header, state = store.header, "complete"
            finished = len(store.checksums())
            if finished < store.header.shards:
                state = _progress(finished, store.header)
    except UntrustedFileError:
        header, state = None, "damaged"
    except ResourceError:
        header, state = None, "unreadable"
    if header is None:
        return (path.name[:KEY_DIGITS], *["?"] * 6, size, "?", state)
    rows = f"{header.rows}"
    if header.parts["tokens"]:
        rows += f" x {header.positions} tokens"
    return (
        path.name[:KEY_DIGITS],
        header.label.get("data", "?"),
        header.label.get("teacher", "?"),
        f"{header.views} ({header.label.get('views', '?')})",
        rows,
        header.kind_name,
        str(header.record_bytes),
        size,
        _age(header.created),
        state,
    )


def _progress(finished: int, header: Header) -> str:
    return f"{finished} of {header.shards} shards"


def _age(created: str) -> str:
    """Time since the creation, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def verify(root: Path, keys: Sequence[str]) -> Iterator[str]:
    """Read every finished shard of some stores, or of all; yields a line for each sound store.

    Args:
        root: Folder of all stores.
        keys: Keys of the stores, or their beginnings; empty for all.

    Raises:
        ConfigError: If a key names no store.
        UntrustedFileError: If stores are damaged; raised at the end, naming all of them.
        ResourceError: If a store cannot be read.
    """
    faults = []
    for path in select(root, keys) if keys else find_stores(root):
        try:
            store = StoreFolder.open(path)
            shards = store.check().damaged_shards if store else []
        except UntrustedFileError as error:
            faults.append(str(error))
            continue
        if shards:
            faults.append(f"{path}: {name_shards(shards)} damaged.")
            continue
        state = "empty"
        if store is not None:
            state = _progress(len(store.checksums()), store.header)
        yield f"{path.name[:KEY_DIGITS]}  sound, {state}, {in_bytes(size_of(path))}"
    if faults:
        faults.append(
            "The next run that needs them computes damaged shards again; 'limbeck store clear KEY' "
            "removes a store."
        )
        raise UntrustedFileError("\n".join(faults))


def clear(root: Path, keys: Sequence[str], *, everything: bool) -> Iterator[str]:
    """Delete some stores, or all; yields a line for each. Anything else in the folder stays.

    Args:
        root: Folder of all stores.
        keys: Keys of the stores, or their beginnings.
        everything: Whether to delete all stores.

    Raises:
        ConfigError: If neither or both are given, a key names no store, or a process is computing
            one.
        ResourceError: If a store cannot be deleted.
    """
    if bool(keys) == everything:
        raise ConfigError(
            "Name the stores to clear, as 'limbeck store list' shows them, or clear all with --all."
        )
    for path in find_stores(root) if everything else select(root, keys):
        size = size_of(path)
        with writing(root):
            _remove(path)
        yield f"{path.name[:KEY_DIGITS]}  removed, {in_bytes(size)} freed"


def _remove(path: Path) -> None:
    try:
        with FileLock(f"{path}.lock", timeout=0):
            remove_store(path)
    except Timeout:
        raise ConfigError(
            f"Store {path.name[:KEY_DIGITS]} is being computed by another process; wait for it, or "
            "stop it."
        ) from None


def select(root: Path, keys: Sequence[str]) -> list[Path]:
    """The stores that keys name; the beginning of a key is enough.

    Raises:
        ConfigError: If a key is malformed, or names no store or several.
    """
    stores = find_stores(root)
    selected = []
    for key in keys:
        if not _BEGINNING.fullmatch(key):
            raise ConfigError(
                f"{key!r} is not a key: 4 to 32 of the digits 0 to 9 and a to f were expected."
            )
        matches = [path for path in stores if path.name.startswith(key)]
        if len(matches) != 1:
            known = ", ".join(path.name[:KEY_DIGITS] for path in matches or stores) or "none"
            count = f"{len(matches)} stores" if matches else "no store"
            raise ConfigError(f"{key} is the key of {count} in {root}; stores there: {known}.")
        selected += matches
    return selected


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
    root = arguments.folder or cache.ANSWERS.default_folder
    lines: Iterable[str] = table(root)
    if arguments.action == "verify":
        lines = verify(root, arguments.keys)
    elif arguments.action == "clear":
        lines = clear(root, arguments.keys, everything=arguments.all)
    for line in lines:
        print(line)
    return 0
