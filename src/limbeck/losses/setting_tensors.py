"""Settings of several objectives as tensors, with which the losses of all arms are computed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.losses.class_weights import check_length
from limbeck.losses.divergences import upcast
from limbeck.losses.settings import ObjectiveSettings


class SettingTensors:
    """Settings of the objectives of A arms as tensors, one for each device and type.

    Args:
        objectives: Objective of each arm.
        scale: Number by which values of each target are divided, ``[D]``; None for 1.
    """

    def __init__(self, objectives: Sequence[ObjectiveSettings], scale: Sequence[float] | None):
        self.objectives = objectives
        self.scale = scale
        self._tensors: dict[tuple[object, ...], Tensor] = {}

    def get(self, name: str, arms: Sequence[int], like: Tensor, extra: int) -> Tensor:
        """Return a setting of some arms, ``[a, 1, ...]``; class weights are ``[a, 1, ..., C]``.

        Args:
            name: Name of the setting.
            arms: Positions of the arms.
            like: Tensor ``[..., C]`` whose device and type the setting gets.
            extra: Number of dimensions of size 1.

        Raises:
            ConfigError: If the number of class weights differs from the number of classes.
        """
        dtype = loss_dtype(like)
        key = (name, tuple(arms), like.device, dtype, extra)
        if key not in self._tensors:
            values = [self._setting(name, self.objectives[arm], like.shape[-1]) for arm in arms]
            # a tensor made in a validation step has to serve a training step too
            with torch.inference_mode(False):
                tensor = torch.tensor(values, device=like.device, dtype=dtype)
                self._tensors[key] = tensor.view(len(arms), *[1] * extra, *tensor.shape[1:])
        return self._tensors[key]

    def divide_by_scale(self, values: Tensor) -> Tensor:
        """Divide values ``[..., D]`` by the scale of their target."""
        if self.scale is None:
            return values
        values = upcast(values)
        key = ("scale", values.device, values.dtype)
        if key not in self._tensors:
            with torch.inference_mode(False):
                scale = torch.tensor(self.scale, device=values.device, dtype=values.dtype)
                self._tensors[key] = scale
        return values / self._tensors[key]

    def _setting(
        self, name: str, objective: ObjectiveSettings, classes: int
    ) -> float | list[float]:
        if name != "class_weights":
            return float(getattr(objective, name))
        if objective.class_weights is None:
            return [1.0] * classes
        check_length(objective.class_weights, classes)
        return [float(weight) for weight in objective.class_weights]


def loss_dtype(like: Tensor) -> torch.dtype:
    """Return the type in which losses are computed: float32, or float64 for float64 logits."""
    return torch.float64 if like.dtype == torch.float64 else torch.float32
