"""Lists of the reference are complete, and each stands in one place."""

import pydoc
import re
from dataclasses import fields

import pytest
from support.documents import DOCS, ROOT, guide

import limbeck.data
import limbeck.losses
import limbeck.models
from limbeck._base import errors
from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import choices
from limbeck.cli.main import main
from limbeck.losses import SOFT_LOSSES
from limbeck.training.options import TrainerOptions

REFERENCE = DOCS / "reference"


def text_of(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    """Return the first cell of every row of the tables of a page."""
    return re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)


def quoted(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_recipe_is_in_the_list():
    assert quoted(first_cells(text_of("recipes"))) == set(choices("recipe"))


def test_every_dataset_is_in_the_list():
    table = text_of("datasets").partition("\n## ")[0]
    assert quoted(first_cells(table)) - {"data="} == set(choices("data"))


def test_every_model_is_in_the_list():
    table = text_of("models").partition("\n## ")[0]
    names = {name.partition("/")[0] for name in quoted(first_cells(table))}
    assert names == set(choices("student")) | set(choices("teacher"))


def test_every_soft_loss_is_in_the_list():
    _, _, rest = text_of("losses").partition("\n## Soft losses")
    table = rest.partition("\n###")[0]
    assert quoted(first_cells(table)) - {"soft"} == set(SOFT_LOSSES)


def test_every_family_of_views_is_in_the_list():
    table = (DOCS / "concepts" / "views.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert quoted(first_cells(table)) - {"views="} == set(choices("views"))


@pytest.mark.parametrize("group", ["objective", "store", "logger"])
def test_every_choice_of_a_group_is_named(group):
    page = text_of("losses") if group == "objective" else text_of("settings")
    assert set(choices(group)) <= set(re.findall(r"`(\w+)`", page))


def test_every_setting_is_in_the_list():
    settings = compose([])
    page = text_of("settings")
    for key in settings:
        assert f"`{key}" in page, key
    for key in settings.transfer:
        assert f"`transfer.{key}`" in page, key
    for key in settings.objective:
        assert f"`{key}`" in text_of("losses"), key
    for option in fields(TrainerOptions):
        assert f"trainer.{option.name}`" in page or f"`.{option.name}`" in page, option.name


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    return capsys.readouterr().out


def test_every_command_and_option_is_in_the_list(capsys):
    page = text_of("commands")
    verbs = re.findall(r"^    (\w+) ", help_of(capsys=capsys), re.MULTILINE)
    assert len(verbs) > 10
    for verb in verbs:
        assert f"`limbeck {verb}" in page, verb
        for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", help_of(verb, capsys=capsys), re.M):
            assert f"`{option}" in page or f"`-m`, `{option}" in page, f"{verb} {option}"


def test_every_error_has_its_exit_code_in_the_list():
    page = text_of("exit-codes")
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.LimbeckError) and kind.exit_code > 1:
            assert re.search(rf"^\| {kind.exit_code} \|.*`{name}`", page, re.MULTILINE), name


@pytest.mark.parametrize("package", [limbeck, limbeck.data, limbeck.losses, limbeck.models])
def test_every_public_class_and_function_is_on_the_api_page(package):
    page = text_of("api")
    for name in package.__all__:
        if callable(getattr(package, name)):
            assert re.search(rf"^\.\. auto\w+:: (\w+\.)*{name}$", page, re.MULTILINE), name


def test_the_layout_is_that_of_the_tree():
    page = (DOCS / "concepts" / "design.md").read_text(encoding="utf-8")
    layout = page.partition("```text\n")[2].partition("```")[0]
    source = ROOT / "src" / "limbeck"
    packages = {path.name for path in source.iterdir() if path.is_dir()}
    assert set(re.findall(r"^(\w+)/", layout, re.MULTILINE)) == packages - {"__pycache__"}
    for path in re.findall(r"`((?:[\w.]+/)+[\w.]*)`", page):
        root = ROOT if path.startswith(("tests/", "docs/")) else source
        if "NAME" not in path:
            assert (root / path).exists(), path


def test_the_lists_stand_in_one_place():
    """A page with most of the names of a list in its tables shows the list a second time."""
    lists = {
        "recipe": set(choices("recipe")),
        "data": set(choices("data")),
        "loss": set(SOFT_LOSSES),
    }
    pages = [*guide(), ROOT / "README.md"]
    for kind, names in lists.items():
        holders = []
        for page in pages:
            cells = quoted(first_cells(page.read_text(encoding="utf-8")))
            if len(names & cells) > len(names) / 2:
                holders.append(page.name)
        assert len(holders) == 1, (kind, holders)


def test_the_names_that_pages_mention_exist():
    for page in [*guide(), ROOT / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`~?(limbeck(?:\.\w+)+)(?:\(\))?`", text):
            assert pydoc.locate(name) is not None, f"{page.name}: {name}"
