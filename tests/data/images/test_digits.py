import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from limbeck._base.errors import ConfigError
from limbeck.data import digits


def test_digits_are_those_of_scikit_learn():
    data = digits()
    assert (len(data.train), len(data.val), data.test_size) == (1097, 200, 500)
    assert (data.shape, data.classes, data.train.inputs.dtype) == ((1, 8, 8), 10, torch.uint8)
    bunch = load_digits()
    images = np.round(bunch.images / 16 * 255).astype(np.uint8)
    expected = np.column_stack([images.reshape(-1, 64), bunch.target])
    parts = []
    for split in (data.train, data.val, data.open_test()):
        parts.append(torch.cat([split.inputs.flatten(1), split.labels[:, None]], dim=1))
    rows = torch.cat(parts).numpy()
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, expected.tolist()))


def test_the_split_seed_decides_the_splits():
    assert digits().digest() == digits().digest() != digits(split_seed=1).digest()


@pytest.mark.parametrize(
    "setting", [{"test": 0}, {"test": 1797}, {"test": 0.5}, {"test": True}, {"val": 0}]
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(setting))}="):
        digits(**setting)
