"""Loaders of users: forms of batches, and samples that no model can learn from."""

import pytest
import torch
from support.plain_loop import far
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import limbeck
from limbeck._base.errors import ConfigError, DataError


def flat_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 4))


def samples():
    draw = torch.Generator().manual_seed(3)
    return torch.randn(60, 16, generator=draw), torch.randint(4, (60,), generator=draw)


class Stream(IterableDataset):
    """Samples of an iterator, which is exhausted after the first epoch."""

    def __init__(self):
        self.samples = iter([(torch.zeros(16), 0)] * 8)

    def __iter__(self):
        return self.samples


def test_a_loader_that_is_exhausted_is_refused():
    with pytest.raises(ConfigError, match="no batch in epoch 2, so it can be read only once"):
        limbeck.train(nn.Linear(16, 2), DataLoader(Stream(), 4), epochs=2, progress=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda x, y: x[9].fill_(torch.nan), "Sample 9 of the loader's dataset contains nan"),
        (lambda x, y: x[9].fill_(torch.inf), "Sample 9 of the loader's dataset contains inf"),
        (lambda x, y: y[9].fill_(9), "Sample 9 .* label 9, but the model has 4 outputs"),
        (lambda x, y: y[9].fill_(-1), "Sample 9 of the loader's dataset has the label -1"),
    ],
)
def test_bad_samples_are_named(damage, message):
    x, y = samples()
    damage(x, y)
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
    model = flat_net(0)
    with pytest.raises(DataError, match=message):
        limbeck.train(model, loader, epochs=1, progress=False)
    with pytest.raises(DataError, match=message):
        limbeck.distill(flat_net(1), flat_net(2), loader, epochs=1, progress=False)
    assert not model._forward_hooks


@pytest.mark.parametrize("shape", [(4, 4), (4, 2), (4, 2, 2)])
def test_labels_of_another_shape_are_named(shape):
    batch = torch.ones(4, 16), torch.zeros(shape, dtype=torch.long)
    with pytest.raises(DataError, match=r"labels of a batch have the shape|expected class numbers"):
        limbeck.train(flat_net(0), [batch], epochs=1, progress=False)


def test_bad_labels_for_validation_are_named():
    x, y = samples()
    bad = y.clone()
    bad[9] = -5
    train = DataLoader(TensorDataset(x, y), 16)
    val = DataLoader(TensorDataset(x, bad), 16)
    with pytest.raises(DataError, match="Sample 9 of the loader's dataset has the label -5"):
        limbeck.train(flat_net(0), train, epochs=1, val_loader=val, progress=False)


class FailingOnDevice(nn.Linear):
    """A model that fails in its second step as CUDA does if a label is out of range."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().forward(x)


@pytest.mark.parametrize("net", [nn.Linear(16, 4), nn.Sequential(nn.BatchNorm1d(16), flat_net(0))])
def test_integers_that_a_model_refuses_are_named(net):
    x, y = samples()
    loader = DataLoader(TensorDataset((x * 9).byte(), y), 16)
    message = r"refuses inputs of torch\.uint8 .* with x\.float\(\) / 255"
    with pytest.raises(DataError, match=message):
        limbeck.train(net, loader, epochs=1, progress=False)
    with pytest.raises(DataError, match=message):
        limbeck.evaluate(net, loader)


@pytest.mark.parametrize("loader", [[samples()], DataLoader(Stream(), 8)])
def test_other_errors_of_a_model_are_passed_on(loader):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        limbeck.train(nn.Linear(9, 4), loader, epochs=1, progress=False)


def test_labels_out_of_range_are_named_on_cuda_too():
    x, y = samples()
    y[20] = 9
    with pytest.raises(DataError, match=r"Sample 20 of .* label 9, but the model has 4 "):
        limbeck.train(
            FailingOnDevice(16, 4), DataLoader(TensorDataset(x, y), 16), epochs=1, progress=False
        )


def test_numpy_arrays_and_dictionaries_train_the_same_student():
    x, y = samples()

    def trained(batch):
        return limbeck.train(flat_net(0), [batch], epochs=2, progress=False)

    expected = trained((x, y))
    for batch in ((x.double().numpy(), y.numpy()), {"image": x, "label": y[:, None].int()}):
        assert far(trained(batch), expected) == 0
