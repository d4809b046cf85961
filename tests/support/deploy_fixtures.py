"""Small finished runs, and the bundles of their students."""

import pytest
import torch

from limbeck.deploy.export import export
from limbeck.models import MLP, ConvNet
from support.deploy_runs import dataset, study


@pytest.fixture(scope="session")
def data():
    return dataset()


@pytest.fixture(scope="session")
def mlp_run(data, tmp_path_factory):
    return study(
        data, tmp_path_factory.mktemp("mlp") / "run", lambda **shape: MLP(**shape, hidden=[12])
    )


@pytest.fixture(scope="session")
def conv_data():
    return dataset(channels=3, name="coloured")


@pytest.fixture(scope="session")
def conv_run(conv_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("conv") / "run"
    return study(
        conv_data, out, lambda **shape: ConvNet(**shape, channels=[6, 8], strides=[1, 2]), seeds=1
    )


@pytest.fixture(scope="session")
def mlp_bundle(data, mlp_run, tmp_path_factory):
    return export(
        mlp_run, data, to=tmp_path_factory.mktemp("bundle") / "out", progress=False
    ).folder


@pytest.fixture(scope="session")
def conv_bundle(conv_data, conv_run, tmp_path_factory):
    return export(
        conv_run, conv_data, to=tmp_path_factory.mktemp("bundle") / "out", progress=False
    ).folder


@pytest.fixture(autouse=True)
def threads():
    """Sessions of ONNX Runtime and of PyTorch on one thread are repeatable."""
    torch.set_num_threads(1)
