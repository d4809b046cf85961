"""Small finished runs and the bundles of their students, shared by the whole session."""

import pytest

from limbeck.models import ConvNet
from support.deploy_runs import dataset, export, small_mlp, study


@pytest.fixture(scope="session")
def data():
    return dataset()


@pytest.fixture(scope="session")
def mlp_run(data, tmp_path_factory):
    return study(data, tmp_path_factory.mktemp("mlp") / "run", small_mlp)


@pytest.fixture(scope="session")
def conv_data():
    return dataset(channels=3, name="coloured")


@pytest.fixture(scope="session")
def conv_run(conv_data, tmp_path_factory):
    def student(**shape):
        return ConvNet(**shape, channels=[6, 8], strides=[1, 2])

    return study(conv_data, tmp_path_factory.mktemp("conv") / "run", student, seeds=1)


@pytest.fixture(scope="session")
def mlp_export(data, mlp_run, tmp_path_factory):
    return export(mlp_run, data, to=tmp_path_factory.mktemp("bundle") / "out")


@pytest.fixture(scope="session")
def mlp_bundle(mlp_export):
    return mlp_export.folder


@pytest.fixture(scope="session")
def conv_bundle(conv_data, conv_run, tmp_path_factory):
    return export(conv_run, conv_data, to=tmp_path_factory.mktemp("bundle") / "out").folder
