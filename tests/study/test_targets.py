"""Which signal the cohorts of a study learn from."""

import json
from functools import partial

import pytest
import torch
from torch import nn

from limbeck import Arm, Objective, StoreSettings, Study
from limbeck.data import Dataset, Mixup, NoViews, Shift, TransferSet, Views
from limbeck.data.dataset import as_float
from limbeck.data.randomness import replayable_integers
from limbeck.data.views.base import ENDLESS
from limbeck.models import MLP

HARD, SOFT = Objective(hard_weight=1.0, soft_weight=0.0), Objective()


class Brighter(Views):
    """Images times a number, drawn anew for each view of each sample, without end."""

    name, plain = "brighter", 0

    def __init__(self):
        self.count = ENDLESS

    def apply(self, inputs, view, sample):
        share = replayable_integers(0, 0, view * 1_000_003 + sample).double() / (1 << 63)
        return as_float(inputs) * share.float().view(-1, *[1] * (inputs.ndim - 1))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.net, self.inputs = MLP((1, 4, 4), 3, hidden=[9]), 0

    def forward(self, x):
        self.inputs += len(x)
        return self.net(x)


@pytest.fixture
def data():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(256, (90, 1, 4, 4), generator=draw).to(torch.uint8)
    y = (x.flatten(1).float() @ torch.randn(16, 3, generator=draw)).argmax(1)
    return Dataset.from_arrays(
        x[:60], y[:60], x[60:], y[60:], name="tiny", val=10, class_names=list("abc")
    )


@pytest.fixture
def store(tmp_path):
    return StoreSettings(folder=tmp_path / "stores", dtype="float32", views=4)


def study(data, out, arms=None, **options):
    arms = arms or {"hard": Arm(objective=HARD), "soft": Arm(objective=SOFT)}
    usual = {
        "student": partial(MLP, hidden=[4]),
        "teacher": Counting(),
        "seeds": 2,
        "epochs": 3,
        "progress": False,
    }
    return Study(data, arms, out=out, **{**usual, **options})


def stores_of(out):
    """What the manifest tells of stores: rows and views of each."""
    stores = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["stores"]
    return sorted((store["rows"], store["views"]) for store in stores.values())


def test_auto_keeps_answers_where_that_is_not_more_work(data, tmp_path, store):
    study(data, tmp_path / "six", views=Shift(1), store=store).run()
    assert stores_of(tmp_path / "six") == []
    assert not store.root.exists()
    study(data, tmp_path / "ten", views=Shift(1), store=store, epochs=5).run()
    assert stores_of(tmp_path / "ten") == [(50, "shifts of 1")]
    study(data, tmp_path / "again", views=Shift(1), store=store).run()
    assert stores_of(tmp_path / "again") == [(50, "shifts of 1")], (
        "a complete store is used however few the epochs"
    )


def test_arms_with_the_same_views_share_a_store_of_all_their_rows(data, tmp_path, store):
    arms = {
        "a": Arm(objective=SOFT, transfer=TransferSet(samples=20, seed=1)),
        "b": Arm(objective=SOFT, transfer=TransferSet(samples=20, seed=2)),
        "c": Arm(objective=SOFT, transfer=TransferSet(samples=20, seed=1), views=Shift(1)),
        "hard": Arm(objective=HARD),
    }
    tiny = study(data, tmp_path / "run", arms, store=store, epochs=9)
    tiny.run()
    rows = torch.cat(
        [TransferSet(samples=20, seed=seed).select(data.train)[0] for seed in (1, 2)]
    ).unique()
    assert 20 < len(rows) < 40
    assert stores_of(tmp_path / "run") == sorted([(len(rows), "none"), (20, "shifts of 1")])


def test_views_that_mix_have_a_store_for_each_transfer_set(data, tmp_path, store):
    arms = {
        name: Arm(objective=SOFT, transfer=TransferSet(samples=20, seed=seed), views=Mixup(1.0))
        for seed, name in enumerate("ab")
    }
    stored, live = tmp_path / "stored", tmp_path / "live"
    summary = study(data, stored, arms, store=store).run()
    assert stores_of(stored) == [(20, "mixup"), (20, "mixup")]
    limited = {
        name: Arm(**{**vars(arm), "views": Mixup(1.0).limited(4)}) for name, arm in arms.items()
    }
    other = study(data, live, limited, store="off").run()
    for one, two in zip(summary.arms, other.arms, strict=True):
        assert one.mean.nll == pytest.approx(two.mean.nll, rel=1e-5)


def test_endless_views_get_an_end_in_every_arm_that_has_them(data, tmp_path, store):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=SOFT),
        "shifted": Arm(objective=SOFT, views=Shift(1)),
        "alone": Arm(objective=HARD, views=Mixup(1.0)),
    }
    tiny = study(data, tmp_path / "run", arms, views=Brighter(), store=store)
    assert [plan.views.count for plan in tiny.plans] == [4, 4, 9, ENDLESS]
    tiny.run()
    assert (50, "brighter") in stores_of(tmp_path / "run")
    off = study(data, tmp_path / "off", arms, views=Brighter(), store="off")
    assert [plan.views.count for plan in off.plans] == [ENDLESS, ENDLESS, 9, ENDLESS]
    off.run()
    assert stores_of(tmp_path / "off") == []


def test_another_run_asks_nothing_but_the_comparison(data, tmp_path, store):
    counts = []
    for name in ("one", "two"):
        teacher = Counting()
        study(data, tmp_path / name, teacher=teacher, store=store, views=NoViews()).run()
        counts.append(teacher.inputs)
    assert counts[0] - counts[1] == 50


def test_the_precision_of_the_training_is_that_of_the_answers(data, tmp_path, store):
    study(data, tmp_path / "exact", store=store).run()
    study(
        data,
        tmp_path / "mixed",
        store=store,
        trainer={"precision": "bf16-mixed", "accelerator": "cpu"},
    ).run()
    keys = [
        set(json.loads((tmp_path / name / "manifest.json").read_text(encoding="utf-8"))["stores"])
        for name in ("exact", "mixed")
    ]
    assert keys[0] != keys[1]
    logits = [
        torch.from_file(
            str(store.root / key / "answers.bin"), shared=False, size=150, dtype=torch.float32
        )
        for (key,) in keys
    ]
    assert not torch.equal(*logits)
    torch.testing.assert_close(*logits, rtol=0.05, atol=0.02)


def test_a_cohort_of_one_counts_each_of_its_questions(data, tmp_path, store):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)
            )

        def forward(self, x):
            return self.net(x)

    arms = {"one": Arm(objective=SOFT), "two": Arm(objective=Objective(temperature=2.0))}
    study(data, tmp_path / "run", arms, student=Normed, views=Shift(1), store=store).run()
    assert stores_of(tmp_path / "run") == [(50, "shifts of 1")], (
        "2 arms x 2 seeds x 3 epochs is more than 9 views"
    )
