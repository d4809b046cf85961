"""Parts of a batch: what they are, and which of them a model takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.inputs import Inputs, ModelInputs, Parameters
from limbeck.data.labels import as_tensor

LABEL_KEYS = ("label", "labels", "target", "targets", "y", "label_ids")
"""Keys under which a batch that is a dictionary may have its labels."""
INPUT_KEYS = (
    "pixel_values",
    "input_ids",
    "input_values",
    "input_features",
    "image",
    "images",
    "img",
    "input",
    "inputs",
    "features",
    "data",
    "x",
)
"""Keys under which it may have its only input, if the model has other names for it."""
Key: TypeAlias = str | int
Names: TypeAlias = Key | Sequence[Key] | Mapping[str, Key]
"""Keys or positions of inputs in a batch; a dictionary has them by the model's arguments."""


@dataclass(frozen=True)
class BatchNames:
    """Where a batch has its inputs and labels; None to recognise them.

    Attributes:
        inputs: Key of the student's input in a dictionary, or its position in a tuple. Several are
            a list, whose keys are the names of the model's arguments, or a dictionary of keys by
            argument.
        labels: Key or position of the labels.
        teacher_inputs: Keys of the teacher's inputs, as for ``inputs``; None for the same inputs.

    Raises:
        ConfigError: If a name has another form.
    """

    inputs: Names | None = None
    labels: Key | None = None
    teacher_inputs: Names | None = None

    def __post_init__(self) -> None:
        for argument, names in (("inputs", self.inputs), ("teacher_inputs", self.teacher_inputs)):
            if names is None:
                continue
            keys = keys_of(names) if isinstance(names, (str, int, Mapping, Sequence)) else []
            if not keys or not all(map(is_key, keys)):
                raise ConfigError(
                    f"{argument}={names!r} should be a key or position in a batch, a list of them, "
                    "or a dictionary of keys by the names of the model's arguments."
                )
        if self.labels is not None and not is_key(self.labels):
            raise ConfigError(f"labels={self.labels!r} should be a key or position in a batch.")


def fields_of(batch: object) -> dict[Key, Any]:
    """Return the parts of a batch by key or position."""
    if isinstance(batch, Mapping):
        return _with_names(batch)
    if isinstance(batch, (tuple, list)) and len(batch) > 0:
        return dict(enumerate(batch))
    raise DataError(
        f"A batch should be a pair (x, y) or a dictionary, got {type(batch).__name__}. Batches "
        "without labels need a teacher and hard_weight=0."
    )


def _with_names(fields: Mapping[Any, Any]) -> dict[Key, Any]:
    return {key if is_key(key) else str(key): value for key, value in fields.items()}


def inner_fields(others: dict[Key, Any], samples: int | None) -> dict[Key, Any]:
    """Return the parts inside the inputs of a pair: those of a dictionary, or several tensors."""
    if list(others) != [0]:
        return others
    inputs = others[0]
    if isinstance(inputs, Mapping):
        return _with_names(inputs)
    if isinstance(inputs, (tuple, list)) and len(inputs) > 1:
        parts: dict[Key, Any] = dict(enumerate(inputs))
        is_array = all(isinstance(part, (Tensor, np.ndarray)) for part in inputs)
        if is_array and len(arrays_in(parts, samples)) == len(parts):
            return parts
    return others


def choose(
    arrays: Mapping[Key, Tensor],
    others: Mapping[Key, Any],
    parameters: Parameters,
    default: Names | None = None,
) -> Names:
    """Choose the entries of a dictionary that a model takes.

    Args:
        arrays: Entries that are tensors of a value per sample.
        others: All entries but the labels, for messages.
        parameters: Arguments of the model.
        default: Names to return if the model has arguments of other names.

    Raises:
        DataError: If there are several possible inputs and no default.
    """
    matching = [key for key in arrays if key in parameters.names]
    if matching and matching != [*parameters.names[:1]]:
        return {str(key): key for key in matching}
    if matching or len(arrays) == 1:
        return matching[0] if matching else next(iter(arrays))
    if parameters.takes_any_name and arrays:  # as after torch.compile
        return {str(key): key for key in arrays}
    usual = [key for key in arrays if key in INPUT_KEYS]
    if len(usual) == 1:
        return usual[0]
    if default is not None:
        return default
    names = f" (it takes {', '.join(parameters.names)})" if parameters.names else ""
    raise DataError(
        f"A batch is a dictionary with the keys {join(others)}, of which none is an argument of "
        f"the model{names}. Name the inputs, as in inputs={next(iter(others), 'x')!r}."
    )


def build_inputs(names: Names, others: Mapping[Key, Any]) -> ModelInputs:
    """Return the inputs of the given names."""
    if isinstance(names, (str, int)):
        return as_tensor(get_part(others, names, "inputs"), "inputs")
    if isinstance(names, Mapping):
        by_argument = {argument: get_part(others, key, "inputs") for argument, key in names.items()}
        return Inputs((), {name: as_tensor(v, "inputs") for name, v in by_argument.items()})
    values, by_name = [], {}
    for key in names:
        value = as_tensor(get_part(others, key, "inputs"), "inputs")
        if isinstance(key, str):
            by_name[key] = value
        else:
            values.append(value)
    if len(values) == 1 and not by_name:
        return values[0]
    return Inputs(tuple(values), by_name)


def arrays_in(parts: Mapping[Key, Any], samples: int | None) -> dict[Key, Tensor]:
    """Return the parts that are numbers, one row per sample."""
    arrays = {}
    for key, part in parts.items():
        try:
            values = torch.as_tensor(part)
        except (TypeError, ValueError, RuntimeError):
            continue
        if values.ndim and samples in (None, len(values)):
            arrays[key] = values
    return arrays


def is_class_vector(part: Any, samples: int) -> bool:
    """Whether a part has a whole number for each of several samples."""
    values = arrays_in({0: part}, samples).get(0)
    if values is None or values.is_floating_point() or values.is_complex():
        return False
    return values.dtype != torch.bool and values.shape in ((samples,), (samples, 1))


def length_of(part: Any) -> int:
    """Return the number of rows of a part; -1 if it has none."""
    values = arrays_in({0: part}, None).get(0)
    if values is not None:
        return len(values)
    return len(next(iter(part.values()), ())) if isinstance(part, Mapping) else -1


def get_part(fields: Mapping[Key, Any], key: Key, role: str) -> Any:
    """Return a part of a batch by its key or position."""
    if key not in fields:
        raise DataError(f"A batch has no part {key!r}, which {role}= names; it has {join(fields)}.")
    return fields[key]


def is_sequence(fields: Mapping[Key, Any]) -> bool:
    """Whether parts have positions instead of keys."""
    return all(isinstance(key, int) for key in fields)


def is_key(value: object) -> bool:
    """Whether a value is a key or a position."""
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def keys_of(names: Names) -> list[Key]:
    """Return the keys and positions that names refer to."""
    if isinstance(names, (str, int)):
        return [names]
    return list(names.values()) if isinstance(names, Mapping) else list(names)


def describe_tuple(fields: Mapping[Key, Any]) -> str:
    """Describe a tuple by the types and shapes of its parts."""
    kinds = [f"{type(part).__name__}{_shape(part)}" for part in fields.values()]
    return f"a tuple of {len(fields)} ({', '.join(kinds)})"


def _shape(part: Any) -> str:
    shape = getattr(part, "shape", None)
    return "" if shape is None else f" {list(shape)}"


def join(keys: Iterable[Key]) -> str:
    """Return keys in one line."""
    return ", ".join(map(str, keys))
