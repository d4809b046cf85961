"""The recipe on drawings of the retina, from the files to the report."""

import json

import pytest
from support.fundus import write_aptos

from limbeck.cli.main import main
from limbeck.models import load_model


def run(out, root, *settings):
    arguments = ["recipe=aptos", f"data.root={root}", f"out={out}", "logger=csv", "seeds=1"]
    assert main(["run", *arguments, *settings]) == 0
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
    students = {arm["name"]: arm["student"] for arm in summary["arms"]}
    assert students == {"hard": "resnet18", "graded-soft": "graded resnet18"}
    assert summary["teacher"]["name"] == "resnet50"
    models = [summary["teacher"]]
    for arm in summary["arms"]:
        models += arm["seeds"]
    for model in models:
        for part in ("val", "test"):
            assert model[part]["kappa"] is None or -1 <= model[part]["kappa"] <= 1
    description = load_model(out / "students" / "graded-soft" / "seed0").description
    assert description["arguments"]["encoder"] == {
        "builder": "torchvision",
        "arguments": {"shape": [3, 32, 32], "classes": 1, "name": "resnet18", "stem": "imagenet"},
    }


@pytest.mark.slow
def test_kappa_rises_above_chance(tmp_path, capsys):
    data = ("data.size=32", "data.val=0.2", "data.test=0.3", "views=none")
    training = ("epochs=10", "optimizer.lr=0.01", "teacher.epochs=10")
    teacher = ("teacher=convnet", "teacher.model.channels=[8,16]", "teacher.model.strides=[1,2]")
    student = ("student=convnet", "student.channels=[8,16,16]", "student.strides=[1,2,2]")
    root, out = write_aptos(tmp_path / "data", 40), tmp_path / "run"
    summary = run(out, root, *data, *training, *teacher, *student)
    controls = {comparison["arm"]: comparison["control"] for comparison in summary["comparisons"]}
    assert controls == {"soft": "hard", "graded-soft": "graded-hard"}
    assert "kappa" in capsys.readouterr().out
    assert "Quadratic kappa" in (out / "report.html").read_text()
    graded = load_model(out / "students" / "graded-soft" / "seed0")
    assert graded.description["builder"] == "graded"
    arms = {arm["name"]: arm for arm in summary["arms"]}
    assert arms["hard"]["mean"]["kappa"] > 0.6
    assert arms["graded-hard"]["mean"]["kappa"] > 0.6
    for arm in arms.values():
        assert all(entry["how"] == "kappa" for entry in arm["adjusted"])
    adjusted = arms["graded-soft"]["adjusted"][0]
    assert adjusted["mean"]["kappa"] > 0.6, "thresholds use what the scores contain"


def test_unreadable_files_give_one_message(tmp_path, capsys):
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
        ("data.root=nowhere", 3, "nowhere is missing. Set data.root= to a folder"),
        ("data.siz=5", 2, "`data.size` (default 224)?"),
        ("student.name=resnet81", 2, "resnet18"),
        ("objective.class_weights=[1,2]", 2, "class_weights"),
    ],
)
def test_bad_settings_of_the_recipe_are_named(tmp_path, capsys, setting, code, message):
    root = write_aptos(tmp_path / "data", 4, size=16)
    own = ["data.size=16", f"data.root={root}", "teacher=none", "~arms.soft", "~arms.graded-soft"]
    assert main(["run", "recipe=aptos", f"out={tmp_path / 'run'}", *own, setting]) == code
    assert message in capsys.readouterr().err
