"""Description of a model's inputs, for the programs that make them: ``preprocess.json``."""

from typing import Any

import torch

from limbeck._base.runtime.file_names import TOKENIZER
from limbeck.data import Dataset, TableColumns
from limbeck.data.text.tokenizer import Tokenizer


def describe_inputs(data: Dataset) -> dict[str, Any]:
    """Describe the inputs of a dataset's models, as JSON needs it.

    Args:
        data: Dataset of the run.

    Returns:
        Kind (``image``, ``table``, ``text`` or ``array``), shape and type of one input, and how it
        is made.
    """
    names = {} if data.id_column is None else {"id_column": data.id_column}
    if data.columns is not None:
        return _rows(data.columns) | names
    if data.tokenizer is not None and data.padding is not None:
        return _texts(data, data.tokenizer) | names
    shape = list(data.shape)
    if not _is_image(data):
        dtype = str(data.train.inputs.dtype).removeprefix("torch.")
        return {"kind": "array", "shape": shape, "dtype": dtype}
    return {
        "kind": "image",
        "shape": shape,
        "dtype": "uint8",
        "layout": "channels, height, width",
        "colour": "RGB" if shape[0] == 3 else "grey",
        "values": "0 to 255; the model normalises them",
        "crop_border": data.crop_border,
        "value_range": data.value_range,
        "resize": "largest centred crop of this shape, bilinear (Pillow, reducing_gap 3)",
    }


def _is_image(data: Dataset) -> bool:
    """Whether inputs can be made from image files."""
    inputs = data.train.inputs
    return inputs.dtype == torch.uint8 and inputs.ndim == 4 and inputs.shape[1] in (1, 3)


def _rows(columns: TableColumns) -> dict[str, Any]:
    return {
        "kind": "table",
        "shape": [len(columns)],
        "dtype": "float32",
        "values": "numbers, codes of categories from 0, NaN for missing values; the model "
        "standardises and encodes them",
        "columns": columns.as_json(),
    }


def _texts(data: Dataset, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "kind": "text",
        "shape": list(data.shape),
        "dtype": "int32",
        "values": "token ids of texts with special tokens, cut to this length; shorter texts of a "
        "batch are padded at their end",
        "padding": tokenizer.padding,
        "tokenizer": "bytes" if tokenizer.file is None else TOKENIZER,
        "columns": [{"name": name} for name in data.text_columns],
    }
