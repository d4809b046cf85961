"""A language model of a user's own has the fast path of limbeck's."""

import pytest
import torch
from torch import nn

from limbeck.models import GPT, MLP, HasLastLayer, LastLayer
from limbeck.training.chunked_steps import last_layer


class OwnModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(11, 4)
        self.head = nn.Linear(4, 11)

    def hidden(self, ids):
        return self.tokens(ids).tanh()

    def last_layer(self):
        return LastLayer(self.head.weight, self.head.bias)

    def forward(self, ids):
        return self.head(self.hidden(ids))


@pytest.mark.parametrize("model", [OwnModel(), GPT((6,), 11, width=4)])
def test_logits_are_features_times_the_last_layer(model):
    assert isinstance(model, HasLastLayer)
    ids = torch.arange(6)[None]
    weight, bias = last_layer(model)
    logits = nn.functional.linear(model.hidden(ids), weight, bias)
    torch.testing.assert_close(logits, model(ids))
    assert weight.shape == (11, 4)


def test_layers_that_happen_to_be_called_output_and_hidden_are_no_protocol():
    model = nn.ModuleDict({"hidden": nn.Linear(2, 2), "output": nn.Linear(2, 2)})
    assert last_layer(model) is None
    assert last_layer(MLP((4,), 3)) is None
