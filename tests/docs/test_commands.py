"""Shell blocks of the documentation: the first command of each is composed, parsed or run.

``test_pages.py`` runs all of them; this test is the quick one, of a few pages.
"""

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
from support.documents import DOCS, ROOT, blocks, commands, guide

from limbeck.cli.config.compose import compose
from limbeck.cli.main import main, parsers

COMPOSED = {"run", "train", "distill"}
RUN_AS_THEY_ARE = {"recipes"}
BUNDLE_VERBS = {"verify", "predict"}
SHELL = {"cd", "export", "mkdir", "source", "torchrun", "sha256sum"}
"""Commands of the shell itself that pages use around limbeck's."""

PAGES = [page for page in [ROOT / "README.md", *guide()] if blocks(page, "bash")]
QUICK = {"README.md", "docs/how-to/sweep.md", "docs/how-to/own-images.md"}
"""Pages that are checked by the quick tests."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def check(words: list[str], *, composed: set[str]) -> None:
    program = Path(words[0]).name
    if program == "limbeck":
        check_limbeck(words[1:], composed=composed)
    elif program in ("pip", "python", "python3"):
        check_python(words)
    else:
        assert program in SHELL, f"{program} is not a command that this test knows"


def check_limbeck(words: list[str], *, composed: set[str]) -> None:
    verb = words[0] if words else ""
    line = shlex.join(words)
    if verb in COMPOSED and line not in composed:
        composed.add(line)
        command = words if "--cfg" in words else [*words, "--cfg", "job"]
        assert main(command) == 0, line
    elif verb in RUN_AS_THEY_ARE:
        assert main(words) == 0, line
    elif verb not in COMPOSED | BUNDLE_VERBS:
        _, verbs = parsers()
        verbs[verb].parse_intermixed_args(words[1:])


def check_python(words: list[str]) -> None:
    if "install" in words:
        for word in words[words.index("install") + 1 :]:
            assert extras(word) <= known_extras(), word
    elif len(words) > 1 and words[1].startswith("benchmarks/"):
        assert (ROOT / words[1]).is_file(), words[1]


def extras(requirement: str) -> set[str]:
    _, bracket, rest = requirement.partition("[")
    return set(rest.rstrip("]").split(",")) if bracket else set()


@cache
def known_extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def write_files(page: Path, folder: Path) -> None:
    for block in blocks(page, "yaml", "python"):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if name_of(page) in QUICK else pytest.mark.slow)
        for page in PAGES
    ],
    ids=name_of,
)
def test_the_first_command_of_each_block_is_accepted(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    composed: set[str] = set()
    for block in blocks(page, "bash"):
        check(commands(block.code)[0], composed=composed)


@pytest.mark.slow
def test_the_settings_of_the_table_of_tasks_are_accepted():
    page = (DOCS / "reference" / "cli-and-python.md").read_text(encoding="utf-8")
    cells = [line.split("|")[2] for line in page.splitlines() if line.startswith("| ")]
    settings = [code for cell in cells[2:] for code in re.findall(r"`([^`]+)`", cell)]
    assert len(settings) > 25
    for code in settings:
        words = shlex.split(code)
        if words[0] == "limbeck":
            check_limbeck(words[1:], composed=set())
        else:
            compose([word for word in words if word != "-m"], multirun=words[0] == "-m")


def test_no_page_shows_a_command_in_an_indented_block():
    for page in guide():
        text = page.read_text(encoding="utf-8")
        assert "\n    limbeck " not in text, f"{name_of(page)}: use a bash block"
