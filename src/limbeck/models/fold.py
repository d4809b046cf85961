"""Constants for the classes put into a model itself, so that it is deployed like any other."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def add_to_logits(model: nn.Module, bias: Tensor, inputs: Tensor) -> bool:
    """Add constants to a model's logits by the bias of its last layer.

    That is the parameter, one number a class, whose change moves the logits of some inputs by just
    this change.

    Args:
        model: in eval mode; changed in place.
        bias: ``[C]``.
        inputs: to try it on, ``[B, *shape]``.

    Returns:
        Whether there is such a parameter; if not, the model is as it was.
    """
    before = model(inputs)
    for parameter in reversed(
        [p for p in (*model.buffers(), *model.parameters()) if p.shape == bias.shape]
    ):
        kept = parameter.clone()
        parameter.add_(bias.to(parameter))
        if torch.allclose(model(inputs), before + bias.to(before), rtol=1e-4, atol=1e-4):
            return True
        parameter.copy_(kept)
    return False
