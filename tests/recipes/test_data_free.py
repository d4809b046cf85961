from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import CONF
from limbeck.data.sources.base import Source

RECIPES = {
    "mnist_noise": {"uniform", "sparse", "strokes"},
    "mnist_generator": {"strokes", "generated"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_arms_without_data_are_compared_with_the_same_student_on_real_images(recipe):
    arms = OmegaConf.to_container(compose([f"recipe={recipe}"]), resolve=True)["arms"]
    without = {name: arm for name, arm in arms.items() if "source" in (arm.get("transfer") or {})}
    assert set(without) == RECIPES[recipe]
    for arm in without.values():
        source = instantiate(arm["transfer"]["source"], _convert_="all")
        assert isinstance(source, Source)
        assert source.small(100).samples == 100
        assert arm["control"] == "soft"
        assert arms["soft"] == {}
    assert (
        len((Path(CONF) / "recipe" / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines())
        <= 15
    )
