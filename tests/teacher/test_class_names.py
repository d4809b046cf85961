"""Names of a teacher's outputs, from lists and files."""

import json
import shlex

import pytest

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.cli.config.compose import compose
from limbeck.teacher.class_names import check_names, names_setting, read_names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "cat\r\ndog\n\nfox\n"),
        ("labels.txt", "\ufeffcat\ndog\nfox"),
        ("list.json", ["cat", "dog", "fox"]),
        ("index.json", {"0": "cat", "1": "dog", "2": "fox"}),
        ("class_to_idx.json", {"dog": 1, "cat": 0, "fox": 2}),
        ("imagenet.json", {"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "fox"]}),
        ("config.json", {"model_type": "vit", "id2label": {"0": "cat", "1": "dog", "2": "fox"}}),
    ],
)
def test_files_of_names(tmp_path, name, content):
    file = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content)
    file.write_text(text, encoding="utf-8", newline="")
    assert read_names(file) == ("cat", "dog", "fox")


def test_outputs_without_a_name_are_no_class(tmp_path):
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"cat": 3, "dog": 1}))
    assert read_names(file) == (None, "dog", None, "cat")
    file.write_text(json.dumps(["cat", None, "dog"]))
    assert read_names(file) == ("cat", None, "dog")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "does not name the teacher's outputs"),
        ("a.json", "3", "neither a list nor an object"),
        ("a.json", '{"cat": "dog"}', "should be the numbers of outputs"),
        ("a.json", '{"cat": 0, "dog": 0}', "two names have the same output"),
        ("a.json", '{"cat": 0, "dog": 99999999999}', "should be the numbers of outputs"),
        ("a.json", "[[1], {}]", "is no name"),
        ("a.json", "[" * 5000, "nested"),
    ],
)
def test_files_without_names_are_one_message(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(TeacherError, match=message) as caught:
        read_names(tmp_path / name)
    assert "one name per line" in str(caught.value)


def test_a_missing_file_of_names(tmp_path):
    with pytest.raises(TeacherError, match="does not exist"):
        read_names(tmp_path / "missing.txt")


@pytest.mark.parametrize("names", ["cat", 3, {"cat": 1}])
def test_names_are_a_list(names):
    with pytest.raises(ConfigError, match="should list the names"):
        check_names(names, "teacher.classes")


def test_names_are_unique():
    with pytest.raises(ConfigError, match="lists 'cat' twice"):
        check_names(["cat", "dog", "cat"], "teacher.classes")
    with pytest.raises(ConfigError, match="at least two classes"):
        check_names(["cat", None, None], "teacher.classes")
    assert check_names([0, 1, None], "teacher.classes") == ("0", "1", None)


def test_the_printed_setting_gives_the_same_names():
    names = [
        *("0", "1", "10", "2", "cat", None, "dog", "null", "true", "1.50", "007", "1e3"),
        *("T-shirt/top", "it's", 'a "quote"', "größe", "a,b", "[x]", "{y: z}", "a b", "c\\", "$x"),
    ]
    words = shlex.split(names_setting(names))
    assert len(words) == 1
    value = compose(words).teacher.classes
    assert check_names(list(value), "teacher.classes") == tuple(names)
