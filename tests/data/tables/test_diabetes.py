import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from limbeck._base.errors import ConfigError
from limbeck.data import diabetes


def test_the_rows_are_those_of_scikit_learn():
    data = diabetes()
    assert (len(data.train), len(data.val), data.test_size) == (242, 50, 150)
    assert (data.task, data.class_names) == ("regression", ["progression"])
    bunch = load_diabetes(scaled=False)
    assert data.columns.names == tuple(bunch.feature_names)
    parts = [
        torch.cat([split.inputs, split.labels], 1)
        for split in (data.train, data.val, data.open_test())
    ]
    expected = np.column_stack([bunch.data, bunch.target]).astype(np.float32).tolist()
    assert sorted(torch.cat(parts).tolist()) == sorted(expected)


@pytest.mark.parametrize("setting", [{"test": 0}, {"test": 442}, {"test": True}, {"val": 0}])
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(setting))}="):
        diabetes(**setting)
