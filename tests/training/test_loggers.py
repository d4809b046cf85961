"""The key of W&B is read from where W&B reads it."""

from limbeck.training.loggers import _has_wandb_key


def test_a_key_may_be_in_the_environment_or_in_netrc(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine wandb.example login user password 0123\n", encoding="utf-8")
    for name, value in {
        "NETRC": str(netrc),
        "WANDB_API_KEY": "",
        "WANDB_BASE_URL": "https://other.example",
    }.items():
        monkeypatch.setenv(name, value)
    assert not _has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    assert _has_wandb_key()
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert not _has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "0123")
    assert _has_wandb_key()
