import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.config import UNLABELLED
from limbeck.data import Split, TransferSet
from limbeck.data.transfer import even_order
from limbeck.errors import ConfigError

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)


def split_of(labels):
    return Split(torch.zeros(len(labels), 1), labels)


def assert_even(chosen, labels):
    """No class has two samples more than one of which some are left."""
    classes = int(labels.max()) + 1
    whole, taken = torch.bincount(labels, minlength=classes), torch.bincount(labels[chosen], minlength=classes)
    left = taken < whole
    if left.any():
        assert taken.max() - taken[left].min() <= 1


@settings(max_examples=80, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 1000))
def test_every_beginning_of_the_order_is_even(labels, seed):
    order = even_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    for length in range(1, len(labels) + 1):
        assert_even(order[:length], labels)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), labels=LABELS, seed=st.integers(0, 1000))
def test_counts(data, labels, seed):
    samples = data.draw(st.integers(1, len(labels)))
    labelled = data.draw(st.integers(1, samples))
    rule = TransferSet(samples, labelled, seed)
    index, found = rule.select(split_of(labels))
    assert index.dtype == found.dtype == torch.int64
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(index) == len(found) == samples
    has_label = found != UNLABELLED
    assert int(has_label.sum()) == labelled
    assert torch.equal(found[has_label], labels[index[has_label]])
    assert_even(index, labels)
    assert_even(index[has_label], labels)
    again, again_labels = TransferSet(samples, labelled, seed).select(split_of(labels))
    assert torch.equal(index, again)
    assert torch.equal(found, again_labels)


def test_ten_classes_of_different_sizes():
    labels = torch.arange(10).repeat_interleave(torch.arange(5, 105, 10))
    for samples, wanted in [(20, [2] * 10), (25, None), (50, [5] * 10), (95, [5] + [10] * 9)]:
        index, _ = TransferSet(samples).select(split_of(labels))
        counts = torch.bincount(labels[index], minlength=10).tolist()
        assert sum(counts) == samples
        assert counts == wanted or (wanted is None and set(counts) == {2, 3})


def test_all_by_default():
    labels = torch.tensor([2, 0, 1, 1, 2])
    index, found = TransferSet().select(split_of(labels))
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found, labels)


def test_a_fraction_of_labels_is_of_the_samples_picked():
    labels = torch.arange(200) % 10
    index, found = TransferSet(0.25, 0.2).select(split_of(labels))
    assert len(index) == 50
    assert int((found != UNLABELLED).sum()) == 10
    assert len(TransferSet(1e-9).select(split_of(labels))[0]) == 1
    assert torch.equal(TransferSet(0.25).select(split_of(labels))[0], TransferSet(50).select(split_of(labels))[0])


def test_the_fraction_one_is_everything_and_the_number_one_is_one_sample():
    labels = torch.arange(40) % 4
    index, found = TransferSet(1.0, 1.0).select(split_of(labels))
    assert len(index) == 40
    assert torch.equal(found, labels)
    assert len(TransferSet(1).select(split_of(labels))[0]) == 1
    index, found = TransferSet(0.5, 1.0).select(split_of(labels))
    assert len(index) == 20
    assert (found != UNLABELLED).all()
    assert TransferSet(1.0) == TransferSet() != TransferSet(1)
    assert TransferSet(1.0, 1.0).name == "all"


def test_more_samples_keep_those_of_fewer():
    labels = torch.arange(100) % 10
    few, more = (set(TransferSet(k).select(split_of(labels))[0].tolist()) for k in (20, 40))
    assert few < more


def test_other_seeds_choose_other_samples():
    labels = torch.arange(100) % 10
    chosen = {tuple(TransferSet(20, seed=seed).select(split_of(labels))[0].tolist()) for seed in range(5)}
    assert len(chosen) == 5


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (TransferSet(), "all"),
        (TransferSet(1000), "1000"),
        (TransferSet(0.1), "0.1"),
        (TransferSet(None, 100), "all, 100 labelled"),
        (TransferSet(0.5, 0.01), "0.5, 0.01 labelled"),
        (TransferSet(20, seed=3), "20, seed 3"),
        (TransferSet(None, 100, seed=3), "all, 100 labelled, seed 3"),
        (TransferSet(seed=3), "all"),
    ],
)
def test_names(rule, name):
    assert rule.name == name


@pytest.mark.parametrize("bad", [0, -1, 41, 0.0, -0.5, 1.5, True, False, "x", "10", float("nan"), float("inf"), [1]])
@pytest.mark.parametrize("field", ["samples", "labelled"])
def test_bad_values(field, bad):
    with pytest.raises(ConfigError, match=rf"transfer\.{field}=.*should be a whole number from 1 to 40") as caught:
        TransferSet(**{field: bad}).select(split_of(torch.arange(40) % 4))
    assert repr(bad) in str(caught.value)


def test_more_labels_than_samples():
    with pytest.raises(ConfigError, match=r"transfer\.labelled=11 should be a whole number from 1 to 10"):
        TransferSet(10, 11).select(split_of(torch.arange(40) % 4))
    assert (TransferSet(10, 0.5).select(split_of(torch.arange(40) % 4))[1] != UNLABELLED).sum() == 5
