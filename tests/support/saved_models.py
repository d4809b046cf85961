"""Small models to save, and helpers that change their files."""

import json

import pytest
from torch import nn

from limbeck.models import MLP, Normalized

NAMES = ["a", "b", "c"]


class Exploding:
    """Unpickling it raises, so a test sees it when a pickle is read."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.second(self.first(x)))


def small(hidden=(5,)):
    return Normalized(
        MLP((4,), 3, hidden=hidden, dropout=0.5, input_dropout=0.1, max_norm=3.0), [0.5], [0.25]
    )


def rewrite(folder, **changes):
    file = folder / "model.json"
    description = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(description))
