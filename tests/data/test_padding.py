"""Texts of one class each: padded inputs, and batches as long as their longest text."""

import numpy as np
import pytest
import torch

from limbeck._base.errors import DataError
from limbeck.data import Dataset, NoViews, Split
from limbeck.data.batches import EvaluationBatches, TrainBatches
from limbeck.data.padding import (
    cut_padding,
    describe_lengths,
    group_by_length,
    join_padded,
    lengths_of,
)
from limbeck.data.resampling import ResampledSplits
from limbeck.data.study_data import StudyData
from limbeck.data.text.tokenizer import ByteTokenizer

PADDING = ByteTokenizer().padding
LENGTH = 40


def texts_of(lengths: list[int], seed: int = 0) -> torch.Tensor:
    """Return random texts of given lengths as token ids, ``[N, LENGTH]``."""
    ids = torch.randint(97, 123, (len(lengths), LENGTH), generator=torch.manual_seed(seed))
    ids[torch.arange(LENGTH) >= torch.tensor(lengths)[:, None]] = PADDING
    return ids.int()


def make_dataset(train: list[int]) -> Dataset:
    splits = []
    for number, lengths in enumerate((train, [5, 6, 7, 8], [9, 10, 11, 12])):
        labels = torch.arange(len(lengths)) % 2
        splits.append(Split(texts_of(lengths, number), labels))
    return Dataset.from_splits("texts", *splits, class_names=["a", "b"], tokenizer=ByteTokenizer())


def test_a_dataset_of_texts_with_one_class_each_has_classes_and_a_padding():
    data = make_dataset([3, 4, 30, 2])
    assert data.positions is None
    assert data.padding == PADDING == 256
    assert (data.classes, data.answer_shape, data.shape) == (2, (2,), (LENGTH,))
    assert data.blank(1).dtype == torch.int64
    assert not (data.blank(2) == PADDING).any()
    assert data.head(2).train.padding == data.open_test().padding == PADDING


def test_padding_is_cut_to_the_longest_text_in_multiples_of_eight():
    ids = texts_of([3, 17, 9])
    assert torch.equal(cut_padding(ids, PADDING), ids[:, :24])
    assert torch.equal(cut_padding(ids[:1], PADDING), ids[:1, :8])
    assert cut_padding(texts_of([LENGTH]), PADDING).shape == (1, LENGTH)
    assert cut_padding(ids, None) is ids


def test_batches_of_different_lengths_are_joined():
    first, second = texts_of([3, 5])[None, :, :8], texts_of([12, 2])[None, :, :16]
    joined = join_padded([first, second], PADDING)
    assert joined.shape == (2, 2, 16)
    assert torch.equal(joined[0, :, :8], first[0])
    assert (joined[0, :, 8:] == PADDING).all()


def test_batches_for_training_and_evaluation_are_cut():
    data = make_dataset([3, 4, 30, 2])
    batches = TrainBatches(
        data.train,
        torch.tensor([0, 1, 3]),
        None,
        views=NoViews(),
        seeds=[0, 1],
        batch_size=3,
        epoch=lambda: 0,
    )
    (batch,) = batches
    assert batch.x.shape == (2, 3, 8)
    assert torch.equal(batch.x, data.train.inputs[batch.sample][..., :8].long())
    (evaluation,) = EvaluationBatches(data.val)
    assert evaluation.x.shape == (1, 4, 8)


def test_splits_of_texts_are_joined_in_one_cohort():
    data = make_dataset([3, 30, 4, 2, 5, 6, 7, 8])
    splits = ResampledSplits(data, [0, 1], 2)
    study_data = StudyData(
        data, seeds=[0, 1], batch_size=8, pool=splits.pool, parts=splits.parts([0, 1])
    )
    for batch in study_data.train_batches(torch.device("cpu")):
        assert batch.x.shape[0] == 2
        own = splits.pool.inputs[batch.sample].long()
        assert torch.equal(batch.x, own[..., : batch.x.shape[-1]])
        assert (own[..., batch.x.shape[-1] :] == PADDING).all()
    assert len(list(study_data.val_batches(torch.device("cpu")))) == 1


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[PADDING, 1]], "text 0 is empty"),
        ([[1, PADDING, 2]], "before its end"),
        ([[1, 300]], "range from 1 to 300"),
    ],
)
def test_ids_that_are_no_padded_texts_are_refused(ids, message):
    split = Split(torch.tensor(ids), torch.tensor([0]))
    with pytest.raises(DataError, match=message):
        Dataset.from_splits(
            "x", split, split, split, class_names=["a", "b"], tokenizer=ByteTokenizer()
        )


def test_floats_are_no_token_ids():
    split = Split(torch.rand(3, 4), torch.tensor([0, 1, 0]), np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="expected token ids as integers"):
        Dataset.from_splits(
            "x", split, split, split, class_names=["a", "b"], tokenizer=ByteTokenizer()
        )


def random_lengths(count: int) -> list[int]:
    return torch.randint(1, LENGTH + 1, (count,), generator=torch.manual_seed(3)).tolist()


def epochs_of(seeds: list[int], data: Dataset, count: int = 2) -> list[list[torch.Tensor]]:
    """Return the rows of the batches of some epochs, ``[S, B]`` each."""
    numbers = iter(range(count))
    batches = TrainBatches(
        data.train,
        torch.arange(len(data.train)),
        None,
        views=NoViews(),
        seeds=seeds,
        batch_size=10,
        epoch=lambda: next(numbers),
    )
    return [[batch.sample for batch in batches] for _ in range(count)]


def test_an_epoch_has_each_text_once_and_a_student_its_own_order():
    data = make_dataset(random_lengths(405))
    both, first = epochs_of([4, 5], data), epochs_of([4], data)
    for epoch, alone in zip(both, first, strict=True):
        assert [rows.shape[1] for rows in epoch] == [10] * 40 + [5]
        for seed in range(2):
            rows = torch.cat([batch[seed] for batch in epoch])
            assert rows.sort().values.tolist() == list(range(405))
        assert all(torch.equal(a[:1], b) for a, b in zip(epoch, alone, strict=True))
    assert not torch.equal(both[0][0], both[1][0])


def test_batches_by_length_save_most_of_the_padding():
    data = make_dataset(random_lengths(400))
    lengths = lengths_of(data.train.inputs, PADDING)
    assert lengths.tolist() == random_lengths(400)
    (epoch,) = epochs_of([0, 1], data, 1)
    tokens = int(2 * lengths.sum())
    sizes = [rows.numel() * -(-int(lengths[rows].max()) // 8) * 8 for rows in epoch]
    assert tokens < sum(sizes) < 1.35 * tokens
    assert 1.9 * tokens < 2 * 400 * LENGTH


def test_texts_are_sorted_within_windows_of_batches():
    lengths = torch.tensor(random_lengths(80))
    rows = torch.randperm(80, generator=torch.manual_seed(0))
    order = torch.arange(8).flip(0)
    grouped = group_by_length(rows, lengths, 10, order).view(8, 10).flip(0)
    for window, batch in zip(rows.split(20), grouped.split(2), strict=True):
        expected = sorted(window.tolist(), key=lambda row: int(lengths[row]))
        assert batch.flatten().tolist() == expected


def test_the_lengths_of_texts_are_described():
    text = describe_lengths(texts_of([2, 2, 12, 12]), PADDING, 2)
    assert text == (
        "texts have 7.0 tokens on average; in batches of similar lengths 12.0 are computed instead "
        "of 40"
    )
