"""What is stored with a model of a dataset, so that it is not used for another one."""

from typing import Any

from limbeck.data.dataset import Dataset


def model_facts(data: Dataset) -> dict[str, Any]:
    """Return the arguments of :func:`~limbeck.models.save_model` that come from a dataset.

    Args:
        data: Dataset of the model.
    """
    return {
        "class_names": [] if data.kind.outputs == "vectors" else data.class_names,
        "tokenizer": None if data.tokenizer is None else data.tokenizer.file,
        "columns": None if data.columns is None else data.columns.as_json(),
    }
