"""Python blocks of the documentation run, in order, as a reader would run them.

Blocks marked ``slow`` need the shell commands or files of their page; ``test_pages.py`` runs them.
"""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.documents import DOCS, Block, blocks, guide

PAGES = [page for page in guide() if blocks(page, "python")]


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def run(page: Path, *, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the Python blocks of a page in one module; blocks with a file name are written."""
    module = ModuleType("documentation")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for block in blocks(page, "python", "yaml"):
        if block.file:
            write(block, folder)
        elif block.language == "python" and not block.is_slow:
            padding = "\n" * (block.line - 1)  # so that a traceback shows the line of the page
            exec(compile(padding + block.code, str(page), "exec"), vars(module))


def write(block: Block, folder: Path) -> None:
    path = folder / str(block.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.code, encoding="utf-8")
    if path.suffix == ".py":
        exec(compile(block.code, str(path), "exec"), {"__name__": path.stem})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    run(page, folder=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("page", [p for p in guide() if blocks(p, "yaml")], ids=name_of)
def test_the_yaml_blocks_of_a_page_can_be_read(page):
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block.code), f"line {block.line}"
