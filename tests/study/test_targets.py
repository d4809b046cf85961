"""The signals that the cohorts of a study learn from: live answers or stored ones."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective, StoreSettings
from limbeck.data import Dataset, Mixup, NoViews, Shift, TransferSet, Views
from limbeck.data.batches import TrainBatches
from limbeck.data.dataset import as_float
from limbeck.data.randomness import replayable_integers
from limbeck.data.resampling import ResampledSplits
from limbeck.data.views.base import ENDLESS
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.store.answers import FullPrecision
from limbeck.store.files import ANSWERS
from limbeck.study.pools import TransferPools
from limbeck.study.targets import TeacherSignals
from limbeck.teacher.signal import LiveTeacher, StoredTeacher

HARD, SOFT = Objective(hard_weight=1.0, soft_weight=0.0), Objective()


class Brighter(Views):
    """Images times a random number for each view of each sample, without end."""

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
    }
    return make_study(data, arms, out, **{**usual, **options})


def signals_of(data, teacher, arms=None, **options):
    """The signals of a study, and that of each arm with a teacher."""
    tiny = study(data, "unused", arms, teacher=teacher, **options)
    signals = TeacherSignals(
        [LiveTeacher(teacher)],
        TransferPools(ResampledSplits(data, tiny.seeds), [], RunFolder("unused"), tiny.progress),
        tiny.store,
        list(tiny.cohorts()),
        precision=FullPrecision(),
        device=torch.device("cpu"),
        progress=tiny.progress,
    )
    learners = [plan for plan in tiny.plans if plan.objective.needs_teacher]
    return signals, {plan.name: signals.get(plan, tiny.seeds) for plan in learners}


def stores_of(signals):
    """Rows and views of each opened store."""
    return sorted((store.rows, store.views) for store in signals.stores.values())


def test_answers_are_stored_if_that_takes_no_more_passes(data, store):
    teacher = Counting()
    signals, by_arm = signals_of(data, teacher, views=Shift(1), store=store)
    assert stores_of(signals) == []  # 9 views of 50 samples against 3 epochs of 2 seeds
    assert isinstance(by_arm["soft"], LiveTeacher)
    assert not store.root.exists()
    signals, by_arm = signals_of(data, teacher, views=Shift(1), store=store, epochs=5)
    assert stores_of(signals) == [(50, "shifts of 1")]
    assert isinstance(by_arm["soft"], StoredTeacher)
    signals, _ = signals_of(data, teacher, views=Shift(1), store=store)
    assert stores_of(signals) == [(50, "shifts of 1")], (
        "a complete store is used however few the epochs"
    )
    signals, by_arm = signals_of(data, teacher, views=Shift(1), store="off", epochs=5)
    assert stores_of(signals) == []
    assert isinstance(by_arm["soft"], LiveTeacher)


def test_arms_with_the_same_views_share_a_store_of_all_their_rows(data, store):
    transfers = [TransferSet(samples=20, seed=seed) for seed in (1, 2)]
    arms = {
        "a": Arm(objective=SOFT, transfer=transfers[0]),
        "b": Arm(objective=SOFT, transfer=transfers[1]),
        "c": Arm(objective=SOFT, transfer=transfers[0], views=Shift(1)),
        "hard": Arm(objective=HARD),
    }
    signals, by_arm = signals_of(data, Counting(), arms, store=store, epochs=9)
    rows = torch.cat([transfer.select(data.train)[0] for transfer in transfers]).unique()
    assert 20 < len(rows) < 40
    assert stores_of(signals) == sorted([(len(rows), "none"), (20, "shifts of 1")])
    assert by_arm["a"] is by_arm["b"] is not by_arm["c"]


def test_views_that_mix_have_a_store_for_each_transfer_set(data, store):
    arms = {}
    for seed, name in enumerate("ab"):
        transfer = TransferSet(samples=20, seed=seed)
        arms[name] = Arm(objective=SOFT, transfer=transfer, views=Mixup(1.0))
    teacher = Counting()
    signals, by_arm = signals_of(data, teacher, arms, store=store)
    assert stores_of(signals) == [(20, "mixup"), (20, "mixup")]
    for name, arm in arms.items():
        index, labels = arm.transfer.select(data.train)
        batches = TrainBatches(
            data.train,
            index,
            labels,
            views=Mixup(1.0).limited(4),
            seeds=[0],
            batch_size=8,
            epoch=lambda: 1,
        )
        for batch in batches:
            live = teacher(batch.x[0])
            stored = by_arm[name](batch.x, batch.sample, batch.view)[0]
            torch.testing.assert_close(stored, live)


def test_endless_views_are_limited_in_every_arm_that_shares_a_store(data, store):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=SOFT),
        "shifted": Arm(objective=SOFT, views=Shift(1)),
        "alone": Arm(objective=HARD, views=Mixup(1.0)),
    }
    limited = study(data, "unused", arms, views=Brighter(), store=store)
    assert [plan.views.count for plan in limited.plans] == [4, 4, 9, ENDLESS]
    signals, _ = signals_of(data, Counting(), arms, views=Brighter(), store=store)
    assert (50, "brighter") in stores_of(signals)
    off = study(data, "unused", arms, views=Brighter(), store="off")
    assert [plan.views.count for plan in off.plans] == [ENDLESS, ENDLESS, 9, ENDLESS]


def test_a_store_of_sampled_classes_is_drawn_at_the_temperature_of_the_arms(data, store):
    sampled = replace(store, kind="sampled", dtype="float16", k=2)
    keys = set()
    for temperature in (1.0, 4.0):
        arms = {"soft": Arm(objective=Objective(temperature=temperature))}
        signals, _ = signals_of(data, Counting(), arms, store=sampled)
        keys |= set(signals.stores)
    assert len(keys) == 2


# Whole studies ------------------------------------------------------------------------------------


def manifest_stores(out):
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))["stores"]


def test_another_run_uses_the_stored_answers(data, tmp_path, store):
    counts = []
    for name in ("one", "two"):
        teacher = Counting()
        study(data, tmp_path / name, teacher=teacher, store=store, views=NoViews()).run()
        counts.append(teacher.inputs)
        assert [used["rows"] for used in manifest_stores(tmp_path / name).values()] == [50]
    assert counts[0] - counts[1] == 50


def test_answers_have_the_precision_of_the_training(data, tmp_path, store):
    study(data, tmp_path / "exact", store=store, seeds=1).run()
    trainer = {"precision": "bf16-mixed", "accelerator": "cpu"}
    study(data, tmp_path / "mixed", store=store, seeds=1, trainer=trainer).run()
    ((exact, _),) = manifest_stores(tmp_path / "exact").items()
    ((mixed, _),) = manifest_stores(tmp_path / "mixed").items()
    assert exact != mixed
    logits = []
    for key in (exact, mixed):
        file = str(store.root / key / ANSWERS)
        logits.append(torch.from_file(file, shared=False, size=150, dtype=torch.float32))
    assert not torch.equal(*logits)
    torch.testing.assert_close(*logits, rtol=0.05, atol=0.02)


class Normed(nn.Module):
    """A student that cannot be stacked."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

    def forward(self, x):
        return self.net(x)


def test_each_cohort_of_one_counts_its_own_passes(data, store):
    arms = {"one": Arm(objective=SOFT), "two": Arm(objective=Objective(temperature=2.0))}
    signals, _ = signals_of(data, Counting(), arms, student=Normed, views=Shift(1), store=store)
    assert stores_of(signals) == [(50, "shifts of 1")], (
        "2 arms x 2 seeds x 3 epochs is more than 9 views"
    )
