"""Settings of the store and its default folder."""

from pathlib import Path

import pytest

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.store.settings import StoreSettings


def test_settings_in_every_form():
    assert StoreSettings.of("off") == StoreSettings.of(False) == StoreSettings(mode="off")
    assert StoreSettings.of({"mode": False}).mode == "off"
    settings = StoreSettings.of({"dtype": "float32", "views": 3})
    assert settings == StoreSettings(dtype="float32", views=3)
    assert StoreSettings.of(settings) is settings
    assert StoreSettings.of("auto") == StoreSettings()
    assert StoreSettings.of({"kind": "sampled", "k": 1}).k == 1
    assert StoreSettings.of("topk") == StoreSettings(kind="topk")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("on", "store='on' is unknown; choose one of auto, off, topk, sampled"),
        (True, "store=True is unknown"),
        ({"mode": "on"}, "store.mode='on' is unknown"),
        ({"dtype": "int8"}, "store.dtype='int8' is unknown; choose one of float16, bfloat16, f"),
        ({"kind": "top"}, "store.kind='top' is unknown; choose one of dense, topk, sampled"),
        ({"k": 0}, "store.k=0 should be a whole number of at least 1"),
        ({"k": 1.5}, "store.k=1.5 should be a whole number"),
        ({"kind": "topk", "k": True}, "store.k=True should be a whole number"),
        ({"kind": "topk", "dtype": "float32"}, "dtype='float32' is for store.kind=dense; topk"),
        ({"views": 0}, "store.views=0 should be a whole number"),
        ({"folder": 3}, "store.folder=3 should be a folder"),
        ({"folder": ""}, "store.folder='' should be a folder"),
        ({"dtyp": "float16"}, r"Unknown key `store\.dtyp`\. Did you mean `store\.dtype`"),
        ({"thing": 1}, r"Unknown key `store\.thing`\. Known keys: mode, kind"),
    ],
)
def test_bad_settings_are_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        StoreSettings.of(value)


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LIMBECK_STORE", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert StoreSettings().root == tmp_path / "mine"
    monkeypatch.delenv("LIMBECK_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert StoreSettings().root == tmp_path / "cache" / "limbeck" / "store"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert StoreSettings().root == tmp_path / ".cache" / "limbeck" / "store"
    assert StoreSettings(folder="~/x").root == tmp_path / "x"

    def no_home():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ResourceError, match=r"no home folder .*LIMBECK_STORE=DIR"):
        _ = StoreSettings().root
