"""Conversion of frozen dataclasses to JSON and back, driven by their type hints.

A record may use the hints ``int``, ``float``, ``str``, ``bool``, ``None``, ``Any``, ``Literal``,
``Mapping[str, X]``, ``tuple[X, ...]``, ``tuple[X, Y]``, other records, and unions of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from limbeck._base.errors import UntrustedFileError

R = TypeVar("R")

MAX_NUMBER = 1e300
"""Largest number. Differences of larger ones overflow, and have no figure."""

_OMIT_NONE = "omit_none"
_EXTRA_KEYS = "extra_keys"
_TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    NoneType: "null",
}


def optional() -> Any:
    """Define a field that is None by default, and then has no key in the JSON object."""
    return field(default=None, metadata={_OMIT_NONE: True})


def extra_keys() -> Any:
    """Define a field ``Mapping[str, Any]`` for all keys without a field of their own."""
    return field(default_factory=dict, metadata={_EXTRA_KEYS: True})


def to_json(value: Any) -> Any:
    """Convert a record to dictionaries and lists, with keys in the order of the fields."""
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(inner) for inner in value]
    if not is_dataclass(value):
        return value
    content: dict[str, Any] = {}
    for item in fields(value):
        inner = getattr(value, item.name)
        if item.metadata.get(_EXTRA_KEYS):
            content |= to_json(inner)
        elif inner is not None or not item.metadata.get(_OMIT_NONE):
            content[item.name] = to_json(inner)
    return content


def from_json(kind: type[R], content: Any, *, where: str, path: str = "") -> R:
    """Build a record from a JSON object.

    Unknown keys are ignored, unless it has a field of :func:`extra_keys`.
    A field with a default may be missing or null.

    Args:
        kind: Class of the record.
        content: Parsed JSON.
        where: File of the content, for messages.
        path: Path of the content inside the file, such as ``arms[0]``; empty at the top.

    Raises:
        UntrustedFileError: If a key is missing or has a value of the wrong type. The message
            contains the path of the key.
    """
    record: R = _Reader(where).record(kind, content, path)
    return record


class _Reader:
    """Converter of one file's content; ``path`` is always the path inside the file."""

    def __init__(self, where: str):
        self.where = where

    def record(self, kind: Any, content: Any, path: str) -> Any:
        if not isinstance(content, dict):
            raise self._wrong_type(path or "the content", "an object", content)
        hints = _hints(kind)
        values: dict[str, Any] = {}
        remaining = dict(content)
        for item in _fields(kind):
            if item.metadata.get(_EXTRA_KEYS):
                continue
            value = remaining.pop(item.name, None)
            item_path = f"{path}.{item.name}" if path else item.name
            if item.name not in content and _is_required(item):
                raise UntrustedFileError(f"{self.where}: {item_path} is missing.")
            if value is not None or _is_required(item):
                values[item.name] = self.value(hints[item.name], value, item_path)
        for item in _fields(kind):
            if item.metadata.get(_EXTRA_KEYS):
                values[item.name] = remaining
        return kind(**values)

    def value(self, hint: Any, value: Any, path: str) -> Any:
        if hint is Any:
            return value
        origin = get_origin(hint)
        if origin is Literal:
            return self._choice(get_args(hint), value, path)
        if origin in (Union, UnionType):
            return self._union(get_args(hint), value, path)
        if origin is tuple:
            return self._tuple(get_args(hint), value, path)
        if origin is not None and issubclass(origin, Mapping):
            return self._mapping(get_args(hint)[1], value, path)
        if is_dataclass(hint):
            return self.record(hint, value, path)
        return self._scalar(hint, value, path)

    def _scalar(self, kind: type, value: Any, path: str) -> Any:
        accepted = (int, float) if kind is float else kind
        is_flag = isinstance(value, bool) and kind is not bool  # a bool is an int in Python
        if is_flag or not isinstance(value, accepted):
            raise self._wrong_type(path, _TYPE_NAMES[kind], value)
        if isinstance(value, (int, float)) and abs(value) > MAX_NUMBER:
            raise self._wrong_type(path, f"at most {MAX_NUMBER:g} in size", value)
        return value

    def _choice(self, choices: Sequence[str], value: Any, path: str) -> Any:
        if value not in choices:
            raise self._wrong_type(path, f"one of {', '.join(map(repr, choices))}", value)
        return value

    def _union(self, kinds: Sequence[Any], value: Any, path: str) -> Any:
        if value is None and NoneType in kinds:
            return None
        candidates = [kind for kind in kinds if kind is not NoneType]
        for kind in candidates:
            if is_dataclass(kind) and isinstance(value, dict) and _has_keys_of(kind, value):
                return self.record(kind, value, path)
        return self.value(candidates[-1], value, path)

    def _tuple(self, kinds: Sequence[Any], value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self._wrong_type(path, "a list", value)
        if kinds[-1] is Ellipsis:
            kinds = [kinds[0]] * len(value)
        if len(kinds) != len(value):
            raise self._wrong_type(path, f"a list of {len(kinds)} items", value)
        return tuple(
            self.value(kind, inner, f"{path}[{number}]")
            for number, (kind, inner) in enumerate(zip(kinds, value, strict=True))
        )

    def _mapping(self, kind: Any, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong_type(path, "an object", value)
        return {key: self.value(kind, inner, f"{path}.{key}") for key, inner in value.items()}

    def _wrong_type(self, path: str, expected: str, value: Any) -> UntrustedFileError:
        return UntrustedFileError(f"{self.where}: {path} should be {expected}, found {value!r}.")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _fields(kind: Any) -> tuple[Field[Any], ...]:
    return fields(kind)


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _has_keys_of(kind: Any, content: Mapping[str, Any]) -> bool:
    return all(item.name in content for item in _fields(kind) if _is_required(item))
