"""Composed settings: shared files, choices of objectives, and start-up without torch."""

import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import CONF, GROUPS, choice_names, choices
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
