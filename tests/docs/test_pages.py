"""Every page of the documentation works from top to bottom, in a folder with the reader's files."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from support.documents import DOCS, ROOT, Block, blocks, commands, guide
from support.reader import names_of, write_files

from limbeck.cli.main import main
from limbeck.deploy.demo import Demo
from limbeck.report.figures.catalogue import Figures

PAGES = [page for page in [ROOT / "README.md", *guide()] if blocks(page, "bash")]
SMALLER = {
    "teacher=torchvision/resnet50": "teacher=torchvision/resnet18",
    "teacher=timm/resnet50": "teacher=timm/mobilenetv3_small_100",
    "teacher=timm/convnext_tiny": "teacher=timm/convnext_atto",
    "data.size=64": "data.size=32",
    "data.size=128": "data.size=32",
    "data.size=224": "data.size=32",
    "student.pretrained=true": "student.pretrained=false",
    "teacher.model.pretrained=true": "teacher.model.pretrained=false",
    "trainer.accelerator=gpu": "trainer.accelerator=cpu",
    "store.folder=/data/answers": "store.folder=answers",
    "logger=wandb": "logger=csv",
    "logger=mlflow": "logger=csv",
    "logger=trackio": "logger=csv",
}
"""Settings that need a GPU, a network, another package or time, and what takes their place."""
SERVICES = ("logger.wandb.", "logger.mlflow.", "logger.trackio.")
NOT_RUN = ("trainer.compile=", "trainer.strategy=ddp", "format=executorch", *SERVICES)
"""Settings that take minutes, or need what the tests do not install; their own tests run them."""
OTHER_PROGRAMS = {"source", "pip", "python3"}
"""Programs that install; ``.ci/check_wheel`` runs them."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT if page.parent == ROOT else DOCS).as_posix()


class Reader:
    """Follows a page: writes its files, and runs its code and commands in order."""

    def __init__(self, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.page = page
        self.module = ModuleType("documentation")
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        write_files(name_of(page), folder)
        vars(self.module).update(names_of(name_of(page), folder))

    def follow(self) -> None:
        for block in blocks(self.page, "bash", "python", "yaml"):
            if block.file:
                path = Path(block.file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.code, encoding="utf-8")
            elif block.language == "python":
                self.execute(block)
            elif block.language == "bash":
                for words in commands(block.code):
                    self.call(words)

    def execute(self, block: Block) -> None:
        padding = "\n" * (block.line - 1)  # so that a traceback shows the line of the page
        exec(compile(padding + block.code, str(self.page), "exec"), vars(self.module))

    def call(self, words: list[str]) -> None:
        program, *arguments = words
        if program == "limbeck":
            self.limbeck(arguments)
        elif program == "python" and not arguments[0].startswith("benchmarks/"):
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        else:
            assert program in OTHER_PROGRAMS or arguments[0].startswith("benchmarks/"), words

    def limbeck(self, arguments: list[str]) -> None:
        line = shlex.join(arguments)
        if any(setting in line for setting in NOT_RUN):
            return
        if "data=image_table" in line and find_spec("pyarrow") is None:
            return
        arguments = [SMALLER.get(word, word) for word in arguments]
        if arguments[0] == "store" and len(arguments) > 2 and "--all" not in arguments:
            arguments[2] = self.key_of_store()
        if arguments[0] in ("run", "train", "distill", "fit") and "--cfg" not in arguments:
            arguments += ["quick=true", "logger=csv"]
            if "recipe=cifar10" in line and "teacher." not in line:
                arguments.append("teacher.model.name=resnet18")
            if re.search(r"(recipe|data)=(mnist|cifar10)", line):
                arguments.append("data.val=100")
            elif re.search(r"(recipe|data)=text", line) and "teacher" not in line:
                arguments += ["teacher.model.layers=1", "teacher.model.width=48"]
            elif "recipe=aptos" in line:
                arguments += ["data.size=32", "teacher.model.name=resnet18"]
        assert main(arguments) == 0, line

    def key_of_store(self) -> str:
        """Return the key of a store that exists, after a run if there is none yet."""
        stores = Path(os.environ["LIMBECK_STORE"])
        if not any(stores.glob("*/store.json")):
            assert main(["run", "quick=true", "logger=csv", "out=first"]) == 0
        return next(stores.glob("*/store.json")).parent.name


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_works_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIMBECK_STORE", str(tmp_path / "store"))
    reader = Reader(page, tmp_path, monkeypatch)
    monkeypatch.setattr(Demo, "serve", lambda demo: None)
    monkeypatch.setattr("webbrowser.open", lambda page: True)
    monkeypatch.setattr("limbeck.report.page.draw_figures", lambda *_: Figures([], [], [], []))
    reader.follow()
