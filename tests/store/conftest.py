"""Stores of a few small shards."""

import pytest
from support.store_cases import SHARD, image_pass, open_quietly

from limbeck.store import key


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(key, "SHARD_ANSWERS", SHARD)


@pytest.fixture
def root(tmp_path):
    """A folder that holds one complete store."""
    open_quietly(image_pass(), tmp_path / "stores")
    return tmp_path / "stores"
