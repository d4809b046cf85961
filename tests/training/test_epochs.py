"""Counting batches and steps, and reading an epoch."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import limbeck
from limbeck import Optimizer
from limbeck._base.errors import ConfigError
from limbeck.training.epochs import count_batches, count_steps, read_epoch
from limbeck.training.options import TrainerOptions

BATCHES = [(torch.randn(4, 6), torch.arange(4) % 3)] * 2


class Stream(IterableDataset):
    def __iter__(self):
        return iter("abcde")


@pytest.mark.parametrize(
    ("limit", "count"), [(None, 4), (2, 2), (9, 4), (1, 1), (1.0, 4), (0.5, 2), (0.3, 1), (0, 0)]
)
def test_a_limit_is_a_number_or_a_share_of_the_batches(limit, count):
    assert count_batches([1, 2, 3, 4], limit) == count


def test_a_loader_without_a_length_has_a_number_of_batches_only_by_a_limit():
    for loader in (DataLoader(Stream()), iter([1])):
        assert count_batches(loader, None) == math.inf
        assert count_batches(loader, 3) == 3


@pytest.mark.parametrize(
    ("length", "options", "steps"),
    [
        (10, {}, 30),
        (10, {"accumulate_grad_batches": 4}, 9),
        (10, {"max_steps": 7}, 7),
        (math.inf, {}, -1),
        (math.inf, {"max_steps": 7}, 7),
    ],
)
def test_steps_of_a_training(length, options, steps):
    assert count_steps(length, TrainerOptions(max_epochs=3, **options)) == steps


def test_the_last_batch_is_known_if_one_is_read_ahead():
    for loader, length in (("abcde", 5), ("abcde", 3), (Stream(), 5)):
        last = [batch.is_last for batch in read_epoch(loader, length, look_ahead=True)]
        assert last == [False] * (length - 1) + [True]
    assert [b.is_last for b in read_epoch(Stream(), math.inf, look_ahead=True)][3:] == [False, True]
    assert not any(b.is_last for b in read_epoch(Stream(), math.inf, look_ahead=False))
    assert [b.number for b in read_epoch(Stream(), math.inf, look_ahead=True)] == [1, 2, 3, 4, 5]
    assert list(read_epoch([], math.inf, look_ahead=True)) == []
    accepted = read_epoch("abcde", 4, look_ahead=True, accepts=lambda batch: batch not in "bd")
    assert list(accepted) == [(1, "a", False), (2, "c", True)]


class NoLength:
    """A loader that cannot say how many batches it has."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_a_validation_loader_without_batches_logs_nothing():
    limbeck.train(nn.Linear(6, 3), BATCHES, epochs=1, val_loader=NoLength([]), progress=False)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_schedule_needs_a_loader_with_a_length(schedule):
    loader = NoLength(BATCHES)
    with pytest.raises(ConfigError, match="needs a loader that has a length"):
        limbeck.train(
            nn.Linear(6, 3),
            loader,
            epochs=2,
            optimizer=Optimizer(schedule=schedule),
            progress=False,
        )
    limbeck.train(nn.Linear(6, 3), loader, epochs=2, progress=False)


def test_a_share_of_less_than_one_batch_is_refused():
    with pytest.raises(ConfigError, match=r"A share of 0\.1 of 4 batches is less than one batch"):
        count_batches("abcd", 0.1)
