import json

import pytest
import torch

from limbeck.models import MLP, ConvNet


@pytest.mark.parametrize("build", [MLP, ConvNet])
def test_arguments_rebuild_the_same_structure(build):
    model = build(torch.Size([1, 8, 8]), 10)
    again = build(**json.loads(json.dumps(model.arguments)))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes
    assert again.arguments == model.arguments
