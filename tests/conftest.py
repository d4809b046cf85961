"""Settings and fixtures of all tests."""

import os

# Before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy

import hydra
import pytest
import torch
from hypothesis import settings

pytest_plugins = ["support.deploy_fixtures", "support.permissions"]

settings.register_profile("tests", max_examples=30, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("tests")


def pytest_addoption(parser, pluginmanager):
    """Accept, and ignore, the options of pytest-xdist if it is switched off."""
    if not pluginmanager.hasplugin("xdist"):
        for option in ("--numprocesses", "--maxprocesses", "--dist"):
            parser.addoption(option)


hydra_compose = hydra.compose
configs = {}


def compose_once(name, overrides):
    """Compose equal settings once in a session, unless they depend on files of a test."""
    key = (name, *overrides)
    if any(override.startswith("hydra.searchpath=") for override in overrides):
        return hydra_compose(name, overrides=overrides)
    if key not in configs:
        configs[key] = hydra_compose(name, overrides=overrides)
    return copy.deepcopy(configs[key])


hydra.compose = compose_once  # before limbeck imports it


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors are slower with many threads, and the order of sums depends on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Stores and caches of the tests are separate from those of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
