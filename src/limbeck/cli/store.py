"""``limbeck store``: list, verify and clear the stores of a folder."""

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck._base import cache
from limbeck._base.errors import ConfigError, ResourceError, UntrustedFileError
from limbeck._base.printable import printable_record
from limbeck._base.sizes import format_bytes
from limbeck.cli.parsers import add_verb, path_or_address
from limbeck.cli.terminal import say
from limbeck.store.files import (
    StoreFolder,
    UnreadableStoreError,
    describe_shards,
)
from limbeck.store.folder import find_stores, remove_store, size_of
from limbeck.store.key import Header

COLUMNS = ("key", "data", "teacher", "views", "rows", "kind", "bytes", "size", "age", "state")
"""Headings of the table; ``bytes`` is the size of one answer."""
KEY_DIGITS = 12
_KEY_PREFIX = re.compile(r"[0-9a-f]{4,32}")


def table(root: Path) -> list[str]:
    """Return a table of all stores as lines of text, with column headings first."""
    paths = find_stores(root)
    if not paths:
        return [f"no stores in {root}"]
    rows = printable_record([COLUMNS, *map(_row, paths)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    total = format_bytes(sum(map(size_of, paths)))
    noun = "store" if len(paths) == 1 else "stores"
    return [*lines, f"{len(paths)} {noun}, {total}, in {root}"]


def _row(path: Path) -> tuple[str, ...]:
    size = format_bytes(size_of(path))
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
    """Verify the checksums of stores; yields a line for each intact store.

    Args:
        root: Folder of all stores.
        keys: Keys of the stores, or prefixes of them; empty for all.

    Raises:
        ConfigError: If a key names no store.
        UntrustedFileError: If stores are damaged; raised at the end, naming all of them.
        ResourceError: If a store cannot be read.
    """
    errors: list[str] = []
    unreadable: list[str] = []
    for path in select(root, keys) if keys else find_stores(root):
        try:
            store = StoreFolder.open(path)
            shards = store.check().damaged_shards if store else []
        except UntrustedFileError as error:
            errors.append(str(error))
            continue
        except UnreadableStoreError as error:
            unreadable.append(error.fault)
            continue
        if shards:
            errors.append(f"{path}: {describe_shards(shards)} damaged.")
            continue
        state = "empty"
        if store is not None:
            state = _progress(len(store.checksums()), store.header)
        yield f"{path.name[:KEY_DIGITS]}  sound, {state}, {format_bytes(size_of(path))}"
    if errors:
        errors.append(
            "The next run that needs them computes damaged shards again; 'limbeck store clear KEY' "
            "removes a store."
        )
        raise UntrustedFileError("\n".join(errors))
    if unreadable:
        faults = "; ".join(unreadable)
        raise ResourceError(f"{faults}. Check the permissions and the disk.")


def clear(root: Path, keys: Sequence[str], *, everything: bool) -> Iterator[str]:
    """Delete stores, but no other files; yields a line for each store.

    Args:
        root: Folder of all stores.
        keys: Keys of the stores, or prefixes of them.
        everything: Whether to delete all stores.

    Raises:
        ConfigError: If both or neither of ``keys`` and ``everything`` are given, a key matches no
            store, or another process is writing to one.
        ResourceError: If a store cannot be deleted.
    """
    if bool(keys) == everything:
        raise ConfigError(
            "Give the keys of the stores to clear (see 'limbeck store list'), or --all."
        )
    for path in find_stores(root) if everything else select(root, keys):
        size = size_of(path)
        try:
            _remove(path)
        except OSError as error:
            raise ResourceError(
                f"{path} cannot be removed ({error.strerror or error}). Check the permissions of "
                "the folder and of the one that contains it."
            ) from None
        yield f"{path.name[:KEY_DIGITS]}  removed, {format_bytes(size)} freed"


def _remove(path: Path) -> None:
    def give_up() -> None:
        raise ConfigError(
            f"Another process is writing to store {path.name[:KEY_DIGITS]}. Wait until it has "
            "finished, or stop it."
        )

    with cache.open_root(path.parent) as root, cache.hold_lock(root, path.name, give_up):
        remove_store(root, path.name)


def select(root: Path, keys: Sequence[str]) -> list[Path]:
    """Find the stores with the given keys or prefixes of keys.

    Raises:
        ConfigError: If a key is malformed, or matches no store or several.
    """
    stores = find_stores(root)
    selected = []
    for key in keys:
        if not _KEY_PREFIX.fullmatch(key):
            raise ConfigError(f"{key!r} is not a key. Expected 4 to 32 hexadecimal digits.")
        matches = [path for path in stores if path.name.startswith(key)]
        if len(matches) != 1:
            names = ", ".join(path.name[:KEY_DIGITS] for path in matches or stores) or "none"
            count = f"{len(matches)} stores" if matches else "no store"
            raise ConfigError(f"{key} matches {count} in {root}. Known stores: {names}.")
        selected += matches
    return list(dict.fromkeys(selected))  # a key may be given twice


# The verb -----------------------------------------------------------------------------------------


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck store``."""
    text = "list, verify or clear the stores of teachers' answers"
    parser = add_verb(verbs, "store", text, run)
    parser.add_argument("action", choices=["list", "verify", "clear"], help="what to do")
    parser.add_argument(
        "keys", nargs="*", metavar="KEY", help="key of a store, or its first digits"
    )
    parser.add_argument("--all", action="store_true", help="clear every store")
    parser.add_argument(
        "--folder",
        type=path_or_address,
        metavar="DIR",
        help="folder of the stores (default: cache folder)",
    )


def run(arguments: argparse.Namespace) -> int:
    """List, verify or clear stores."""
    if arguments.all and arguments.action != "clear":
        raise ConfigError("--all is only valid with 'limbeck store clear'.")
    if arguments.keys and arguments.action == "list":
        raise ConfigError("'limbeck store list' takes no key: it lists every store.")
    root = arguments.folder or cache.ANSWERS.default_folder
    if not isinstance(root, Path):
        raise ConfigError(f"--folder {root}: 'limbeck store' is for folders of this machine.")
    if os.path.lexists(root) and not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Name the folder of the stores with --folder.")
    lines: Iterable[str] = table(root)
    if arguments.action == "verify":
        lines = verify(root, arguments.keys)
    elif arguments.action == "clear":
        lines = clear(root, arguments.keys, everything=arguments.all)
    is_empty = True
    for line in lines:
        is_empty = False
        say(line)
    if is_empty:
        say(f"no stores in {root}")
    return 0
