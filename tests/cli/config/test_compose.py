"""Settings of the command line: groups, overrides, paths and recipes of the user."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import CONF, GROUPS, choice_names, choices
from limbeck.cli.main import main
from limbeck.losses import SOFT_LOSSES, Objective


def plain(*overrides):
    return OmegaConf.to_container(compose(overrides), resolve=True)


@pytest.mark.parametrize("name", ["dkd", "jensen_shannon", "kl"])
def test_an_objective_named_after_a_loss_has_its_recommended_weights(name):
    settings = plain(f"objective={name}")["objective"]
    loss = SOFT_LOSSES[name]
    assert settings["soft"] == name
    assert settings["hard_weight"] == loss.hard_weight
    assert settings["soft_weight"] == loss.soft_weight


def test_the_default_objective_is_that_of_python():
    settings = plain()["objective"]
    assert settings == Objective().as_dict()


def test_shared_files_are_no_choices():
    for group in GROUPS:
        assert not any(name.startswith("_") for name in choices(group))
    assert choice_names("objective") == sorted([*SOFT_LOSSES, "standardised"])
    with pytest.raises(ConfigError, match=r"objective=_base is unknown\..* Choose one of"):
        compose(["objective=_base"])


def test_a_choice_of_the_users_own_may_build_on_a_loss(tmp_path):
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "mine.yaml").write_text(
        "defaults: [dkd, _self_]\nnontarget_weight: 2.0\n", encoding="utf-8"
    )
    settings = compose(["objective=mine"], tmp_path).objective
    assert (settings.soft, settings.nontarget_weight, settings.soft_weight) == ("dkd", 2.0, 1.0)


def test_views_are_whole_files_since_arms_name_them():
    for file in choices("views").values():
        assert "defaults" not in yaml.safe_load(file.read_text(encoding="utf-8")), file


def test_every_setting_of_a_recipe_is_one_of_the_study():
    keys = set(yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))) | GROUPS
    for file in choices("recipe").values():
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert set(recipe) <= keys, file


def test_composing_and_reading_the_table_of_losses_need_no_torch():
    code = (
        "import sys; from limbeck.cli.config.compose import compose; "
        "compose(['objective=dkd']); import limbeck.report.objectives; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_data_without_a_recipe_keeps_all_its_labels():
    plain = compose(["data=fashion_mnist"])
    assert plain.recipe == "plain"
    assert plain.transfer.labelled is None
    assert (plain.epochs, plain.student.hidden) == (20, [50])
    assert compose(["data=digits"]).recipe == compose([]).recipe == "digits"
    assert compose(["data=table"]).recipe == "table"
    assert compose(["recipe=digits", "data=fashion_mnist"]).transfer.labelled == 100
    assert compose(["data=mnist", "recipe=mnist_few"]).recipe == "mnist_few"


@pytest.mark.parametrize("recipe", ["digits", "mnist"])
def test_composed_settings_are_yaml(capsys, recipe):
    assert main(["run", "--cfg", "job", f"recipe={recipe}", "epochs=7", "seeds=[4,2]"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["recipe"] == recipe
    assert settings["epochs"] == 7
    assert settings["seeds"] == [4, 2]
    assert set(settings) == {
        "recipe",
        "data",
        "views",
        "teacher",
        "student",
        "objective",
        "arms",
        "transfer",
        "seeds",
        "splits",
        "epochs",
        "batch_size",
        "optimizer",
        "trainer",
        "launcher",
        "store",
        "bias",
        "margin",
        "examples",
        "logger",
        "out",
        "overwrite",
        "quick",
        "sweep",
        "choose",
    }


def test_the_command_line_comes_last():
    settings = compose(
        ["student.hidden=[7]", "teacher.epochs=2", "arms.soft.objective.temperature=9"]
    )
    assert settings.student.hidden == [7]
    assert settings.teacher.epochs == 2
    assert settings.arms.soft.objective.temperature == 9


def test_a_group_chosen_on_the_command_line_is_taken_whole():
    plain = compose(["student=convnet", "teacher=mlp", "student.dropout=0.4"])
    assert set(plain.student) == {"_target_", "_partial_", "channels", "strides", "dropout"}
    assert plain.student.dropout == 0.4
    assert "channels" not in plain.teacher.model
    assert plain.transfer == compose([]).transfer, "the rest of the recipe stays"
    assert compose(["teacher=none"]).teacher.model is None
    assert compose(["student=mlp", "recipe=mnist"]).student.hidden == [50]
    assert compose(["recipe=mnist", "teacher=mlp", "views=none"]).teacher.views is None, (
        "that is, the study's"
    )


@pytest.mark.parametrize(
    "path",
    [
        "läuft nicht/größe 1",
        "a,b",
        "a(b)",
        "a=b",
        "it's",
        "[1]/x",
        "5",
        "C:/x",
        "true",
        'a"b',
        "日本",
    ],
)
def test_paths_are_taken_as_they_are(path):
    quoted = "'[1]/x'" if path.startswith("[") else path
    settings = compose(
        [f"out={quoted}", "data=mnist", f"data.root={quoted}", f"teacher.from={quoted}"]
    )
    assert settings.out == settings.data.root == settings.teacher["from"] == path


def test_paths_may_be_lists_null_quoted_or_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    settings = compose(["teacher.from=[a,b]", "out=null"])
    assert list(settings.teacher["from"]) == ["a", "b"]
    assert settings.out is None
    assert compose(["out='a b'"]).out == "a b"
    assert compose(["out=~/runs/1"]).out == "/somewhere/runs/1"


def test_new_arms_and_trainer_options_may_be_added():
    settings = compose(["+arms.hot.objective.temperature=9", "trainer.gradient_clip_val=1"])
    assert settings.arms.hot.objective.temperature == 9
    assert settings.trainer.gradient_clip_val == 1


def test_a_recipe_of_ones_own(tmp_path, capsys):
    folder = tmp_path / "my conf" / "recipe"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /student: convnet\nrecipe: mine\nepochs: "
        "3\nseeds: 1\n",
        encoding="utf-8",
    )
    own = ["--config-dir", str(folder.parent)]
    assert main(["run", *own, "recipe=mine", "--cfg", "job"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert (settings["recipe"], settings["epochs"], settings["seeds"]) == ("mine", 3, 1)
    assert settings["student"]["channels"]
    assert main(["run", *own, "recipe=mime"]) == 2
    assert "Did you mean mine?" in capsys.readouterr().err
    assert main(["run", "--config-dir", str(tmp_path / "nowhere"), "recipe=mine"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["Müller", "a=b,c", "(1)[2]{3}", "#1", "it's", "a;b&c", "~x!", 'q"']
)
def test_the_folder_of_the_user_may_have_any_name(tmp_path, name):
    recipe = tmp_path / name / "conf" / "recipe" / "mine.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("# @package _global_\nepochs: 3\n")
    assert compose(["recipe=mine"], recipe.parents[1]).epochs == 3


def test_a_path_that_ends_in_a_backslash_is_quoted():
    assert compose(["out=a\\"]).out == "a\\"
    assert compose(["out=it\\'s"]).out == "it\\'s"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.class_names=[grün,rot]", ["grün", "rot"]),
        ("data.class_names=[ja, 'sehr grün', 日本 語]", ["ja", "sehr grün", "日本 語"]),
        ("data.label_column=Größe (cm)", "Größe (cm)"),
        ("data.label_column=sepal length (cm)", "sepal length (cm)"),
        ("data.class_names=[length (cm), b (x) c,d]", ["length (cm)", "b (x) c", "d"]),
        ("data.name={a: ü, b: [~]}", {"a": "ü", "b": [str(Path.home())]}),
        ("data.name='é'", "é"),
        ("data.name=${oc.env:HOME}", str(Path.home())),
    ],
)
def test_words_of_any_language_need_no_quotes(override, value):
    key = override.partition("=")[0].partition(".")[2]
    assert plain("data=image_csv", override)["data"][key] == value


def test_paths_in_lists_may_begin_at_home_and_have_any_letters(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    settings = compose(["teacher.from=[~/a,Müller/b]"])
    assert list(settings.teacher["from"]) == ["/somewhere/a", "Müller/b"]


def test_words_that_are_not_utf_8_are_refused():
    with pytest.raises(ConfigError, match=r"command line contains bytes that are not UTF-8.*udcff"):
        compose(["out=caf\udcff"])


def test_the_temperature_of_a_recipe_yields_to_values_to_predict():
    data = ("data=text_csv", "data.task=regression")
    assert plain("data=text_csv")["objective"]["temperature"] == 2.0
    settings = plain(*data, "objective.hard_weight=0.3")["objective"]
    assert (settings["temperature"], settings["hard_weight"]) == (1.0, 0.3)
    assert plain(*data, "objective.temperature=3")["objective"]["temperature"] == 3
