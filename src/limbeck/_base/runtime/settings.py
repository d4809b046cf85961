"""Checks of the settings in a bundle."""

from typing import Any

from .file_names import TOKENIZER
from .tokenizer_limits import MAX_TOKENS


def is_thresholds(content: Any) -> bool:
    """Whether the content maps kinds of model to error rates, and those to confidences."""
    if not isinstance(content, dict):
        return False
    if not all(isinstance(rates, dict) for rates in content.values()):
        return False
    values = [value for rates in content.values() for value in rates.values()]
    if not all(type(value) in (int, float) for value in values):
        return False
    return all(0 <= value <= 1 for value in values)


def is_preprocess(content: dict[str, Any]) -> bool:
    """Whether the content of ``preprocess.json`` describes inputs of a known kind."""
    shape = content.get("shape")
    if not isinstance(shape, list):
        return False
    if not all(type(side) is int and 1 <= side <= 1 << 16 for side in shape):
        return False
    if len(shape) > 32:
        return False
    if content.get("kind") == "array":
        return content.get("dtype") in ("uint8", "float32")
    if not isinstance(content.get("id_column", ""), str):
        return False
    if content.get("kind") == "text":
        return _is_texts(content, shape)
    if content.get("kind") == "table":
        return _is_columns(content.get("columns")) and shape == [len(content["columns"])]
    if content.get("kind") != "image" or not isinstance(content.get("crop_border"), bool):
        return False
    if not _is_range(content.get("value_range")):
        return False
    return len(shape) == 3 and shape[0] in (1, 3)


def _is_texts(content: dict[str, Any], shape: list[int]) -> bool:
    """Whether settings describe texts: their length, padding, tokenizer and columns."""
    columns, padding = content.get("columns"), content.get("padding")
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        return False
    if not _is_names([column.get("name") for column in columns]) or len(columns) not in (1, 2):
        return False
    if content.get("tokenizer") not in ("bytes", TOKENIZER) or len(shape) != 1:
        return False
    return type(padding) is int and 0 <= padding <= MAX_TOKENS


def _is_columns(columns: Any) -> bool:
    """Whether columns have different names, and a list of categories each or null."""
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        return False
    names = [column.get("name") for column in columns]
    if not _is_names(names) or len(set(names)) < len(names):
        return False
    kinds = [column.get("categories") for column in columns]
    return all(kind is None or (_is_names(kind) and len(kind) > 0) for kind in kinds)


def _is_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _is_range(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or len(value) != 2:
        return False
    are_numbers = all(type(end) in (int, float) and abs(end) < 1e300 for end in value)
    return are_numbers and value[0] < value[1]
