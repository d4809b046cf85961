"""Training and validation splits that are drawn several times."""

import itertools
from dataclasses import replace

import pytest
import torch

from limbeck.data import Dataset, Split
from limbeck.data.resampling import ResampledSplits
from limbeck.data.study_data import StudyData
from limbeck.data.transfer_set import TransferSet
from limbeck.data.views.mixup import Mixup

SEEDS = [7, 3, 11, 5]


def dataset(classes=3, samples=120, val=30, copies=()):
    """Distinct inputs, but for the pairs in ``copies``; class frequencies differ."""
    x = torch.arange(samples, dtype=torch.float32)[:, None].repeat(1, 2)
    for row, other in copies:
        x[row] = x[other]
    y = torch.randint(0, classes, (samples,), generator=torch.Generator().manual_seed(1))
    y[y == 2] = torch.where(torch.arange(int((y == 2).sum())) % 2 == 0, 2, 0)
    train, val_split = Split(x[val:], y[val:]), Split(x[:val], y[:val])
    test = Split(x + 1000, y)
    names = [str(label) for label in range(classes)]
    return Dataset.from_splits("numbers", train, val_split, test, class_names=names)


def values(split):
    return split.inputs[:, 0].tolist()


def test_one_split_is_that_of_the_dataset():
    data = dataset()
    splits = ResampledSplits(data, SEEDS)
    assert splits.pool is data.train
    assert splits.train_rows(0) is None
    assert splits.val(0) is data.val


def test_the_first_of_several_splits_is_that_of_the_dataset():
    data = dataset()
    splits = ResampledSplits(data, SEEDS, 4)
    assert values(splits.train(0)) == values(data.train)
    assert splits.val(0) is data.val
    assert splits.dataset(0) is data


def test_splits_divide_the_same_samples_with_as_many_of_each_class():
    data = dataset()
    splits = ResampledSplits(data, SEEDS, 4)
    everything = sorted(values(data.train) + values(data.val))
    for number in range(4):
        train, val = splits.train(number), splits.val(number)
        assert sorted(values(train) + values(val)) == everything
        for split, original in ((train, data.train), (val, data.val)):
            assert split.labels.bincount().tolist() == original.labels.bincount().tolist()
        resampled = splits.dataset(number)
        assert values(resampled.val) == values(val)
        assert values(resampled.train) == values(train)


def test_splits_differ_and_do_not_depend_on_their_number():
    data = dataset()
    four, two = ResampledSplits(data, SEEDS, 4), ResampledSplits(data, SEEDS, 2)
    draws = [tuple(values(four.val(number))) for number in range(4)]
    assert len(set(draws)) == 4
    assert tuple(values(two.val(1))) == draws[1]


def test_every_sample_is_as_likely_to_be_drawn():
    data = dataset(samples=60, val=15)
    counts = torch.zeros(60)
    draws = 400
    splits = ResampledSplits(data, list(range(draws)), draws)
    for number in range(1, draws):
        counts[splits.val(number).inputs[:, 0].long()] += 1
    labels = torch.cat([data.val.labels, data.train.labels])
    for label in range(3):
        share = (data.val.labels == label).sum() / (labels == label).sum()
        of_class = counts[labels == label] / (draws - 1)
        spread = (share * (1 - share) / draws) ** 0.5
        assert (of_class - share).abs().max() < 4.5 * spread


def test_copies_of_an_input_are_never_in_both_splits():
    copies = [(40, 50), (3, 9), (60, 61), (62, 61)]  # in training, in validation, three of them
    data = dataset(copies=copies)
    splits = ResampledSplits(data, list(range(30)), 30)
    for number in range(30):
        val = set(values(splits.val(number)))
        assert not val & set(values(splits.train(number)))
        assert {9.0}.issubset(val)
        assert not val & {50.0, 61.0}


def test_validation_splits_of_text_are_stretches_of_blocks():
    blocks = torch.arange(50, dtype=torch.int32)[:, None].repeat(1, 4)
    split = Split(blocks, blocks % 5)
    data = Dataset.from_splits(
        "text",
        split.take(torch.arange(40)),
        split.take(torch.arange(40, 50)),
        split.take(torch.arange(3)),
        class_names=[str(token) for token in range(60)],
        tokenizer=object(),
    )
    splits = ResampledSplits(data, SEEDS, 4)
    starts = set()
    for number in range(4):
        rows = values(splits.val(number))
        assert len(rows) == 10
        gaps = [second - first for first, second in itertools.pairwise(rows)]
        assert sorted(gaps)[:-1] == [1] * 8  # one gap if the stretch goes around the end
        starts.add(rows[0])
    assert len(starts) == 4


def test_seeds_are_spread_over_the_splits_in_their_order():
    splits = ResampledSplits(dataset(), SEEDS, 2)
    assert [splits.split_of(seed) for seed in SEEDS] == [0, 0, 1, 1]
    parts = splits.parts([3, 11, 5])
    assert [(part.number, part.seeds) for part in parts] == [(0, [3]), (1, [11, 5])]


@pytest.mark.parametrize("views", [None, Mixup()])
@pytest.mark.parametrize("transfer", [TransferSet(), TransferSet(samples=60, labelled=20)])
def test_each_seed_sees_the_batches_that_it_would_see_alone(transfer, views):
    data = dataset()
    splits = ResampledSplits(data, SEEDS, 2)

    def batches(seeds):
        study = StudyData(
            data,
            seeds=seeds,
            batch_size=16,
            views=views,
            transfer=transfer,
            pool=splits.pool,
            parts=splits.parts(seeds),
        )
        study.set_epoch(2)
        device = torch.device("cpu")
        return list(study.train_batches(device)), list(study.val_batches(device))

    together = batches(SEEDS)
    for place, seed in enumerate(SEEDS):
        for joined, alone in zip(together, batches([seed]), strict=True):
            for batch, own in zip(joined, alone, strict=True):
                torch.testing.assert_close(batch.x[place], own.x[0], rtol=0, atol=0)
                assert batch.y[place].tolist() == own.y[0].tolist()
                if own.sample is None:
                    continue
                assert batch.sample[place].tolist() == own.sample[0].tolist()
                assert batch.view[place].tolist() == own.view[0].tolist()
                assert labelled(batch)[place] == labelled(own)[0]
                if own.mixed is not None:
                    assert batch.mixed.labels[place].tolist() == own.mixed.labels[0].tolist()
                    assert batch.mixed.weight[place].tolist() == own.mixed.weight[0].tolist()


def labelled(batch):
    count = batch.counts[0]
    return count.tolist() if isinstance(count, torch.Tensor) else [count] * len(batch.x)


def test_batches_can_begin_in_the_middle_of_an_epoch():
    data = dataset()
    splits = ResampledSplits(data, SEEDS, 2)
    study = StudyData(data, seeds=SEEDS, batch_size=16, pool=splits.pool, parts=splits.parts(SEEDS))
    batches = study.train_batches(torch.device("cpu"))
    assert len(batches) == len(list(batches)) == 6
    rest = list(batches.batches_from(4))
    assert [batch.sample.tolist() for batch in rest] == [
        batch.sample.tolist() for batch in list(batches)[4:]
    ]


def test_students_never_see_their_validation_samples():
    data = dataset()
    splits = ResampledSplits(data, SEEDS, 4)
    study = StudyData(data, seeds=SEEDS, batch_size=16, pool=splits.pool, parts=splits.parts(SEEDS))
    device = torch.device("cpu")
    inputs = torch.cat([batch.x for batch in study.train_batches(device)], 1)[..., 0]
    held_out = torch.cat([batch.x for batch in study.val_batches(device)], 1)[..., 0]
    for place in range(4):
        assert not set(inputs[place].tolist()) & set(held_out[place].tolist())


def test_groups_stay_together():
    data = dataset()
    groups = torch.cat([torch.arange(15) // 3, torch.arange(15, 30), 30 + torch.arange(90) // 3])
    val, train = replace(data.val, groups=groups[:30]), replace(data.train, groups=groups[30:])
    names = data.class_names
    data = Dataset.from_splits("n", train, val, data.open_test(), class_names=names)
    splits = ResampledSplits(data, SEEDS, 4)
    draws = set()
    for number in range(4):
        train, val = splits.train(number), splits.val(number)
        assert (len(train), len(val)) == (90, 30)
        assert not set(train.groups.tolist()) & set(val.groups.tolist())
        assert sorted(values(train) + values(val)) == list(range(120))
        draws.add(tuple(values(val)))
    assert len(draws) == 4
