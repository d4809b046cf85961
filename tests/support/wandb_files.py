"""Files of W&B in offline mode, read with its own protocol."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def records(file: Path) -> Iterator[Any]:
    """The records of a ``.wandb`` file."""
    from wandb.proto import wandb_internal_pb2

    for content in _contents(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        yield record


def _contents(content: bytes) -> Iterator[bytes]:
    """Contents of the records: seven bytes, then LevelDB's log format in blocks of 32 KiB."""
    assert content[:4] == b":W&B"
    place, record = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # no header fits: the block ends in zeros
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def history(file: Path) -> dict[str, list[Any]]:
    """The values of each curve."""
    curves: dict[str, list[Any]] = {}
    for record in records(file):
        for item in record.history.item:
            name = "/".join(item.nested_key) or item.key
            curves.setdefault(name, []).append(json.loads(item.value_json))
    return curves


def values(file: Path, kind: str) -> dict[str, Any]:
    """The last values of the ``config`` or the ``summary``."""
    result = {}
    for record in records(file):
        for item in getattr(record, kind).update:
            result["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return result


def reports(file: Path) -> list[str]:
    """The paths of the files in the artifacts that are reports."""
    paths = []
    for record in records(file):
        for artifact in (record.artifact, record.request.log_artifact.artifact):
            if artifact.type == "report":
                paths += [entry.path for entry in artifact.manifest.contents]
    return paths
