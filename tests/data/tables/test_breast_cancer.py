import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from limbeck._base.errors import ConfigError
from limbeck.data import breast_cancer


def test_the_rows_are_those_of_scikit_learn():
    data = breast_cancer()
    assert (len(data.train), len(data.val), data.test_size) == (359, 60, 150)
    assert data.class_names == ["malignant", "benign"]
    bunch = load_breast_cancer()
    assert data.columns.names == tuple(bunch.feature_names)
    assert data.columns.sizes == (0,) * 30
    parts = [
        torch.cat([split.inputs, split.labels[:, None].float()], 1)
        for split in (data.train, data.val, data.open_test())
    ]
    rows = torch.cat(parts).tolist()
    expected = np.column_stack([bunch.data, bunch.target]).astype(np.float32).tolist()
    assert sorted(rows) == sorted(expected)


def test_the_split_seed_decides_the_splits():
    assert breast_cancer().digest() != breast_cancer(split_seed=1).digest()


@pytest.mark.parametrize("setting", [{"test": 0}, {"test": 569}, {"test": True}, {"val": 0}])
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(setting))}="):
        breast_cancer(**setting)
