"""The README is short, its links lead somewhere, and its commands work for a new user."""

import re

import pytest
from support.documents import DOCS, ROOT, blocks, commands

from limbeck.cli.main import main

README = ROOT / "README.md"


def test_the_readme_is_short_and_has_two_commands_to_install():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    installs = [line.strip() for line in lines if line.startswith("    python3 -m venv")]
    assert len(installs) == 2
    assert installs[0].endswith(".venv/bin/limbeck run")
    assert installs[1].endswith(".venv/bin/python -m pytest")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (ROOT / link).exists(), link


def follow(page, *, most, folder, monkeypatch):
    """Run the first shell and Python blocks of a page for real, in order."""
    monkeypatch.chdir(folder)
    module: dict[str, object] = {}
    for block in blocks(page, "bash", "python")[:most]:
        if block.language == "python":
            exec(block.code, module)
            continue
        for words in commands(block.code):
            if words[0] == "limbeck":
                assert main(words[1:]) == 0, words


@pytest.mark.slow
def test_the_commands_of_the_readme_work_in_order(tmp_path, monkeypatch):
    follow(README, most=1, folder=tmp_path, monkeypatch=monkeypatch)
    assert (tmp_path / "runs" / "first" / "bundle" / "model.onnx").is_file()


@pytest.mark.slow
def test_the_first_tutorial_works_in_order(tmp_path, monkeypatch, capsys):
    page = DOCS / "tutorials" / "first-study.md"
    follow(page, most=None, folder=tmp_path, monkeypatch=monkeypatch)
    assert "digit.png" in capsys.readouterr().out
