"""Every recipe runs as a user runs it, shrunk to seconds, on the real files if there are any."""

import json
import os
from pathlib import Path

import pytest

from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import CONF, choices
from limbeck.cli.main import main
from limbeck.run.summary import parse_summary

REAL = Path(
    os.environ.get("LIMBECK_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data")
)
ELSEWHERE = {"cifar10", "aptos"}
"""Recipes whose data is not at hand; their own tests draw files of the same format."""
QUICK = {"digits", "plain"}
"""Recipes that run with the quick tests."""
EMBEDDED = ("digits", "text", "text_csv", "breast_cancer", "diabetes", "digit_pairs")


def recipes():
    result = [name for name in sorted(choices("recipe")) if name not in ELSEWHERE]
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in result]


def data_of(recipe):
    return compose([f"recipe={recipe}"]).data["_target_"].rpartition(".")[2]


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_runs_in_seconds(recipe, tmp_path, capsys):
    data = data_of(recipe)
    if data not in EMBEDDED and not (REAL / data).is_dir():
        pytest.skip(f"the files of {data} are not in {REAL}")
    where = [] if data in EMBEDDED else [f"data.root={REAL / data}"]
    run = tmp_path / "run"
    code = main(["run", f"recipe={recipe}", "quick=true", "logger=csv", *where, f"out={run}"])
    assert code == 0, capsys.readouterr().err
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    parse_summary(summary)
    assert summary["recipe"] == recipe
    assert summary["failed"] == []
    assert (run / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("recipe", sorted(choices("recipe")))
def test_a_recipe_is_short_and_says_what_it_is_for(recipe):
    lines = (CONF / "recipe" / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 15
    assert lines[0] == "# @package _global_"
    assert len(lines[1]) > 30
    assert lines[1].startswith("# ")
    assert f"recipe: {recipe}" in lines


@pytest.mark.parametrize("data", ["mnist", "fashion_mnist"])
def test_the_question_of_settings_goes_to_other_data(data, tmp_path):
    settings = compose(["recipe=question_settings", f"data={data}", "quick=true"])
    assert settings.data["_target_"] == f"limbeck.data.{data}"
    assert len(settings.arms) == 10  # two rates of the control, two by two by two of the soft
