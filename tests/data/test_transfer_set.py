from dataclasses import dataclass

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from limbeck._base.errors import ConfigError
from limbeck.data import Split, TransferSet
from limbeck.data.sources.base import Source, as_pool
from limbeck.data.transfer_set import balanced_order
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


def assert_balanced(index, labels):
    """A class has at most one sample more than any class that has samples left."""
    classes = int(labels.max()) + 1
    available = torch.bincount(labels, minlength=classes)
    selected = torch.bincount(labels[index], minlength=classes)
    has_more = selected < available
    if has_more.any():
        assert selected.max() - selected[has_more].min() <= 1


@settings(max_examples=25, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 1000))
def test_every_prefix_of_the_order_is_balanced(labels, seed):
    order = balanced_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    for length in range(1, len(labels) + 1):
        assert_balanced(order[:length], labels)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), labels=LABELS, seed=st.integers(0, 1000))
def test_counts_are_exact_and_balanced_over_the_classes(data, labels, seed):
    samples = data.draw(st.integers(1, len(labels)))
    labelled = data.draw(st.integers(1, samples))
    rule = TransferSet(samples, labelled, seed)
    index, selected = rule.select(split_of(labels))
    assert index.dtype == selected.dtype == torch.int64
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(index) == len(selected) == samples
    has_label = selected != UNLABELLED
    assert int(has_label.sum()) == labelled
    assert torch.equal(selected[has_label], labels[index[has_label]])
    assert_balanced(index, labels)
    assert_balanced(index[has_label], labels)
    again, again_labels = TransferSet(samples, labelled, seed).select(split_of(labels))
    assert torch.equal(index, again)
    assert torch.equal(selected, again_labels)


def test_ten_classes_of_different_sizes():
    labels = torch.arange(10).repeat_interleave(torch.arange(5, 105, 10))
    for samples, expected in [(20, [2] * 10), (25, None), (50, [5] * 10), (95, [5] + [10] * 9)]:
        index, _ = TransferSet(samples).select(split_of(labels))
        counts = torch.bincount(labels[index], minlength=10).tolist()
        assert sum(counts) == samples
        assert counts == expected or (expected is None and set(counts) == {2, 3})


def test_everything_is_selected_by_default():
    labels = torch.tensor([2, 0, 1, 1, 2])
    index, selected = TransferSet().select(split_of(labels))
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(selected, labels)


def test_a_fraction_of_labels_counts_the_selected_samples():
    labels = torch.arange(200) % 10
    index, selected = TransferSet(0.25, 0.2).select(split_of(labels))
    assert len(index) == 50
    assert int((selected != UNLABELLED).sum()) == 10
    assert len(TransferSet(1e-9).select(split_of(labels))[0]) == 1
    assert torch.equal(
        TransferSet(0.25).select(split_of(labels))[0], TransferSet(50).select(split_of(labels))[0]
    )


def test_the_fraction_one_is_everything_and_the_number_one_is_one_sample():
    labels = torch.arange(40) % 4
    index, selected = TransferSet(1.0, 1.0).select(split_of(labels))
    assert len(index) == 40
    assert torch.equal(selected, labels)
    assert len(TransferSet(1).select(split_of(labels))[0]) == 1
    index, selected = TransferSet(0.5, 1.0).select(split_of(labels))
    assert len(index) == 20
    assert (selected != UNLABELLED).all()
    assert TransferSet(1.0) == TransferSet() != TransferSet(1)
    assert TransferSet(1.0, 1.0).name == "all"


def test_more_samples_include_those_of_fewer():
    labels = torch.arange(100) % 10
    few, more = (set(TransferSet(k).select(split_of(labels))[0].tolist()) for k in (20, 40))
    assert few < more


def test_other_seeds_select_other_samples():
    labels = torch.arange(100) % 10
    selections = {
        tuple(TransferSet(20, seed=seed).select(split_of(labels))[0].tolist()) for seed in range(5)
    }
    assert len(selections) == 5


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
def test_names_for_tables(rule, name):
    assert rule.name == name


BAD = [-1, 41, 0.0, -0.5, 1.5, True, False, "x", "10", float("nan"), float("inf"), [1]]


@pytest.mark.parametrize(
    ("field", "bad"), [("samples", 0)] + [(f, b) for f in ("samples", "labelled") for b in BAD]
)
def test_bad_counts_are_named(field, bad):
    minimum = 0 if field == "labelled" else 1
    with pytest.raises(
        ConfigError, match=rf"transfer\.{field}=.*whole number from {minimum} to 40"
    ) as caught:
        TransferSet(**{field: bad}).select(split_of(torch.arange(40) % 4))
    assert repr(bad) in str(caught.value)


def test_more_labels_than_samples():
    with pytest.raises(
        ConfigError, match=r"transfer\.labelled=11 should be .* from 0 to 10, .*null for all"
    ):
        TransferSet(10, 11).select(split_of(torch.arange(40) % 4))
    assert (TransferSet(10, 0.5).select(split_of(torch.arange(40) % 4))[1] != UNLABELLED).sum() == 5


@settings(max_examples=25, deadline=None)
@given(data=st.data(), labels=LABELS, seed=st.integers(0, 1000))
def test_leaving_out_classes_equals_using_the_others(data, labels, seed):
    classes = [str(c) for c in range(int(labels.max()) + 1)]
    used = sorted(data.draw(st.sets(st.sampled_from(sorted(set(labels.tolist()))), min_size=1)))
    hidden = [c for c in range(len(classes)) if c not in used]
    assume(hidden)
    in_use = torch.isin(labels, torch.tensor(used))
    count = data.draw(st.integers(1, int(in_use.sum())))
    index, selected = TransferSet(count, seed=seed, without=hidden).select(
        split_of(labels), classes
    )
    assert len(index) == count
    assert not set(labels[index].tolist()) & set(hidden)
    assert torch.equal(selected, labels[index])
    place = torch.full((len(labels),), -1)
    place[in_use] = torch.arange(int(in_use.sum()))
    assert_balanced(place[index], labels[in_use])
    by_name = TransferSet(count, seed=seed, classes=[str(c) for c in used]).select(
        split_of(labels), classes
    )
    assert torch.equal(by_name[0], index)
    assert TransferSet(without=hidden).absent(classes) == sorted(hidden)
    assert TransferSet(classes=used).absent(classes) == sorted(hidden)


def test_no_sample_is_labelled():
    labels = torch.arange(40) % 4
    index, selected = TransferSet(20, 0).select(split_of(labels))
    assert len(index) == 20
    assert (selected == UNLABELLED).all()
    assert torch.equal(index, TransferSet(20).select(split_of(labels))[0])
    assert not TransferSet(labelled=0).has_labels


def test_a_source_gives_all_or_some_of_its_inputs_without_labels():
    pool = as_pool(
        Ramp(), Ramp().make(shape=(1,), classes=4, teacher=None, progress=None), torch.zeros(3, 1)
    )
    index, selected = TransferSet(source=Ramp()).select(pool, list("abcd"))
    assert index.tolist() == list(range(9))
    assert (selected == UNLABELLED).all()
    some = TransferSet(4, source=Ramp(), seed=1).select(pool, list("abcd"))[0]
    assert len(some) == 4
    assert some.tolist() == sorted(set(some.tolist()))
    assert not TransferSet(source=Ramp()).has_labels
    assert TransferSet(source=Ramp()) == TransferSet(source=Ramp()) != TransferSet(source=Ramp(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"without": [4]}, r"transfer\.without: unknown class 4\. The classes are a, b, c, duck\."),
        ({"classes": ["duc"]}, r"transfer\.classes: unknown class 'duc'\. Did you mean duck\?"),
        ({"without": [0, 1, 2, "duck"]}, r"leaves no class to learn from"),
        ({"classes": ["duck"]}, "the training split has no sample of these classes"),
        ({"without": 3}, r"transfer\.without=3 should be a list of classes"),
        ({"classes": []}, r"transfer\.classes=\[\] should be a list of classes"),
        ({"classes": "duck"}, "should be a list of classes"),
        ({"classes": [1.5]}, "should be a list of classes"),
        ({"without": [0], "classes": [1]}, "cannot be combined"),
        ({"source": Ramp(), "without": [0]}, r"provides inputs without labels\. .* to null"),
        ({"source": Ramp(), "labelled": 3}, "provides inputs without labels"),
        ({"seed": "abc", "samples": 3}, r"transfer\.seed='abc' should be a whole number from 0"),
        ({"source": "noise"}, "should be a source of inputs"),
        (
            {"classes": ["c"], "samples": 11},
            r"transfer\.samples=11 should be a whole number from 1 to 10",
        ),
    ],
)
def test_impossible_rules_are_explained(settings, message):
    with pytest.raises(ConfigError, match=message):
        TransferSet(**settings).select(split_of(torch.arange(30) % 3), ["a", "b", "c", "duck"])


def test_a_class_is_looked_up_by_name_and_then_by_number():
    labels = torch.arange(30) % 3
    names = ["1", "2", "three"]
    assert set(labels[TransferSet(classes=[1]).select(split_of(labels), names)[0]].tolist()) == {0}
    assert set(labels[TransferSet(classes=[0]).select(split_of(labels), names)[0]].tolist()) == {0}
    assert set(
        labels[TransferSet(classes=["three"]).select(split_of(labels), names)[0]].tolist()
    ) == {2}


def test_a_small_rule_selects_no_more_than_there_is():
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
