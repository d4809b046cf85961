"""The recipe on drawn photographs, from the files to the report."""

import json

import pytest
from support.fundus import write_aptos

from limbeck.cli.main import main
from limbeck.models import load_model


def run(out, root, *settings):
    assert (
        main(
            [
                "run",
                "recipe=aptos",
                f"data.root={root}",
                f"out={out}",
                "logger=csv",
                "seeds=1",
                *settings,
            ]
        )
        == 0
    )
    return json.loads((out / "summary.json").read_text())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*stem for images")
def test_resnets_from_files_to_report(tmp_path):
    root, out = write_aptos(tmp_path / "data", 10, size=40), tmp_path / "run"
    summary = run(
        out,
        root,
        "data.size=32",
        "data.val=0.2",
        "data.test=0.3",
        "epochs=1",
        "teacher.epochs=1",
        "student.stem=imagenet",
        "teacher.model.stem=imagenet",
        "~arms.soft",
        "~arms.graded-hard",
    )
    assert (summary["data"]["name"], summary["data"]["classes"]) == ("aptos", 5)
    assert {arm["name"]: arm["student"] for arm in summary["arms"]} == {
        "hard": "resnet18",
        "graded-soft": "graded resnet18",
    }
    assert summary["teacher"]["name"] == "resnet50"
    for found in (summary["teacher"], *(seed for arm in summary["arms"] for seed in arm["seeds"])):
        for part in ("val", "test"):
            assert found[part]["kappa"] is None or -1 <= found[part]["kappa"] <= 1
    assert load_model(out / "students" / "graded-soft" / "seed0").description["arguments"][
        "encoder"
    ] == {
        "builder": "torchvision",
        "arguments": {"shape": [3, 32, 32], "classes": 1, "name": "resnet18", "stem": "imagenet"},
    }


def test_kappa_rises_above_chance(tmp_path, capsys):
    small = (
        "data.size=32",
        "data.val=0.2",
        "data.test=0.3",
        "views=none",
        "epochs=10",
        "optimizer.lr=0.01",
    )
    teacher = (
        "teacher=convnet",
        "teacher.model.channels=[8,16]",
        "teacher.model.strides=[1,2]",
        "teacher.epochs=10",
    )
    student = ("student=convnet", "student.channels=[8,16,16]", "student.strides=[1,2,2]")
    summary = run(tmp_path / "run", write_aptos(tmp_path / "data", 40), *small, *teacher, *student)
    assert {c["arm"]: c["control"] for c in summary["comparisons"]} == {
        "soft": "hard",
        "graded-soft": "graded-hard",
    }
    assert "kappa" in capsys.readouterr().out
    assert "Quadratic kappa" in (tmp_path / "run" / "report.html").read_text()
    assert (
        load_model(tmp_path / "run" / "students" / "graded-soft" / "seed0").description["builder"]
        == "graded"
    )
    kappa = {arm["name"]: arm["mean"]["kappa"] for arm in summary["arms"]}
    assert kappa["hard"] > 0.6
    assert kappa["graded-hard"] > 0.6
    adjusted = {arm["name"]: arm["adjusted"] for arm in summary["arms"]}
    assert all(entry["how"] == "kappa" for entries in adjusted.values() for entry in entries)
    assert adjusted["graded-soft"][0]["mean"]["kappa"] > 0.6, "thresholds find what the scores hold"


def test_bad_files_are_one_message(tmp_path, capsys):
    root = write_aptos(tmp_path / "data", 4)
    missing, damaged, *_ = sorted((root / "train_images").iterdir())
    missing.unlink()
    damaged.write_bytes(b"GIF89a")
    assert main(["run", "recipe=aptos", f"data.root={root}", f"out={tmp_path / 'run'}"]) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "2 of 20 image files cannot be read" in line
    assert f"{missing} (missing); {damaged} (" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("data.root=nowhere", 3, "nowhere is missing; data.root= should name a folder"),
        ("data.test=5", 2, "data.test=5 should be a share of the images"),
        ("data.siz=5", 2, "did you mean data.size (default 224)?"),
        ("student.name=resnet81", 2, "resnet18"),
        ("objective.class_weights=[1,2]", 2, "class_weights"),
    ],
)
def test_bad_settings_of_the_recipe(tmp_path, capsys, setting, code, message):
    root = write_aptos(tmp_path / "data", 4)
    own = ["data.size=16", f"data.root={root}", "teacher=none", "~arms.soft", "~arms.graded-soft"]
    assert main(["run", "recipe=aptos", f"out={tmp_path / 'run'}", *own, setting]) == code
    assert message in capsys.readouterr().err
