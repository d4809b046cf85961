"""The soft losses of classes, apart from those of values."""

from limbeck.losses import SOFT_LOSSES

CLASS_LOSSES = {name: loss for name, loss in SOFT_LOSSES.items() if loss.outputs == "classes"}
