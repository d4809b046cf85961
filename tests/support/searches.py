"""Searches for a student: made by hand, and small ones that run."""

from functools import partial

import numpy as np

from limbeck import Objective, Optimizer, RunOptions, Schedule, Teacher
from limbeck.data import Dataset
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.run.search import Search, Trial, read_search
from limbeck.search.settings import SearchSettings
from limbeck.search.study import SearchStudy

SMALL = {"students": ["mlp"], "width": [4, 32], "variants": 2, "architectures": 2}


def make_trial(number, share, value, state="trained", **fields):
    """A trial that uses a share of the budget and has a result on the validation split."""
    settings = {"student": "mlp", "width": 8, "temperature": 4.21, "soft_weight": 0.9, "lr": 0.012}
    return Trial(
        **{
            "number": number,
            "round": 0,
            "settings": settings,
            "architecture": f"mlp{number}",
            "params": 1234,
            "macs": 1200,
            "size": 1000 * share,
            "share": share,
            "state": state,
            "value": value,
            **fields,
        }
    )


def make_search(*trials, choice=None, **limits):
    """A search among 200 validation samples with these limits."""
    return Search(
        measure="errors",
        validation=200,
        limits=limits,
        seed=5,
        seconds=67.0,
        trials=trials,
        choice=choice,
    )


class ModelOfSize:
    """Stands for an exported model: four bytes for each parameter, and 100 of its own."""

    def __init__(self, model):
        self.size = 100 + 4 * sum(p.numel() for p in model.parameters())

    def SerializeToString(self, deterministic=True):
        return bytes(self.size)


def blobs(test_labels=None):
    random = np.random.default_rng(0)
    centres = 1.2 * random.normal(size=(4, 6))
    y = random.integers(0, 4, 260)
    x = (centres[y] + random.normal(size=(260, 6))).astype(np.float32)
    test = y[180:] if test_labels is None else test_labels
    return Dataset.from_arrays(x[:180], y[:180], x[180:], test, name="blobs", val=60)


def make_study(
    out, *, data=None, trials=8, budget=None, space=None, epochs=2, resume=False, **changes
):
    """A search for a small MLP that tells four classes of points apart."""
    settings = SearchSettings.of(
        {
            "budget": budget or {"size": "1kB"},
            "search": {**SMALL, **(space or {})},
            "trials": trials,
        }
    )
    common = {
        "teacher": Teacher(model=partial(MLP, hidden=[32]), epochs=5, optimizer=Optimizer(lr=0.02)),
        "objective": Objective(),
        "seeds": 2,
        "schedule": Schedule(epochs=epochs, batch_size=32, optimizer=Optimizer(lr=0.02)),
        "options": RunOptions(progress=False, resume=resume),
    }
    return SearchStudy(data or blobs(), settings, out=out, **{**common, **changes})


def trials_of(out):
    return read_search(RunFolder(out)).trials
