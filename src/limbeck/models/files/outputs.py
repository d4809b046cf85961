"""The number of outputs of the model that weights belong to, if it is not the expected one."""

from collections.abc import Mapping

from torch import Tensor, nn


def outputs_in(weights: Mapping[str, Tensor], model: nn.Module, expected: int) -> int | None:
    """Return the number of outputs of weights that fit a model except for its last layer.

    Args:
        weights: Tensors by name, perhaps with other prefixes than those of the model.
        model: Model with the expected number of outputs.
        expected: Number of outputs of the model.

    Returns:
        The number; None if no tensor tells.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, tensor in weights.items():
        shapes.setdefault(_last_parts(name), []).append(tuple(tensor.shape))
    sizes = set()
    for name, tensor in model.state_dict().items():
        if tensor.ndim < 2 or tensor.shape[0] != expected:
            continue
        for shape in shapes.get(_last_parts(name), []):
            if len(shape) == tensor.ndim and shape[1:] == tuple(tensor.shape[1:]):
                sizes.add(shape[0])
    sizes.discard(expected)
    return sizes.pop() if len(sizes) == 1 else None


def _last_parts(name: str) -> str:
    """The name of a layer and its tensor, without the modules around the layer."""
    return ".".join(name.split(".")[-2:])
