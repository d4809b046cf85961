"""House rules: names, docstrings, sizes and layers of the source. See CONTRIBUTING.md."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "limbeck"
MAX_COLUMNS, MAX_LINES, MAX_ARGUMENTS = 100, 400, 8
PARTICIPLES = """
    asked begun built called chosen drawn found given gone held kept left_out listed lost made meant
    named picked said seen sent shown taken told wanted written
"""
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:", "References:", "Example:")
ENTRY = re.compile(r"^(\*{0,2}[\w`., *]+?): (.*)$")
STARTS_WITH_NOUN = re.compile(r"""[A-Z`"0-9:$]""")
NOT_A_NOUN = re.compile(
    r"(Of|By|As|To|In|With|For|Likewise|Where|What|How|Which|Who|Made|Told|Asked) "
)
LAYERS = [
    "cli",
    "search",
    "study",
    "deploy",
    "report",
    "training",
    "store",
    "teacher",
    "evaluation",
    "data",
    "models",
    "losses",
    "run",
    "_base",
]

# Exceptions, with their reasons.
LONG_FILES = {}
MANY_ARGUMENTS = {
    # What users call with keywords has an argument for each of its options.
    "src/limbeck/data/dataset.py": {"__init__", "from_arrays", "from_splits"},
    "src/limbeck/data/images/csv_table.py": {"image_csv"},
    "src/limbeck/data/images/folders.py": {"image_folder"},
    "src/limbeck/data/images/image_table.py": {"image_table"},
    "src/limbeck/data/tables/datasets.py": {"table"},
    "src/limbeck/data/text/class_folders.py": {"text_folders"},
    "src/limbeck/data/text/datasets.py": {"text_file", "text_folder"},
    "src/limbeck/models/bag.py": {"__init__"},
    "src/limbeck/models/huggingface/classifier.py": {"__init__"},
    "src/limbeck/models/huggingface/sentence_encoder.py": {"__init__"},
    "src/limbeck/data/text/sentences.py": {"sentences"},
    "src/limbeck/data/text/text_table.py": {"text_csv"},
    "src/limbeck/models/text_encoder.py": {"__init__"},
    "src/limbeck/evaluation/evaluate.py": {"evaluate"},
    "src/limbeck/study/study.py": {"__init__"},
    "src/limbeck/training/fit.py": {"distill", "train"},
    "src/limbeck/training/module.py": {"__init__"},
    # The oracle of the losses has the settings of an objective.
    "tests/losses/conftest.py": {"objective"},
}


def python_files() -> list[str]:
    folders = [SOURCE, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    return sorted(str(file.relative_to(ROOT)) for file in files)


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that the code introduces, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name


def docstring_entries(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Line of the definition, section and text of every entry of a docstring's sections."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        section, indent = "", 0
        for line in (ast.get_docstring(node) or "").splitlines():
            text = line.strip()
            spaces = len(line) - len(line.lstrip())
            if text in SECTIONS:
                section, indent = text, 0
            elif text and spaces == 0:
                section = ""
            elif text and section:
                indent = indent or spaces
                if spaces == indent:
                    yield getattr(node, "lineno", 1), section, text


def number_of_arguments(function: ast.FunctionDef) -> int:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in every if argument.arg not in ("self", "cls")])


def violations_of_lines(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"#\s*fmt: *(skip|off)", line):
            yield f"{number}: formatting is switched off"
        if len(line) > MAX_COLUMNS:
            yield f"{number}: {len(line)} columns"


def violations_of_names(tree: ast.AST) -> Iterator[str]:
    for line, name in names(tree):
        if name.strip("_").lower() in PARTICIPLES.split():
            yield f"{line}: the name {name} is a participle; use a noun"


def violations_of_docstrings(tree: ast.AST) -> Iterator[str]:
    for line, section, text in docstring_entries(tree):
        entry = ENTRY.match(text)
        if entry is None:
            continue
        description = entry[2]
        is_noun = STARTS_WITH_NOUN.match(description) and not NOT_A_NOUN.match(description)
        if section in ("Args:", "Attributes:") and not is_noun:
            yield f"{line}: {text!r} should start with a capitalised noun"
        if section == "Raises:" and not description.startswith(("If ", "When ")):
            yield f"{line}: {text!r} should start with If"


def violations(name: str) -> list[str]:
    """What violates the rules of lines, names and docstrings in a file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    tree = ast.parse(text)
    return [
        *violations_of_lines(text),
        *violations_of_names(tree),
        *violations_of_docstrings(tree),
    ]


def long_signatures(name: str) -> set[str]:
    """The functions of a file that take too many arguments."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {node.name for node in functions if number_of_arguments(node) > MAX_ARGUMENTS}


def number_of_lines(name: str) -> int:
    return len((ROOT / name).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", python_files())
def test_lines_names_docstrings_and_sizes_follow_the_rules(name):
    assert not violations(name), "\n".join(violations(name))
    if name not in LONG_FILES:
        assert number_of_lines(name) <= MAX_LINES
    assert long_signatures(name) <= MANY_ARGUMENTS.get(name, set())


def test_the_exceptions_are_still_needed():
    assert [name for name in LONG_FILES if number_of_lines(name) <= MAX_LINES] == []
    assert {name: long_signatures(name) for name in MANY_ARGUMENTS} == MANY_ARGUMENTS


def test_the_root_of_the_package_holds_two_modules():
    assert sorted(file.name for file in SOURCE.glob("*.py")) == ["__init__.py", "__main__.py"]


# Imports ------------------------------------------------------------------------------------------


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(file: Path, modules: set[str]) -> set[str]:
    """The modules of the package that a module imports when it is imported."""
    imports = set()
    for node in module_level(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                imports.add(submodule if submodule in modules else node.module)
    return imports & modules


def module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Every node outside functions and ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from module_level(child)


@pytest.fixture(scope="module")
def imports():
    """The imports of every module by its name."""
    files = {module_name(file): file for file in SOURCE.rglob("*.py")}
    return {name: imported_modules(file, set(files)) for name, file in files.items()}


def test_modules_do_not_import_each_other_in_circles(imports):
    remaining = {name: set(targets) - {name} for name, targets in imports.items()}
    while leaves := [name for name, targets in remaining.items() if not targets]:
        for name in leaves:
            del remaining[name]
        for targets in remaining.values():
            targets.difference_update(leaves)
    assert not remaining, f"circles among {sorted(remaining)}"


def test_packages_import_only_from_layers_below(imports):
    upward = defaultdict(set)
    for name, targets in imports.items():
        for target in targets:
            layers = [part.split(".")[1] for part in (name, target) if "." in part]
            if len(layers) == 2 and set(layers) <= set(LAYERS):
                importer, imported = map(LAYERS.index, layers)
                if importer > imported:
                    upward[name].add(target)
    assert not upward, dict(upward)
