"""The linear probe of embeddings."""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from support.tensors import randn

from limbeck.evaluation.probe import Probe
from limbeck.losses import UNLABELLED


def test_a_probe_predicts_labels_that_the_vectors_know_as_scikit_learn_does():
    vectors = randn(200, 4).float()
    labels = (vectors[:, 0] > vectors[:, 1]).long()
    probe = Probe.fit(vectors[:100], labels[:100])
    accuracy = probe.accuracy(vectors[100:], labels[100:])
    units = (vectors / vectors.norm(dim=1, keepdim=True)).numpy()
    scaler = StandardScaler().fit(units[:100])
    model = LogisticRegression(C=0.01).fit(scaler.transform(units[:100]), labels[:100])
    assert accuracy == model.score(scaler.transform(units[100:]), labels[100:])
    assert accuracy > 0.8


def test_samples_without_a_label_do_not_count():
    vectors, labels = randn(40, 4).float(), torch.arange(40) % 2
    probe = Probe.fit(vectors, labels)
    hidden = labels.clone()
    hidden[10:] = UNLABELLED
    assert probe.accuracy(vectors, hidden) == probe.accuracy(vectors[:10], labels[:10])
    assert probe.accuracy(vectors, torch.full_like(labels, UNLABELLED)) is None
    assert Probe.fit(vectors * torch.nan, labels) is None
