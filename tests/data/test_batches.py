import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data import Dataset, NoViews, Shift, Split, TransferSet
from limbeck.data.batches import EvaluationBatches, TrainBatches, epoch_order
from limbeck.data.study_data import StudyData

IMAGES = torch.arange(30 * 12, dtype=torch.int64).remainder(251).to(torch.uint8).view(30, 1, 3, 4)
SPLIT = Split(IMAGES, torch.arange(30) % 3)


def batches(*, index=None, views=None, seeds=(0, 1), batch_size=8, epoch=0, split=SPLIT):
    index = torch.arange(len(split)) if index is None else index
    return TrainBatches(
        split,
        index,
        split.labels[index],
        views=views or NoViews(),
        seeds=seeds,
        batch_size=batch_size,
        epoch=lambda: epoch,
    )


@settings(max_examples=20, deadline=None)
@given(
    index=st.lists(st.integers(0, 29), min_size=1, max_size=30, unique=True).map(torch.tensor),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 10_000),
)
def test_every_seed_sees_every_sample_once(index, seeds, batch_size, epoch):
    shift = Shift(1)
    source = batches(index=index, seeds=seeds, batch_size=batch_size, epoch=epoch, views=shift)
    all_batches = list(source)
    assert len(all_batches) == len(source) == -(-len(index) // batch_size)
    assert all(batch.y.shape[1] == batch_size for batch in all_batches[:-1])
    for row, seed in enumerate(seeds):
        rows = torch.cat([batch.sample[row] for batch in all_batches])
        assert sorted(rows.tolist()) == sorted(index.tolist())
        assert torch.equal(torch.cat([batch.y[row] for batch in all_batches]), SPLIT.labels[rows])
        view = torch.cat([batch.view[row] for batch in all_batches])
        assert torch.equal(view, shift.draw(seed, epoch, rows))
        expected = shift.apply(IMAGES[rows], view, rows).float() / 255
        assert torch.equal(torch.cat([batch.x[row] for batch in all_batches]), expected)


def test_batches_replay():
    for one, two in zip(
        batches(views=Shift(2), epoch=4), batches(views=Shift(2), epoch=4), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
        assert one.mixed is two.mixed is None


def test_a_seed_sees_the_same_with_others_or_alone():
    together, alone = batches(seeds=(5, 9), views=Shift(2)), batches(seeds=(9,), views=Shift(2))
    for both, one in zip(together, alone, strict=True):
        assert all(torch.equal(a[1:], b) for a, b in zip(both[:4], one[:4], strict=True))


def test_each_iteration_is_the_current_epoch():
    epochs = itertools.count()
    source = TrainBatches(
        SPLIT,
        torch.arange(30),
        SPLIT.labels,
        views=NoViews(),
        seeds=[0],
        batch_size=30,
        epoch=lambda: next(epochs),
    )
    orders = [next(iter(source)).sample[0] for _ in range(3)]
    for epoch, order in enumerate(orders):
        assert torch.equal(order, epoch_order(30, 0, epoch))


def test_the_last_batch_takes_what_is_left():
    assert [tuple(batch.x.shape) for batch in batches(batch_size=16)] == [
        (2, 16, 1, 3, 4),
        (2, 14, 1, 3, 4),
    ]


def test_unlabelled_samples_stay_unlabelled():
    index, labels = TransferSet(20, 5).select(SPLIT)
    source = TrainBatches(
        SPLIT, index, labels, views=NoViews(), seeds=[0, 1], batch_size=7, epoch=lambda: 0
    )
    y = torch.cat([batch.y for batch in source], dim=1)
    assert (y == -100).sum(1).tolist() == [15, 15]


def test_pixels_become_shares_and_floats_stay():
    x = next(iter(batches())).x
    assert x.dtype == torch.float32
    assert x.max() <= 1
    floats = Split(torch.randn(30, 5), SPLIT.labels)
    batch = next(iter(batches(split=floats)))
    assert torch.equal(batch.x, floats.inputs[batch.sample])


def test_the_split_is_not_changed():
    before = IMAGES.clone()
    for batch in batches(views=Shift(1)):
        batch.x.mul_(0)
    assert torch.equal(IMAGES, before)


def test_orders_of_small_seeds_and_epochs_differ():
    orders = {
        tuple(epoch_order(40, seed, epoch).tolist()) for seed in range(15) for epoch in range(15)
    }
    assert len(orders) == 225


def test_orders_differ_for_seeds_with_equal_low_bits():
    orders = {
        tuple(epoch_order(40, seed, 0).tolist())
        for seed in (-2, -1, 0, 1, 2, 4, 1 << 16, 1 << 31, 1 << 32)
    }
    assert len(orders) == 9
    epochs = (0, 1 << 31, 1 << 32, 1 << 40)
    assert len({tuple(epoch_order(40, 0, epoch).tolist()) for epoch in epochs}) == 4


def test_orders_are_uncorrelated():
    """Rank correlations of orders of n samples have a standard deviation of 1 / sqrt(n - 1)."""
    orders = np.stack(
        [epoch_order(2000, seed, epoch).numpy() for seed in range(6) for epoch in range(5)]
    )
    correlations = np.corrcoef(orders)[np.triu_indices(30, 1)] * 1999**0.5
    assert np.abs(correlations).max() < 6
    assert 0.8 < correlations.std() < 1.2


def test_orders_and_views_are_independent():
    order, view = epoch_order(20_000, 3, 5), Shift(2).draw(3, 5, torch.arange(20_000))
    assert abs(np.corrcoef(order.numpy(), view.numpy())[0, 1]) * 20_000**0.5 < 6


def test_orders_are_permutations():
    for samples in (0, 1, 2, 1000):
        assert sorted(epoch_order(samples, 1, 2).tolist()) == list(range(samples))


def test_evaluation_is_in_order():
    source = EvaluationBatches(SPLIT, seeds=3, batch_size=8)
    all_batches = list(source)
    assert len(all_batches) == len(source) == 4
    shapes = [tuple(batch.x.shape) for batch in all_batches]
    assert shapes == [(3, 8, 1, 3, 4)] * 3 + [(3, 6, 1, 3, 4)]
    assert all(batch.sample is None and batch.view is None for batch in all_batches)
    for seed in range(3):
        assert torch.equal(torch.cat([b.x[seed] for b in all_batches]), IMAGES.float() / 255)
        assert torch.equal(torch.cat([b.y[seed] for b in all_batches]), SPLIT.labels)


def test_study_data_gives_the_transfer_set_and_never_the_test_split():
    x = torch.arange(50, dtype=torch.float32)[:, None]
    test = Split(torch.full((9, 1), -1.0), torch.zeros(9, dtype=torch.int64))
    data = Dataset("d", Split(x, torch.arange(50) % 5), test, class_names="abcde", val=10)
    study = StudyData(data, seeds=[0, 3], batch_size=6, transfer=TransferSet(15))
    study.set_epoch(2)
    device = torch.device("cpu")
    inputs = torch.cat([batch.x[1] for batch in study.train_batches(device)]).flatten()
    index, _ = TransferSet(15).select(data.train)
    assert torch.equal(inputs, data.train.inputs[index][epoch_order(15, 3, 2)].flatten())
    val_inputs = torch.cat([batch.x for batch in study.val_batches(device)], dim=1)
    assert torch.equal(val_inputs, data.val.inputs.expand(2, 10, 1))


def test_processes_share_each_batch():
    x = torch.arange(50, dtype=torch.float32)[:, None]
    split = Split(x, torch.arange(50) % 5)
    data = Dataset("d", split, split, class_names="abcde", val=10)
    study = StudyData(data, seeds=[0, 3], batch_size=7, transfer=TransferSet(16, 5))
    device = torch.device("cpu")
    whole = list(study.train_batches(device))
    shares = [list(study.train_batches(device, rank=rank, processes=2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(batch.sample[:, 0::2], first.sample)
        assert torch.equal(batch.sample[:, 1::2], second.sample)
        assert torch.equal(batch.counts[0], first.counts[0] + second.counts[0])
        assert batch.counts[1] == first.counts[1] + second.counts[1]
