"""Outputs are brought to the classes of a dataset, also after saving and loading."""

import json

import pytest
import torch
from torch import nn

from limbeck._base.errors import UntrustedFileError
from limbeck.models import MLP, Normalized, OutputMap, load_model, save_model

X = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))

    def forward(self, x):
        return self.layers(x)


def test_outputs_are_selected_in_order():
    net = MLP((1, 4, 4), 4, hidden=[3]).eval()
    assert torch.equal(OutputMap(net, [2, 0, 3])(X), net(X)[:, [2, 0, 3]])


def test_probabilities_become_logits():
    net = nn.Sequential(Own(), nn.Softmax(-1))
    logits = OutputMap(net, range(4), probabilities=True)(X)
    torch.testing.assert_close(logits.softmax(-1), net(X))
    sure = OutputMap(nn.Identity(), range(2), probabilities=True)
    assert sure(torch.tensor([[0.0, 1.0]])).tolist() == [[-30.0, 0.0]]


@pytest.mark.parametrize(
    "net",
    [
        MLP((1, 4, 4), 4, hidden=[3]),
        Normalized(MLP((1, 4, 4), 4, hidden=[3]), [0.2], [0.3]),
        Own(),
        Normalized(Own(), [0.2], [0.3]),
    ],
    ids=["mlp", "normalized mlp", "own", "normalized own"],
)
def test_a_saved_map_answers_as_before(net, tmp_path):
    model = OutputMap(net, [2, 0], probabilities=False).eval()
    save_model(model, tmp_path, class_names=["a", "b"])
    loaded = load_model(tmp_path, lambda: Normalized(Own(), [9.0], [9.0]))
    assert torch.equal(loaded.model(X), model(X))
    assert loaded.description["class_names"] == ["a", "b"]
    save_model(loaded.model, tmp_path / "again", class_names=["a", "b"])
    again = json.loads((tmp_path / "again" / "model.json").read_text())
    assert again == json.loads((tmp_path / "model.json").read_text())


@pytest.mark.parametrize(
    "outputs",
    [
        3,
        {},
        {"columns": [], "probabilities": False},
        {"columns": [-1], "probabilities": False},
        {"columns": ["0"], "probabilities": False},
        {"columns": [True], "probabilities": False},
        {"columns": [0], "probabilities": 1},
    ],
)
def test_a_damaged_map_is_one_message(outputs, tmp_path):
    save_model(OutputMap(MLP((1, 4, 4), 4, hidden=[3]), [2, 0]), tmp_path, class_names=["a", "b"])
    file = tmp_path / "model.json"
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, "outputs": outputs}))
    with pytest.raises(UntrustedFileError, match="outputs"):
        load_model(tmp_path)
