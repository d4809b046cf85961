"""Studies from composed settings."""

import json
from functools import partial

import pytest
from support.markov import markov_text

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.instantiate import build_study, plain_settings
from limbeck.cli.config.reopen import reopen
from limbeck.run.folder import RunFolder
from limbeck.training import loggers


def test_settings_of_version_0_1_0_still_build_a_study(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(loggers, "wandb_logger", lambda *args, **options: calls.append(options))
    book = tmp_path / "book.txt"
    book.write_text(markov_text("abcdef", 20_000, seed=3)[0])
    config = compose(
        [
            "recipe=text",
            "data._target_=limbeck.data.text",
            f"data.path={book}",
            f"data.cache={tmp_path / 'cache'}",
            "logger=wandb",
            "logger.wandb._target_=limbeck.training.scalars.wandb_logger",
        ],
        None,
    )
    study = build_study(plain_settings(config), out=tmp_path / "run")
    assert study.data.name == "book.txt"
    [logger] = study.options.loggers
    assert isinstance(logger, partial)
    logger(tmp_path)
    assert calls == [{"project": "limbeck", "mode": "auto"}]


def test_a_logger_without_target_is_refused(tmp_path):
    config = compose(["+logger.own.project=mine"], None)
    with pytest.raises(
        ConfigError, match=r"logger\.own=.* should be a group of settings with _target_"
    ):
        build_study(plain_settings(config), out=tmp_path / "run")


def test_settings_in_a_manifest_should_be_strings(tmp_path):
    content = {"command": "limbeck run 3", "verb": "run", "overrides": [3]}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with (
        pytest.raises(UntrustedFileError, match=r"overrides\[0\] should be a string, found 3"),
        reopen(RunFolder(tmp_path), ""),
    ):
        pass
