"""Samples for tests of the LightningModule and its optimizers."""

import pytest
from support.module_nets import samples
from torch.utils.data import TensorDataset


@pytest.fixture
def data():
    return TensorDataset(*samples(50))


@pytest.fixture
def val_data():
    return TensorDataset(*samples(23, seed=1))
