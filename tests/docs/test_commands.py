"""Shell blocks of the documentation: every command is composed, parsed or run."""

import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
from support.documents import ROOT, blocks, commands, guide

from limbeck.cli.main import main, parsers

COMPOSED = {"run", "train", "distill"}
RUN_AS_THEY_ARE = {"recipes"}
BUNDLE_VERBS = {"verify", "predict"}
SHELL = {"cd", "export", "mkdir", "source", "torchrun", "sha256sum"}
"""Commands of the shell itself that pages use around limbeck's."""

PAGES = [page for page in [ROOT / "README.md", *guide()] if blocks(page, "bash")]


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


def check_page(page: Path, folder: Path, *, most: int | None = None) -> None:
    """Check the commands of a page; of each block the first ``most``, or all."""
    write_files(page, folder)
    composed: set[str] = set()
    for block in blocks(page, "bash"):
        if block.mark != "skip":
            for words in commands(block.code)[:most]:
                check(words, composed=composed)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_first_command_of_each_block_is_accepted(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check_page(page, tmp_path, most=1)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_all_commands_of_a_page_are_accepted(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check_page(page, tmp_path)


def test_no_page_shows_a_command_in_an_indented_block():
    for page in guide():
        text = page.read_text(encoding="utf-8")
        assert "\n    limbeck " not in text, f"{name_of(page)}: use a bash block"
