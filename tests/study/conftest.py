"""Studies in this folder write no report, which takes longer than training these tiny students."""

import pytest


@pytest.fixture
def real_report():
    """Asks for real reports."""


@pytest.fixture(autouse=True)
def no_report(request, monkeypatch):
    if "real_report" not in request.fixturenames:
        monkeypatch.setattr("limbeck.study.study.write_report", lambda folder: None)
