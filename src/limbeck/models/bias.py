"""Constants for the classes, added to the weights of a model for deployment."""

import torch
from torch import Tensor, nn

from limbeck.models.output import logits_of


@torch.no_grad()
def add_to_logits(model: nn.Module, bias: Tensor, inputs: Tensor) -> bool:
    """Add constants to a model's logits through the bias of its last layer.

    The bias is found by trial: it is a parameter with one number per class, and adding the
    constants to it adds them to the logits.

    Args:
        model: Model in eval mode; changed in place.
        bias: Constants, ``[C]``.
        inputs: Inputs for the trial, ``[B, *shape]``.

    Returns:
        Whether there is such a parameter. If not, the model is unchanged.
    """

    def answer() -> Tensor:
        return logits_of(model(inputs), len(inputs), "model")

    before = answer()
    tensors = [*model.buffers(), *model.parameters()]
    candidates = [tensor for tensor in tensors if tensor.shape == bias.shape]
    for parameter in reversed(candidates):
        original = parameter.clone()
        parameter.add_(bias.to(parameter))
        if torch.allclose(answer(), before + bias.to(before), rtol=1e-4, atol=1e-4):
            return True
        parameter.copy_(original)
    return False
