"""State dicts of ``torch.save``, read without running code, and the names in them."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import TeacherError, UntrustedFileError

MAX_NAMES_IN_MESSAGE = 4
"""Largest number of names in a message."""
_BATCH_COUNTER = "num_batches_tracked"
"""BatchNorm's counter of batches, which old files lack and limbeck does not use."""


def is_pickle(file: Path) -> bool:
    """Whether a file was written by ``torch.save``: a zip archive, or a plain pickle."""
    with file.open("rb") as content:
        return content.read(4).startswith((b"PK\x03\x04", b"\x80"))


def read_pickled(file: Path, *, trust: bool = False) -> dict[str, Tensor] | nn.Module:
    """Read the tensors of a file of ``torch.save``, or the whole module of a trusted file.

    Args:
        file: File with a state dict, possibly next to other objects (an optimizer, an epoch).
        trust: Whether to run the code in it, if there is any.

    Raises:
        TeacherError: If it contains no state dict, or several.
        UntrustedFileError: If it is damaged, or reading it would run code.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if not trust:
            raise UntrustedFileError(
                f"{file} contains more than tensors (a whole pickled module?): reading it could "
                "run code, so limbeck does not. If you trust it, convert it: "
                "torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pt'); or "
                "set teacher.trust_pickle=true."
            ) from None
        content = _read_trusted(file)
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise UntrustedFileError(
            f"{file} is damaged, or not a file of torch.save ({_line(error)})."
        ) from None
    return _weights_in(content, file)


def _read_trusted(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:  # the file's own code may raise anything
        raise TeacherError(
            f"{file} cannot be unpickled here ({type(error).__name__}: {_line(error)}). It needs "
            "the classes that it was saved with. A state dict does not."
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _weights_in(content: Any, file: Path) -> dict[str, Tensor] | nn.Module:
    """Return the state dict in a file, also if it is nested under a key."""
    if isinstance(content, nn.Module):
        return content
    if _is_state_dict(content):
        return dict(content)
    if not isinstance(content, Mapping):
        raise TeacherError(
            f"{file} contains a {type(content).__name__}; expected a state dict (names and "
            "tensors)."
        )
    candidates: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, nn.Module) or _is_state_dict(value):
            candidates[str(key)] = value
    if len(candidates) == 1:
        value = next(iter(candidates.values()))
        return value if isinstance(value, nn.Module) else dict(value)
    if candidates:
        problem = f"several state dicts ({', '.join(candidates)})"
    else:
        problem = f"no state dict, but {', '.join(map(str, content)) or 'nothing'}"
    raise TeacherError(
        f"{file} contains {problem}. Save only the teacher's: torch.save(CONTENT[KEY], "
        "'weights.pt')."
    )


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def match_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the weights under the names of a model.

    A prefix that all names share (``module.``, ``model.``) is removed if necessary.

    Returns:
        The weights by name; None if the names do not match the model.
    """
    names = _relevant(model.state_dict())
    for renamed in _without_prefixes(dict(weights)):
        if _relevant(renamed) == names:
            return renamed
    return None


def _without_prefixes(weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield the weights, then the weights without each prefix that all names share."""
    yield weights
    while all("." in name for name in weights):
        prefixes = {name.partition(".")[0] for name in weights}
        if len(prefixes) != 1:
            return
        prefix = f"{prefixes.pop()}."
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
        yield weights


def _relevant(names: Mapping[str, Tensor]) -> set[str]:
    return {name for name in names if not name.endswith(_BATCH_COUNTER)}


def difference(model: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Describe how the names of weights differ from the names in a model."""
    expected, actual = _relevant(model.state_dict()), _relevant(weights)
    differences = []
    if missing := sorted(expected - actual):
        differences.append(f"it lacks {_join(missing)}")
    if unknown := sorted(actual - expected):
        differences.append(f"it also has {_join(unknown)}")
    return " and ".join(differences)


def _join(names: list[str]) -> str:
    more = (
        f" and {len(names) - MAX_NAMES_IN_MESSAGE} more"
        if len(names) > MAX_NAMES_IN_MESSAGE
        else ""
    )
    return ", ".join(names[:MAX_NAMES_IN_MESSAGE]) + more
