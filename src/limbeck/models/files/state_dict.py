"""State dicts in files of ``torch.save``, read without running code.

Classes that a file names are replaced by a placeholder, which does nothing but keep its state. So
the tensors of a whole module, or next to a configuration, can be read as data.
"""

import itertools
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck._base.runtime.files import check_archive, open_file
from limbeck.models.files.kinds import kind_of, unreadable
from limbeck.models.files.pickle_data import Placeholder, read_data

MAX_DEPTH = 3
"""Maximum depth at which a state dict is searched for in a dictionary of dictionaries."""
MAX_NAMES = 1 << 20
"""Maximum number of tensors of a module; the same part may be in many places."""
AVERAGES = ("ema", "average", "swa")
"""Parts of the keys under which training scripts save a moving average of the weights."""
MAX_RATIO, SMALL_BYTES = 16, 64 << 20
"""Largest size of all tensors, as a multiple of the size of their file, and in addition to it."""
MAX_KEYS = 8
"""Maximum number of keys in a message."""
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)


def is_pickle(file: Path) -> bool:
    """Whether a file may be one of ``torch.save``: a zip archive, or a plain pickle."""
    with open_file(file) as content:
        return content.read(4).startswith((b"PK\x03\x04", b"\x80"))


def read_pickled(
    file: Path, *, trust: bool = False, key: str | None = None
) -> dict[str, Tensor] | nn.Module:
    """Read the tensors of a file of ``torch.save``, or the whole module of a trusted file.

    Args:
        file: File with a state dict or a module, possibly next to other objects (an optimizer, an
            epoch).
        trust: Whether to run the code in it, if there is any.
        key: Entry of the file that holds the model, or first part of the names of its tensors;
            None if there is only one model.

    Raises:
        TeacherError: If it contains no state dict, or several.
        UntrustedFileError: If it is damaged, of another kind, or reading it would run code.
    """
    if kind_of(file) is not None:
        raise unreadable(file, "a file of torch.save")
    max_bytes = MAX_RATIO * file.stat().st_size + SMALL_BYTES
    if not trust:
        _check_archive(file, max_bytes)
    try:
        content = _read_trusted(file) if trust else _read_data(file)
    except pickle.UnpicklingError as error:
        raise _needs_code(file, error) from None
    except (RuntimeError, OSError) as error:
        raise unreadable(file, "a file of torch.save", error) from None
    except _DAMAGE:  # whose messages are about the code that read the file
        raise unreadable(file, "a file of torch.save") from None
    weights = _weights_in(content, file, key)
    if not trust and isinstance(weights, dict) and sum(map(_size_of, weights.values())) > max_bytes:
        raise UntrustedFileError(
            f"{file} contains tensors that take more than {MAX_RATIO} times the size of the file "
            "(views of a small one?). Save a state dict of tensors with contiguous()."
        )
    return weights


def _check_archive(file: Path, max_bytes: int) -> None:
    """Refuse a file that takes much more memory than its size, unlike those of torch.save."""
    try:
        with zipfile.ZipFile(file) as archive:
            check_archive(archive, max_bytes)
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            has_bytearray = any(b"\nbytearray\n" in archive.read(name) for name in names)
    except zipfile.BadZipFile:  # a plain pickle, or a damaged file, which torch reports
        with open_file(file) as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
            has_bytearray = content.find(b"\nbytearray\n") >= 0
    except ValueError as error:
        raise UntrustedFileError(
            f"{file} is compressed, which torch.save does not do ({error}). Unpack it, or download "
            "it again."
        ) from None
    if has_bytearray:
        raise UntrustedFileError(
            f"{file} contains a bytearray, which may be of any size although its file is small. "
            "Save a state dict of the model with torch.save."
        )


def _size_of(tensor: Tensor) -> int:
    """Return the size of a tensor in bytes, as if each of its values took memory of its own."""
    return tensor.numel() * tensor.element_size()


def _read_data(file: Path) -> Any:
    """Read a file with a placeholder for each class that is not among torch's safe ones.

    What torch refuses all the same, such as kinds of dictionaries, is interpreted as data.
    """
    try:
        return _read_with_torch(file)
    except pickle.UnpicklingError as error:
        reason = error
    try:
        return read_data(file)
    except _DAMAGE:
        raise reason from None


def _read_with_torch(file: Path) -> Any:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    except _DAMAGE:
        names = []  # torch cannot list the classes in its format of before version 1.6
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    for name in sorted(names):
        stand_ins.append((type(name, (Placeholder,), {"name": name}), name))
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(file, map_location="cpu", weights_only=True)


def _read_trusted(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass
    try:
        return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:  # the file's own code may raise anything
        reason = " ".join(str(error).split())[:200]
        raise TeacherError(
            f"{file} cannot be unpickled here ({type(error).__name__}: {reason}). It needs "
            "the classes that it was saved with. A state dict does not."
        ) from None


def _needs_code(file: Path, error: pickle.UnpicklingError) -> UntrustedFileError:
    match = _GLOBAL.search(str(error))
    reason = f"needs {match[1]}" if match else "contains more than tensors"
    return UntrustedFileError(
        f"{file} {reason}: reading it could run code, so limbeck does not. If you trust it, save "
        f"its state dict: CONTENT = torch.load({str(file)!r}, weights_only=False), then "
        "torch.save(CONTENT.state_dict(), 'weights.pt') for a module, or torch.save(CONTENT[KEY], "
        "'weights.pt') for a dictionary; or set teacher.trust_pickle=true."
    )


# The state dict in the content --------------------------------------------------------------------


def _weights_in(content: Any, file: Path, key: str | None) -> dict[str, Tensor] | nn.Module:
    """Return the state dict in a file, also if it is nested under a key."""
    if key is not None:
        return _weights_of(key, content, file)
    candidates = _candidates(content)
    if len(candidates) == 1:
        (model,) = candidates.values()
        return model
    if candidates:
        names = list(candidates)
        average = [name for name in names if any(part in name.lower() for part in AVERAGES)]
        raise TeacherError(
            f"{file} contains several models: {', '.join(names[:MAX_KEYS])}. Choose one, as with "
            f"teacher.key={(average or names)[0]} (in Python: key=)."
        )
    if isinstance(content, Placeholder):
        raise UntrustedFileError(
            f"{file} contains an object of {content.name} without a state dict in it: "
            "reading it could run code, so limbeck does not. Save a state dict of the model "
            "with torch.save."
        )
    raise TeacherError(
        f"{file} contains {_describe(content)}; expected a state dict (names and tensors). Save "
        "one: torch.save(MODEL.state_dict(), 'weights.pt')."
    )


def _weights_of(key: str, content: Any, file: Path) -> dict[str, Tensor] | nn.Module:
    """Return the state dict under a key at any depth, or the part of one below a prefix."""
    level: dict[str, Any] = {"": content}
    for _ in range(MAX_DEPTH + 1):
        for path, value in level.items():
            models = _candidates(value) if path == key or path.endswith(f".{key}") else {}
            if len(models) == 1:
                return next(iter(models.values()))
            if models:
                keys = [f"{key}.{name}" for name in models]
                raise TeacherError(
                    f"{file}: {key} contains several models. Set teacher.key to one of "
                    f"{', '.join(keys[:MAX_KEYS])}."
                )
        level = _next_level(level)
    candidates = _candidates(content)
    for model in candidates.values():
        part = weights_below(key, model) if isinstance(model, dict) else {}
        if part:
            return part
    names = ", ".join(list(candidates)[:MAX_KEYS]) or "none"
    raise TeacherError(
        f"teacher.key={key}: {file} contains no model of that key, and no tensors below {key}. "
        f"Keys of models in it: {names}."
    )


def weights_below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix and a period, without them."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in weights.items()
        if name.startswith(start)
    }


def _candidates(content: Any) -> dict[str, dict[str, Tensor] | nn.Module]:
    """Return the models at the highest level that has any, by their keys, such as ``model``.

    A model further down belongs to something else, such as the hyper-parameters.
    """
    level: dict[str, Any] = {"": content}
    for _ in range(MAX_DEPTH + 1):
        models: dict[str, dict[str, Tensor] | nn.Module] = {}
        for path, value in level.items():
            if _is_state_dict(value):
                models[path] = dict(value)
            elif weights := dict(itertools.islice(_state_of(value), MAX_NAMES)):
                models[path] = weights
            elif isinstance(value, nn.Module):
                models[path] = value
        if models:
            return models
        level = _next_level(level)
    return {}


def _next_level(level: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all dictionaries. Numbers as keys are those of an optimizer's state."""
    values = {}
    visited = set()  # a dictionary in many places would be read again and again
    for path, content in level.items():
        if not isinstance(content, Mapping) or id(content) in visited:
            continue
        visited.add(id(content))
        for key, value in content.items():
            if isinstance(key, str):
                values[f"{path}.{key}" if path else key] = value
    return values


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _is_module(value: Any) -> bool:
    """Whether a placeholder stands for a module: it has parameters and modules inside it."""
    if not isinstance(value, Placeholder) or not isinstance(value.state, Mapping):
        return False
    names = ("_parameters", "_buffers", "_modules")
    return all(isinstance(value.state.get(name), Mapping) for name in names)


def _state_of(module: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the state dict of a module's placeholder, like ``Module.state_dict``."""
    if not _is_module(module) or depth > 100:
        return
    state = module.state
    transient = state.get("_non_persistent_buffers_set") or ()
    for name, value in [*state["_parameters"].items(), *state["_buffers"].items()]:
        if isinstance(value, Tensor) and name not in transient:
            yield f"{prefix}{name}", value.detach()
    for name, inner in state["_modules"].items():
        yield from _state_of(inner, f"{prefix}{name}.", depth + 1)


def _describe(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    keys = ", ".join(map(str, list(content)[:MAX_KEYS]))
    return f"a dictionary of {keys}" if keys else "an empty dictionary"
