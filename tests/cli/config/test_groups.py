"""YAML files of the user: what limbeck cannot read is named before anything is trained."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import read_choice
from limbeck.cli.recipes import description

PACKAGE = "# @package _global_\n"


@pytest.fixture
def write(tmp_path):
    """Writes a file of a group, in UTF-8 unless the content is bytes."""

    def write_file(content, name="recipe/mine.yaml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write_file


@pytest.mark.parametrize(
    "content",
    [
        "recipe: mine\nepochs: 3\n",
        "",
        "# mine\n# @package _global_\nepochs: 3\n",
        "# @package other\nepochs: 3\n",
        "\ufeff# @package _global_\nepochs: 3\n",
    ],
    ids=["none", "empty", "second line", "other package", "byte order mark"],
)
def test_a_recipe_whose_settings_would_not_apply_is_refused(write, tmp_path, content):
    file = write(content)
    with pytest.raises(ConfigError) as caught:
        compose(["recipe=mine"], tmp_path)
    assert str(file) in str(caught.value)
    assert "the first line of a recipe should be `# @package _global_`" in str(caught.value)
    assert ("byte order mark" in str(caught.value)) == content.startswith("\ufeff")


@pytest.mark.parametrize("content", ["- 1\n", PACKAGE + "- 1\n"])
def test_a_recipe_that_is_a_list_is_refused(write, tmp_path, content):
    write(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml should list settings .* contains a list"):
        compose(["recipe=mine"], tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs:\t3\n", r"mine\.yaml is not valid YAML \(line 2, column 8: found char"),
        ("epochs: [3\n", r"mine\.yaml is not valid YAML \(line 3, column 1: expected ','"),
        ("epochs: 3\nepochs: 4\n", r"mine\.yaml is not valid YAML \(line 3, column 1: .*epochs"),
        ("epochs: 3\x00\n", r"mine\.yaml is not valid YAML \(unacceptable character"),
        ("student: &a [*a]\n", "it contains itself"),
        ("null: 3\n", "The settings cannot be read: "),
    ],
    ids=["tab", "open bracket", "duplicate", "NUL", "alias", "null"],
)
def test_a_recipe_that_is_not_valid_is_refused(write, tmp_path, content, message):
    write(PACKAGE + content)
    with pytest.raises(ConfigError, match=message):
        compose(["recipe=mine"], tmp_path)


def test_files_in_other_encodings_are_refused(write, tmp_path):
    write(PACKAGE + "defaults: [base, _self_]\n")
    base = write((PACKAGE + "# f\xfcr\n").encode("latin-1"), "recipe/base.yaml")
    message = r"base\.yaml is not UTF-8 \(byte 23 is 0xfc\)"
    for choice in ("base", "mine"):
        with pytest.raises(ConfigError, match=message):
            compose([f"recipe={choice}"], tmp_path)
    assert description(base) == "f\ufffdr"


def test_the_name_of_a_recipe_is_that_of_its_file_unless_it_sets_one(write, tmp_path):
    write(PACKAGE + "epochs: 3\n")
    assert compose(["recipe=mine"], tmp_path).recipe == "mine"
    write(PACKAGE + "recipe: other\n")
    assert compose(["recipe=mine"], tmp_path).recipe == "other"


def test_a_file_with_the_name_of_one_of_limbecks_is_refused_when_it_is_chosen(write, tmp_path):
    write(PACKAGE + "epochs: 3\n", "recipe/mnist.yaml")
    with pytest.raises(ConfigError, match=r"mnist\.yaml has the name of one of limbeck's own"):
        compose(["recipe=mnist"], tmp_path)
    assert compose(["recipe=digits"], tmp_path).recipe == "digits"


def test_numbers_are_read_as_in_all_other_files(write, tmp_path):
    write("_target_: limbeck.data.Mixup\nalpha: 2e-1\n", "views/own.yaml")
    assert read_choice("views", "own", tmp_path)["alpha"] == 0.2


def test_views_named_by_an_arm_are_read_with_the_same_checks(write, tmp_path):
    write("[", "views/own.yaml")
    with pytest.raises(ConfigError, match=r"own\.yaml is not valid YAML"):
        read_choice("views", "own", tmp_path)
    write("- 1", "views/own.yaml")
    with pytest.raises(ConfigError, match=r"own\.yaml should list settings"):
        read_choice("views", "own", tmp_path)
    with pytest.raises(ConfigError, match="views: 'sift' is unknown"):
        read_choice("views", "sift", tmp_path)
