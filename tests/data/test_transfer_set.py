from dataclasses import dataclass

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError
from limbeck.data import Split, TransferSet
from limbeck.data.sources.base import Source, as_pool
from limbeck.data.transfer_set import even_order
from limbeck.losses.base import UNLABELLED


@dataclass(frozen=True)
class Ramp(Source):
    """Inputs 0, 1, 2 ..."""

    samples: int = 9

    @property
    def name(self):
        return f"{self.samples} ramps"

    def make(self, *, shape, classes, teacher, progress):
        return torch.arange(float(self.samples)).view(-1, *[1] * len(shape)).expand(-1, *shape)


LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)


def split_of(labels):
    return Split(torch.zeros(len(labels), 1), labels)


def assert_even(chosen, labels):
    """No class has two samples more than one of which some are left."""
    classes = int(labels.max()) + 1
    whole, taken = (
        torch.bincount(labels, minlength=classes),
        torch.bincount(labels[chosen], minlength=classes),
    )
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
    assert torch.equal(
        TransferSet(0.25).select(split_of(labels))[0], TransferSet(50).select(split_of(labels))[0]
    )


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
    chosen = {
        tuple(TransferSet(20, seed=seed).select(split_of(labels))[0].tolist()) for seed in range(5)
    }
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
        (TransferSet(labelled=0, seed=3), "all, unlabelled"),
        (TransferSet(without=[3]), "all without 3"),
        (TransferSet(0.5, 7, without=["cat", "dog"]), "0.5 without cat, dog, 7 labelled"),
        (TransferSet(classes=[7, 8]), "all of classes 7, 8"),
        (TransferSet(classes=[7], labelled=0), "all of class 7, unlabelled"),
        (TransferSet(source=Ramp(5)), "5 ramps"),
        (TransferSet(3, source=Ramp(5)), "3 of 5 ramps"),
    ],
)
def test_names(rule, name):
    assert rule.name == name


BAD = [-1, 41, 0.0, -0.5, 1.5, True, False, "x", "10", float("nan"), float("inf"), [1]]


@pytest.mark.parametrize(
    ("field", "bad"), [("samples", 0)] + [(f, b) for f in ("samples", "labelled") for b in BAD]
)
def test_bad_values(field, bad):
    least = 0 if field == "labelled" else 1
    with pytest.raises(
        ConfigError, match=rf"transfer\.{field}=.*whole number from {least} to 40"
    ) as caught:
        TransferSet(**{field: bad}).select(split_of(torch.arange(40) % 4))
    assert repr(bad) in str(caught.value)


def test_more_labels_than_samples():
    with pytest.raises(
        ConfigError, match=r"transfer\.labelled=11 should be .* from 0 to 10, .*null for all"
    ):
        TransferSet(10, 11).select(split_of(torch.arange(40) % 4))
    assert (TransferSet(10, 0.5).select(split_of(torch.arange(40) % 4))[1] != UNLABELLED).sum() == 5


@settings(max_examples=60, deadline=None)
@given(data=st.data(), labels=LABELS, seed=st.integers(0, 1000))
def test_classes_left_out_and_classes_kept_are_two_ways_to_say_one_thing(data, labels, seed):
    classes = [str(c) for c in range(int(labels.max()) + 1)]
    shown = sorted(data.draw(st.sets(st.sampled_from(sorted(set(labels.tolist()))), min_size=1)))
    hidden = [c for c in range(len(classes)) if c not in shown]
    assume(hidden)
    left = torch.isin(labels, torch.tensor(shown))
    count = data.draw(st.integers(1, int(left.sum())))
    index, found = TransferSet(count, seed=seed, without=hidden).select(split_of(labels), classes)
    assert len(index) == count
    assert not set(labels[index].tolist()) & set(hidden)
    assert torch.equal(found, labels[index])
    place = torch.full((len(labels),), -1)
    place[left] = torch.arange(int(left.sum()))
    assert_even(place[index], labels[left])
    by_name = TransferSet(count, seed=seed, classes=[str(c) for c in shown]).select(
        split_of(labels), classes
    )
    assert torch.equal(by_name[0], index)
    assert TransferSet(without=hidden).absent(classes) == sorted(hidden)
    assert TransferSet(classes=shown).absent(classes) == sorted(hidden)


def test_no_label_at_all():
    labels = torch.arange(40) % 4
    index, found = TransferSet(20, 0).select(split_of(labels))
    assert len(index) == 20
    assert (found == UNLABELLED).all()
    assert torch.equal(index, TransferSet(20).select(split_of(labels))[0])
    assert not TransferSet(labelled=0).has_labels


def test_a_source_has_no_labels_and_gives_each_of_its_inputs_or_some():
    pool = as_pool(
        Ramp(), Ramp().make(shape=(1,), classes=4, teacher=None, progress=None), torch.zeros(3, 1)
    )
    index, found = TransferSet(source=Ramp()).select(pool, list("abcd"))
    assert index.tolist() == list(range(9))
    assert (found == UNLABELLED).all()
    some = TransferSet(4, source=Ramp(), seed=1).select(pool, list("abcd"))[0]
    assert len(some) == 4
    assert some.tolist() == sorted(set(some.tolist()))
    assert not TransferSet(source=Ramp()).has_labels
    assert TransferSet(source=Ramp()) == TransferSet(source=Ramp()) != TransferSet(source=Ramp(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"without": [4]}, r"transfer\.without: there is no class 4; known are a, b, c, duck\."),
        ({"classes": ["duc"]}, r"transfer\.classes: there is no class 'duc'; did you mean duck\?"),
        ({"without": [0, 1, 2, "duck"]}, r"leaves no class to learn from"),
        ({"classes": ["duck"]}, "the training split has none of these"),
        ({"without": 3}, r"transfer\.without=3 should be a list of classes"),
        ({"classes": []}, r"transfer\.classes=\[\] should be a list of classes"),
        ({"classes": "duck"}, "should be a list of classes"),
        ({"classes": [1.5]}, "should be a list of classes"),
        ({"without": [0], "classes": [1]}, "say the same in two ways"),
        ({"source": Ramp(), "without": [0]}, "do not go with it; they should be null"),
        ({"source": Ramp(), "labelled": 3}, "do not go with it"),
        ({"seed": "abc", "samples": 3}, r"transfer\.seed='abc' should be a whole number from 0"),
        ({"source": "noise"}, "should be a source of inputs"),
        (
            {"classes": ["c"], "samples": 11},
            r"transfer\.samples=11 should be a whole number from 1 to 10",
        ),
    ],
)
def test_rules_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        TransferSet(**settings).select(split_of(torch.arange(30) % 3), ["a", "b", "c", "duck"])


def test_a_class_is_its_name_first_and_then_its_number():
    labels = torch.arange(30) % 3
    names = ["1", "2", "three"]
    assert set(labels[TransferSet(classes=[1]).select(split_of(labels), names)[0]].tolist()) == {0}
    assert set(labels[TransferSet(classes=[0]).select(split_of(labels), names)[0]].tolist()) == {0}
    assert set(
        labels[TransferSet(classes=["three"]).select(split_of(labels), names)[0]].tolist()
    ) == {2}


def test_a_small_rule_asks_for_no_more_than_there_is():
    pool, names = split_of(torch.arange(100) % 4), list("abcd")

    def small(**settings):
        rule = TransferSet(**settings).small(100, pool, names)
        return rule.samples, rule.labelled, rule.select(pool, names)[0].numel()

    assert small(samples=500, labelled=50) == (None, 50, 100)
    assert small(samples=0.5, labelled=0) == (0.5, 0, 50)
    assert small(samples=90, classes=["b", "c"]) == (None, None, 50)
    assert small(samples=40, labelled=60, without=[0]) == (40, None, 40)
    assert small(samples=0.05, labelled=9) == (0.05, None, 5)
    assert small(labelled=75, without=[0]) == (None, 75, 75)
    assert TransferSet(300, source=Ramp(500)).small(100, pool, names) == TransferSet(
        source=Ramp(100)
    )
    assert TransferSet(9, source=Ramp(500)).small(100, pool, names) == TransferSet(
        9, source=Ramp(100)
    )
