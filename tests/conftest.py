"""What tests of training, of studies and of the command line share."""

import pytest
import torch

pytest_plugins = ["support.deploy_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors are slower on many threads, and sums then depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory):
    """No test touches the user's stores, nor the images decoded for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
