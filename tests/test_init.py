"""The package: its public names, and what importing it does."""

import os
import subprocess
import sys
from importlib import import_module

import pytest
from support.commands import SOURCE

import limbeck


def test_every_public_name_can_be_used_without_another_import():
    assert dir(limbeck) == sorted(limbeck.__all__)
    for name in dir(limbeck):
        assert getattr(limbeck, name) is not None


def test_packages_are_attributes():
    assert limbeck.data is import_module("limbeck.data")
    assert limbeck.models.MLP.__name__ == "MLP"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'limbeck' has no attribute 'Studio'"):
        limbeck.Studio  # noqa: B018


def environment_after_import(**environment):
    code = "import os, sys, limbeck;print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.split()


def test_idle_threads_do_not_spin_in_python_either(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert environment_after_import() == ["2000", "False"]
    assert environment_after_import(GOMP_SPINCOUNT="7") == ["7", "False"]
    assert environment_after_import(OMP_WAIT_POLICY="active") == ["None", "False"]
