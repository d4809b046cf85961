"""``limbeck run`` with hints, class weights and newer soft losses."""

import csv
import json

import pytest
from omegaconf import OmegaConf
from safetensors.torch import load_file

from limbeck.cli.config.arms import merge_objective
from limbeck.cli.config.compose import compose
from limbeck.cli.main import main
from limbeck.losses import Objective

SMALL = (
    "student=convnet",
    "student.channels=[4,6]",
    "student.strides=[2,2]",
    "teacher.model.channels=[6,8]",
    "teacher.model.strides=[2,1]",
    "teacher.epochs=1",
    "epochs=1",
    "seeds=1",
    "logger=csv",
    "transfer.labelled=null",
)
HINT = "objective.features=[{kind: hint, student: features.3, teacher: features.3}]"


def test_a_hint_arm_with_its_control_and_plain_distillation(tmp_path):
    out = tmp_path / "run"
    assert main(["run", f"out={out}", *SMALL, HINT, "+arms.plain={objective: {features: []}}"]) == 0
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    arms = {arm["name"]: arm for arm in summary["arms"]}
    assert [len(arms[name]["objective"]["features"]) for name in ("hard", "soft", "plain")] == [
        0,
        1,
        0,
    ]
    assert {c["arm"]: c["control"] for c in summary["comparisons"]} == {
        "soft": "hard",
        "plain": "hard",
    }
    with (out / "metrics.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["arm"] for row in rows if row["metric"] == "train_feature"} == {"soft"}
    saved = [
        load_file(out / "students" / name / "seed0" / "model.safetensors")
        for name in ("soft", "plain")
    ]
    assert saved[0].keys() == saved[1].keys()
    assert not any("projection" in name for name in saved[0])
    stores = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["stores"]
    assert len(stores) == 1  # of the plain arm
    assert "hint features.3 from features.3 (weight 1)" in (out / "report.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            [HINT.replace("student: features.3", "student: feature.3")],
            "no layer feature.3. Did you mean features.3",
        ),
        (
            [HINT.replace("teacher: features.3", "teacher: fc")],
            "the teacher has no layer fc. Its layers are features, head.",
        ),
        ([HINT.replace("student: features.3", "student: head")], "cannot match the student's head"),
        ([HINT, "teacher.members=2"], "an ensemble of 2"),
        (["objective.class_weights=[1,2]"], "has 2 numbers but the dataset has 10 classes"),
    ],
)
def test_mistakes_are_reported_before_training(settings, message, tmp_path, capsys):
    assert main(["run", f"out={tmp_path / 'run'}", *SMALL, *settings]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["dkd", "dist", "standardised"])
def test_each_soft_loss_has_a_file_that_makes_an_objective(name):
    objective = Objective(**OmegaConf.to_container(compose([f"objective={name}"]).objective))
    assert objective.needs_teacher
    assert (objective.soft, objective.standardise) == (
        ("kl", True) if name == "standardised" else (name, False)
    )


def test_controls_of_a_sweep_take_no_features_and_no_weights_of_dkd():
    lists = "objective.features=[],[{kind: hint, student: a, teacher: b}]"
    arms = OmegaConf.to_container(compose([lists], multirun=True).arms)
    assert len(arms) == 3
    base = OmegaConf.to_container(compose([]).objective)
    features = [
        merge_objective(base, (arm or {}).get("objective"))["features"] for arm in arms.values()
    ]
    assert sorted(map(len, features)) == [0, 0, 1]
    names = list(compose(["objective=dkd", "objective.target_weight=1,2"], multirun=True).arms)
    assert names == ["hard", "soft,target_weight=1", "soft,target_weight=2"]
