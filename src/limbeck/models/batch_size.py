"""The batch size at which a model answers many inputs fast."""

from collections.abc import Iterable

from torch import nn

CONVOLUTION_BATCH, LINEAR_BATCH = 128, 2048
"""Batch sizes of a forward pass, such that feature maps of convolutions fit in a processor's cache
(docs/log.md).
"""


def forward_batch_size(models: Iterable[nn.Module]) -> int:
    """Return the number of inputs of a batch in which models answer many inputs.

    Args:
        models: Models that answer the same inputs. One without parameters computes where it cannot
            be seen, such as in another library, and may have convolutions.
    """
    if any(_has_feature_maps(model) for model in models):
        return CONVOLUTION_BATCH
    return LINEAR_BATCH


def _has_feature_maps(model: nn.Module) -> bool:
    """Whether a model has convolutions, embeddings or attention, or may have them."""
    dimensions = [parameter.ndim for parameter in model.parameters()]
    if not dimensions or max(dimensions) > 2:
        return True
    return any(isinstance(m, (nn.Embedding, nn.MultiheadAttention)) for m in model.modules())
