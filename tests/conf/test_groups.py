"""The YAML groups of datasets and views name public objects and have their defaults."""

import inspect
from importlib.resources import files

import pytest
import yaml

import limbeck.data
from limbeck.models.builders import BUILDERS

CONF = files("limbeck") / "conf"
DIFFERENT = {
    "image_csv": {"root": "data", "file_column": "file", "label_column": "label"},
    "image_folder": {"root": "data"},
    "image_table": {"root": "data"},
    "sentences": {"path": "sentences.txt", "tokenizer": "${teacher.from}"},
    "table": {"path": "data.csv", "label": "label", "categorical": [], "ignore": []},
    "text_folders": {"root": "data", "pattern": ["*.txt", "*.txt.gz"]},
    "text_folder": {"root": "data", "pattern": ["*.txt", "*.txt.gz"]},
}
"""Settings that have no default in Python, or one of another type."""
ONLY_STUDENTS = {"sentence_encoder"}
"""Models that start from their teacher, which is never trained."""


def load(group, name):
    """Read a YAML file with the files that it builds on."""
    settings = {}
    own = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    for base in own.pop("defaults", []):
        if base != "_self_":
            settings |= load(group, base)
    return settings | own


def names_of(group):
    names = [file.name.removesuffix(".yaml") for file in (CONF / group).iterdir()]
    return sorted(name for name in names if not name.startswith("_"))


@pytest.mark.parametrize("name", names_of("data"))
def test_a_dataset_has_the_defaults_of_its_function(name):
    settings = load("data", name)
    module, _, attribute = settings.pop("_target_").rpartition(".")
    assert module == "limbeck.data"
    assert attribute in limbeck.data.__all__
    parameters = inspect.signature(getattr(limbeck.data, attribute)).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    assert settings == defaults | DIFFERENT.get(name, {})


@pytest.mark.parametrize("name", names_of("student"))
def test_a_model_has_groups_for_student_and_teacher_and_can_be_rebuilt(name):
    path = load("student", name)["_target_"]
    if name not in ONLY_STUDENTS:
        assert load("teacher", name)["model"]["_target_"] == path
    assert path.rpartition(".")[2] in {builder.class_name for builder in BUILDERS.values()}


@pytest.mark.parametrize("name", names_of("views"))
def test_views_have_the_settings_of_their_group(name):
    settings = load("views", name)
    module, _, attribute = settings.pop("_target_").rpartition(".")
    assert module == "limbeck.data"
    parameters = inspect.signature(getattr(limbeck.data, attribute)).parameters
    assert settings.keys() == parameters.keys() - {"args", "kwargs"}
