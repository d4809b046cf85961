"""The number of outputs is read from weights that fit a model except for its last layer."""

import pytest
import torchvision

from limbeck.models import MLP, ConvNet, Normalized
from limbeck.models.files.outputs import outputs_in


@pytest.mark.parametrize(
    "build",
    [
        lambda classes: MLP((1, 8, 8), classes, hidden=[10]),
        lambda classes: ConvNet((1, 8, 8), classes, channels=[4], strides=[1]),
        lambda classes: Normalized(MLP((1, 8, 8), classes, hidden=[5]), [0.1], [1.0]),
        lambda classes: torchvision.models.squeezenet1_0(num_classes=classes),
    ],
)
def test_another_number_of_outputs_is_read(build):
    for prefix in ("", "module.model."):
        weights = {prefix + name: tensor for name, tensor in build(12).state_dict().items()}
        assert outputs_in(weights, build(10), 10) == 12
        assert outputs_in(weights, build(12), 12) is None


def test_weights_of_another_model_tell_nothing():
    weights = ConvNet((1, 8, 8), 12, channels=[4], strides=[1]).state_dict()
    assert outputs_in(weights, MLP((1, 8, 8), 10, hidden=[8]), 10) is None
