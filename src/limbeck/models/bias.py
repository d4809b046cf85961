"""Constants for the classes, added inside a model so that it is deployed like any other."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def add_to_logits(model: nn.Module, bias: Tensor, inputs: Tensor) -> bool:
    """Add constants to a model's logits by the bias of its last layer.

    That is the parameter, one number per class, whose change moves the logits of some inputs by
    exactly this change.

    Args:
        model: Model in eval mode; changed in place.
        bias: Constants, ``[C]``.
        inputs: Inputs to try it on, ``[B, *shape]``.

    Returns:
        Whether there is such a parameter; if not, the model is unchanged.
    """
    before = model(inputs)
    tensors = [*model.buffers(), *model.parameters()]
    candidates = [tensor for tensor in tensors if tensor.shape == bias.shape]
    for parameter in reversed(candidates):
        original = parameter.clone()
        parameter.add_(bias.to(parameter))
        if torch.allclose(model(inputs), before + bias.to(before), rtol=1e-4, atol=1e-4):
            return True
        parameter.copy_(original)
    return False
