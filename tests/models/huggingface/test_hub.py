"""Models named by their place on the hub."""

import time

import pytest
import torch
from support.huggingface_models import CLASSES, LENGTH, ids_of, new_model

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.models import HuggingFace

pytest.importorskip("transformers")


def test_without_a_network_a_name_is_a_resource_error(monkeypatch, tmp_path):
    """A refused connection is said at once, not after the client's many attempts."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(
        ResourceError, match=r"could not be downloaded from the hub.*choose a local folder"
    ) as e:
        HuggingFace((LENGTH,), CLASSES, path="someone/some-model")
    assert e.value.exit_code == 6
    assert time.monotonic() - start < 5


def test_a_name_unknown_to_the_hub_is_refused(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    def unknown(*_, **__):
        raise HFValidationError("no such name")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    with pytest.raises(
        ConfigError,
        match="someone/nothing is not a local folder, and the hub has no model of that name",
    ):
        HuggingFace((LENGTH,), CLASSES, path="someone/nothing")


@pytest.mark.parametrize("reachable", [True, False])
def test_a_name_on_the_hub_is_downloaded_or_read_from_the_cache(monkeypatch, folder, reachable):
    """What was fetched before serves without a network; never more is asked for than settings and
    safetensors.
    """
    import huggingface_hub

    def info(*_, timeout, **__):
        assert timeout <= 10
        if not reachable:
            raise OSError("no route to host")

    def snapshot(name, *, allow_patterns, local_files_only=False):
        assert name == "someone/model"
        assert local_files_only is not reachable
        assert all(pattern.endswith((".json", ".safetensors")) for pattern in allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    model = HuggingFace((LENGTH,), CLASSES, path="someone/model").eval()
    assert torch.equal(model(ids_of()), new_model().eval()(ids_of()))
