"""Weights from elsewhere: state dicts of ``torch.save``, read without running code, and the names
in them.
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import TeacherError, UntrustedFileError

MOST_NAMED = 4
"""Names in a message."""
_UNCOUNTED = "num_batches_tracked"
"""BatchNorm's count of batches, which old files lack and nothing here reads."""


def is_pickle(file: Path) -> bool:
    """Whether a file is one of ``torch.save``: a zip archive, or a pickle as such."""
    with file.open("rb") as content:
        return content.read(4).startswith((b"PK\x03\x04", b"\x80"))


def read_pickled(file: Path, *, trust: bool = False) -> dict[str, Tensor] | nn.Module:
    """The tensors of a file of ``torch.save``; of a trusted file also a whole module.

    Args:
        file: holds a state dict, alone or beside other things (an optimizer, an epoch).
        trust: run the code in it, if it holds any.

    Raises:
        TeacherError: it holds no state dict, or several.
        UntrustedFileError: it is damaged, or reading it would run code.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if not trust:
            raise UntrustedFileError(
                f"{file} holds more than tensors (a whole pickled module?): reading it could run "
                "code, so limbeck does "
                "not. Where you trust it, convert it: torch.save(torch.load(FILE, "
                "weights_only=False).state_dict(), "
                "'weights.pt'); or take the risk here with teacher.trust_pickle=true."
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
            f"{file} is damaged, or no file of torch.save ({_line(error)})."
        ) from None
    return _weights_in(content, file)


def _read_trusted(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:  # the file's own code may raise anything
        raise TeacherError(
            f"{file} cannot be unpickled here ({type(error).__name__}: {_line(error)}). Its "
            "classes should be the same "
            "as where it was saved; a state dict depends on none."
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _weights_in(content: Any, file: Path) -> dict[str, Tensor] | nn.Module:
    """The state dict that a file holds, or the one under the only key that holds one."""
    if isinstance(content, nn.Module):
        return content
    if _is_state_dict(content):
        return dict(content)
    if not isinstance(content, Mapping):
        raise TeacherError(
            f"{file} holds a {type(content).__name__}; a state dict was expected (names and "
            "tensors)."
        )
    found = {
        str(key): value
        for key, value in content.items()
        if _is_state_dict(value) or isinstance(value, nn.Module)
    }
    if len(found) == 1:
        value = next(iter(found.values()))
        return value if isinstance(value, nn.Module) else dict(value)
    keys = ", ".join(str(key) for key in content) or "nothing"
    said = f"several state dicts ({', '.join(found)})" if found else f"no state dict, but {keys}"
    raise TeacherError(
        f"{file} holds {said}. Save the teacher's alone: torch.save(CONTENT[KEY], 'weights.pt')."
    )


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def match_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The weights under the names of a model: as they are, or without what all begin with
    (``module.``, ``model.``).

    Returns:
        None if the names are not those of the model.
    """
    wanted = _counted(model.state_dict())
    return next((names for names in _shortened(dict(weights)) if _counted(names) == wanted), None)


def _shortened(weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    yield weights
    while len(first := {name.partition(".")[0] for name in weights}) == 1 and all(
        "." in name for name in weights
    ):
        weights = {
            name.removeprefix(f"{next(iter(first))}."): tensor for name, tensor in weights.items()
        }
        yield weights


def _counted(names: Mapping[str, Tensor]) -> set[str]:
    return {name for name in names if not name.endswith(_UNCOUNTED)}


def difference(model: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """How the names of weights differ from those of a model, in words."""
    wanted, found = _counted(model.state_dict()), _counted(weights)
    missing, unknown = sorted(wanted - found), sorted(found - wanted)
    said = [f"it lacks {_listed(missing)}"] * bool(missing) + [
        f"it has {_listed(unknown)} besides"
    ] * bool(unknown)
    return " and ".join(said)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
