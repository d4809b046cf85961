"""``limbeck open``."""

import pytest
from support.commands import call
from support.run_files import copy_run


@pytest.fixture
def run(quick_run, tmp_path):
    return copy_run(quick_run, tmp_path / "run")


@pytest.fixture
def pages(monkeypatch):
    """The pages that the browser shows."""
    addresses = []
    monkeypatch.setattr("webbrowser.open", lambda page: addresses.append(page) or True)
    return addresses


def test_the_report_is_shown_and_its_path_printed(run, pages, tmp_path):
    code, out, err = call("open", "run", cwd=tmp_path)
    assert (code, out, err) == (0, "report: run/report.html\n", "")
    assert pages == [(run / "report.html").as_uri()]


def test_without_a_browser_the_path_is_enough(run, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda page: False)
    code, out, err = call("open", run)
    assert (code, out) == (0, f"report: {run / 'report.html'}\n")
    assert "No browser could be started" in err


CHANGES = {
    "another page": lambda html: "<script>alert(1)</script>",
    "a script before the rules": lambda html: f"<script>alert(1)</script>{html}",
    "other rules": lambda html: html.replace("default-src 'none'", "default-src *"),
    "a redirection": lambda html: html.replace(
        "<title>", '<META http-equiv="refresh" content="0;url=https://example.org"><title>'
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_page_that_could_run_scripts_is_not_shown(run, pages, change):
    page = run / "report.html"
    page.write_text(change(page.read_text(encoding="utf-8")), encoding="utf-8")
    code, out, err = call("open", run)
    assert (code, out) == (7, "")
    assert f"'limbeck report {run}' writes it again" in err
    assert pages == []


def test_a_report_elsewhere_is_not_shown(run, pages, tmp_path):
    (run / "report.html").rename(tmp_path / "report.html")
    (run / "report.html").symlink_to(tmp_path / "report.html")
    assert call("open", run)[0] == 7
    assert pages == []


def test_what_is_no_run_is_refused(run, pages, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "report.html").write_text("<script>alert(1)</script>")
    for path, words in (("folder", "is not a run"), ("none", "is not a run")):
        code, _, err = call("open", path, cwd=tmp_path)
        assert code == 2
        assert words in err
    (run / "report.html").unlink()
    code, _, err = call("open", run)
    assert code == 2
    assert "has no report.html" in err
    assert pages == []
