"""Networks of transformers on padded texts."""

from torch import nn

from limbeck.data import Dataset
from limbeck.models.huggingface.classifier import with_mask


def mask_padding(model: nn.Module, data: Dataset) -> nn.Module:
    """Return a network of transformers with a mask of the padding; other models unchanged.

    Args:
        model: Any model.
        data: Dataset of the study.

    Raises:
        ConfigError: If the network does not fit the texts.
    """
    if data.tokenizer is None or data.padding is None:
        return model
    return with_mask(model, data.shape, data.tokenizer.padded_size, data.padding)
