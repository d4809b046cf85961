"""Datasets are examined: absent classes, labels from 1, near copies."""

import numpy as np
import pytest
import torch
from support.examined import levels, prototypes

from limbeck.data import Dataset, Split
from limbeck.data.examination import examine_data
from limbeck.data.text.tokenizer import ByteTokenizer


def test_a_dataset_without_faults():
    findings = examine_data(prototypes(3, val=100, noise=0.5))
    assert levels(findings) == ["ok"]
    assert "200 training, 100 validation and 100 test samples" in findings[0].text


@pytest.mark.filterwarnings("ignore:.*no training sample")
def test_labels_from_one():
    draw = np.random.default_rng(0)
    x = draw.integers(256, size=(90, 1, 8, 8)).astype(np.uint8)
    y = np.arange(90) % 3 + 1
    finding = examine_data(Dataset.from_arrays(x[:60], y[:60], x[60:], y[60:]))[0]
    assert finding.level == "stop"
    assert "numbered from 1" in finding.text


def test_classes_that_a_split_lacks():
    draw = torch.Generator().manual_seed(0)

    def split(labels):
        images = torch.randint(256, (len(labels), 1, 8, 8), generator=draw).to(torch.uint8)
        return Split(images, torch.tensor(labels))

    names = ["cat", "dog", "fox"]
    train, val, test = split([0, 1, 2] * 9), split([0, 1] * 5), split([0, 1, 2] * 5)
    findings = examine_data(Dataset.from_splits("pets", train, val, test, class_names=names))
    assert levels(findings) == ["warning"]
    assert "no validation sample: fox" in findings[0].text


def test_near_copies_across_splits_are_a_warning():
    data = prototypes(3, val=100, noise=0.5)
    data.train.inputs[:5] = data.test_inputs[5:10]
    findings = examine_data(data)
    assert levels(findings) == ["warning"]
    assert "5 of 100 test images" in findings[0].text
    assert "5 and 0" in findings[0].evidence


def test_near_copies_of_texts_across_splits_are_a_warning():
    draw = torch.Generator().manual_seed(0)
    splits = []
    for count in (80, 20, 30):
        ids = torch.randint(256, (count, 20), generator=draw).int()
        splits.append(Split(ids, torch.arange(count) % 2))
    splits[2].inputs[:3, :17] = splits[0].inputs[5:8, :17]
    data = Dataset.from_splits("texts", *splits, class_names=["a", "b"], tokenizer=ByteTokenizer())
    findings = examine_data(data)
    assert levels(findings) == ["warning"]
    assert "3 of 30 test texts are nearly the same" in findings[0].text
