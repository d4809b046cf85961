"""Files of the shares of weights that several processes hold, as ``torch.distributed.checkpoint``
writes and reads them: safetensors, which hold no code, for any number of processes.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed import checkpoint
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, empty

from limbeck._base.digests import file_digest
from limbeck._base.errors import first_line
from limbeck.training.cohort.checkpoint_file import UnusableError

SUFFIX = ".shards"
"""Suffix of the folder with the shares of a checkpoint."""
MARK = "shard"
"""Key of what takes the place of a sharded tensor in the state of an object."""


def folder_of(file: Path) -> Path:
    """Return the folder with the shares of a checkpoint."""
    return file.with_suffix(SUFFIX)


def take_shards(state: Any, shards: dict[str, Tensor], path: str = "") -> Any:
    """Return a state with a description in place of each sharded tensor.

    Args:
        state: State of an object: groups of tensors and other values.
        shards: Mapping that receives the tensors, by their path.
        path: Path of the state itself.
    """
    if isinstance(state, DTensor):
        shards[path] = state.detach()
        dtype = str(state.dtype).removeprefix("torch.")
        return {MARK: path, "shape": list(state.shape), "dtype": dtype}

    def take(key: Any, value: Any) -> Any:
        return take_shards(value, shards, f"{path}.{key}".lstrip("."))

    return _map_items(state, take)


def put_shards(state: Any, shards: Mapping[str, Tensor]) -> Any:
    """Return a state of :func:`take_shards` with the tensors in their places."""
    if isinstance(state, dict) and MARK in state:
        return shards[state[MARK]]
    return _map_items(state, lambda key, value: put_shards(value, shards))


def _map_items(state: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Apply a function to each key and value of a mapping or a list; return others as they are."""
    if isinstance(state, Mapping):
        return {key: function(key, value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)([function(number, value) for number, value in enumerate(state)])
    return state


def empty_shards(state: Any, mesh: DeviceMesh | None) -> dict[str, Tensor]:
    """Return a tensor for each description in a state of :func:`take_shards`, by its path.

    Args:
        state: State with descriptions.
        mesh: Processes that share the tensors; None for whole tensors.
    """
    tensors: dict[str, Tensor] = {}

    def visit(value: Any) -> Any:
        if not (isinstance(value, dict) and MARK in value):
            return _map_items(value, lambda key, inner: visit(inner))
        shape, dtype = value["shape"], getattr(torch, value["dtype"])
        if mesh is None:
            tensors[value[MARK]] = torch.empty(shape, dtype=dtype)
        else:
            tensors[value[MARK]] = empty(
                shape, dtype=dtype, device_mesh=mesh, placements=[Shard(0)]
            )
        return value

    visit(state)
    return tensors


def write_shards(folder: Path, shards: dict[str, Tensor]) -> None:
    """Write the shares of this process; every process calls it at the same time.

    Args:
        folder: Folder, which exists.
        shards: Tensors of which each process has a share.

    Raises:
        OSError: If a share of any process cannot be written.
    """
    writer = checkpoint.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        checkpoint.save(shards, storage_writer=writer)
    except CheckpointException as error:
        cause = _cause(error)
        raise OSError(cause.errno, cause.strerror, str(folder)) from None


def read_shards(folder: Path, shards: dict[str, Tensor]) -> None:
    """Read the shares of this process into tensors, from files of any number of processes.

    Raises:
        UnusableError: If they cannot be read.
    """
    try:
        reader = checkpoint.HuggingFaceStorageReader(str(folder))
        checkpoint.load(shards, storage_reader=reader)
    except CheckpointException as error:
        raise UnusableError(f"has shares that do not fit ({first_line(_cause(error))})") from None


def _cause(error: CheckpointException) -> OSError:
    """Return the first error of a process as an error of the operating system."""
    causes = [cause for cause, _ in error.failures.values()]
    for cause in causes:
        if isinstance(cause, OSError):
            return cause
    reasons = [first_line(cause) for cause in causes if isinstance(cause, Exception)]
    return OSError(None, reasons[0] if reasons else "the reason is unknown")


def own_digests(folder: Path, rank: int) -> dict[str, str]:
    """Return the SHA-256 of each file that a process has written, by name.

    Args:
        folder: Folder of :func:`write_shards`.
        rank: Number of the process.
    """
    files = folder.glob(f"shard-{rank + 1:05d}-*")  # as PyTorch names them
    return {file.name: file_digest(file) for file in files}


def check_digests(
    folder: Path, digests: Mapping[str, str] | None, rank: int, processes: int
) -> None:
    """Check that files are those that were written. Each process checks some of them.

    Args:
        folder: Folder of :func:`write_shards`.
        digests: SHA-256 of each file; None without files.
        rank: Number of this process.
        processes: Number of processes.

    Raises:
        UnusableError: If a file is damaged, is missing or was added.
    """
    if digests is None:
        return
    try:
        names = sorted(file.name for file in folder.iterdir())
        if names != sorted(digests):
            raise UnusableError("lacks some of its shares")
        for name in names[rank::processes]:
            if file_digest(folder / name) != digests[name]:
                raise UnusableError(f"is damaged (the checksum of {name} is wrong)")
    except (OSError, ValueError) as error:
        raise UnusableError(f"has shares that cannot be read ({first_line(error)})") from None


def copy_of(state: Any) -> Any:
    """Return a copy of a state: of its tensors, too, also of those that are shares."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    return _map_items(state, lambda key, value: copy_of(value))


def remove_shards(folder: Path) -> None:
    """Remove the shares of a checkpoint; a link is left alone."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
