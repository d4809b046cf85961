"""W&B changes no result, needs neither key nor network, and its records can be read back."""

import json
import os
import subprocess
import sys

import pytest
from support.commands import SOURCE, TINY, run
from support.wandb_files import history, values

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.cli.main import main
from limbeck.training import loggers
from limbeck.training.loggers import _has_wandb_key, wandb_logger

pytest.importorskip("wandb")
QUICK = [
    "run",
    "quick=true",
    "student.hidden=[4]",
    "teacher=mlp",
    "teacher.model.hidden=[8]",
    "teacher.epochs=1",
    "epochs=1",
    "store=off",
]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    for name in (
        "WANDB_API_KEY",
        "WANDB_MODE",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "https_proxy",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", NOBODY)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(loggers, "getproxies", dict)


@pytest.mark.slow
def test_an_offline_run_is_readable_and_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*QUICK, "logger=csv", "out=without"]) == 0
    assert main([*QUICK, "logger=wandb", "logger.wandb.mode=off", "out=off"]) == 0
    command = [
        sys.executable,
        "-m",
        "limbeck",
        *QUICK,
        "logger=wandb",
        "out=with",
    ]  # W&B writes until its process ends
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    arms = {}
    for name in ("without", "with", "off"):
        summary = json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8"))
        arms[name] = [
            {key: arm[key] for key in ("name", "params", "seeds", "mean", "sd")}
            for arm in summary["arms"]
        ]
    assert arms["with"] == arms["without"] == arms["off"]
    assert not list((tmp_path / "off").rglob("*.wandb"))
    (file,) = (tmp_path / "with").glob("logs/wandb/offline-run-*/*.wandb")
    curves = {"validation accuracy/soft/seed 1", "training loss/teacher/seed 0"}
    assert curves <= set(history(file))
    assert values(file, "summary")["verdict"] in ("helps", "hurts", "not shown")
    assert values(file, "config")["objective.temperature"] == 4
    assert b"quick=true" not in file.read_bytes()  # the command may contain secrets
    capsys.readouterr()


def test_a_key_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.warns(loggers.LimbeckWarning, match="does not answer: the run is logged offline"):
        assert loggers._detect_mode() == "offline"
    with pytest.raises(ResourceError, match=f"W&B at {NOBODY} does not answer"):
        wandb_logger(tmp_path, mode="online")


def test_online_needs_a_key(tmp_path):
    with pytest.raises(ConfigError, match="needs a key"):
        wandb_logger(tmp_path, mode="online")
    with pytest.raises(ConfigError, match="choose one of auto, online, offline, off"):
        wandb_logger(tmp_path, mode="on")


def test_online_where_there_are_key_and_network(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(loggers, "_is_reachable", lambda server: server == NOBODY)
    assert loggers._detect_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert loggers._detect_mode() == "offline"


@pytest.mark.slow
def test_wandb_offline_needs_neither_key_nor_network(tmp_path):
    environment = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    environment |= {
        "WANDB_API_KEY": "",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    code, _, err = run(
        "run", "quick=true", "out=run", *TINY, "logger=wandb", cwd=tmp_path, **environment
    )
    assert code == 0, err
    assert list((tmp_path / "run").glob("logs/wandb/offline-run-*/*.wandb"))


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
