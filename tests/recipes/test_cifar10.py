"""The recipe cifar10 on small files of the same format: ``limbeck train``, then ``distill``."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support import cifar_files

from limbeck.cli.config.compose import compose
from limbeck.cli.main import main
from limbeck.models import TorchvisionModel, load_model
from limbeck.models.zoo import LIBRARIES
from limbeck.run.summary import parse_summary

SMALL = [
    "recipe=cifar10",
    "data.val=10",
    "epochs=1",
    "seeds=1",
    "batch_size=16",
    "logger=csv",
    "store=off",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the data, and a teacher trained on it by the command line."""
    home = tmp_path_factory.mktemp("cifar")
    cifar_files.write(
        home / "data" / "cifar-10-batches-bin", cifar_files.cifar10_files(each=6, test=10)
    )
    where = [f"data.root={home / 'data'}"]
    teacher = ["teacher=torchvision/resnet18", "teacher.epochs=1", "teacher.batch_size=10"]
    assert main(["train", *SMALL, *where, *teacher, f"out={home / 'teacher'}"]) == 0
    return home, where


def test_the_recipe_is_that_of_the_reference():
    settings = compose(["recipe=cifar10"])
    assert settings.teacher.model.name == "resnet50"
    assert settings.student.name == "resnet18"
    assert (settings.optimizer.name, settings.optimizer.momentum, settings.optimizer.schedule) == (
        "sgd",
        0.9,
        "cosine",
    )
    assert settings.objective.soft == "cross_entropy"
    assert list(settings.arms) == ["hard", "soft"]
    assert [part["_target_"].rpartition(".")[2] for part in settings.views.parts] == [
        "Crop",
        "Flip",
    ]


def test_a_resnet50_for_cifar_answers():
    model = TorchvisionModel((3, 32, 32), 10, name="resnet50").eval()
    assert model.net.maxpool(torch.ones(1, 1, 4, 4)).shape == (1, 1, 4, 4)
    assert sum(p.numel() for p in model.parameters()) == 23_520_842
    with torch.no_grad():
        assert model(torch.rand(2, 3, 32, 32)).isfinite().all()


@pytest.mark.slow
def test_distill_from_the_trained_teacher(trained, capsys):
    home, where = trained
    student = "student=timm/test_resnet" if find_spec("timm") else "student=torchvision/resnet18"
    out = home / "students"
    assert (
        main(["distill", *SMALL, *where, student, f"teacher.from={home / 'teacher'}", f"out={out}"])
        == 0
    )
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    parse_summary(summary)
    assert summary["teacher"]["name"] == "resnet18"
    assert [arm["name"] for arm in summary["arms"]] == ["hard", "soft"]
    with np.load(out / "predictions.npz") as arrays:
        assert len(arrays.files) > 2
    model = load_model(out / "students" / "soft" / "seed0").model
    assert isinstance(model.net, tuple(LIBRARIES.values()))
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["verb"] == "distill"
    capsys.readouterr()


@pytest.mark.slow
def test_distill_needs_an_existing_teacher(trained, capsys):
    _, where = trained
    assert main(["distill", *SMALL, *where]) == 2
    assert (
        "'limbeck distill' needs an existing teacher. Set teacher.from" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_short_file(trained, tmp_path, capsys):
    files = cifar_files.cifar10_files(each=6, test=10)
    cifar_files.write(tmp_path, {**files, "test_batch.bin": files["test_batch.bin"][:-5]})
    assert main(["train", *SMALL, f"data.root={tmp_path}", f"out={tmp_path / 'run'}"]) == 3
    assert "test_batch.bin is damaged: it has 30725 bytes" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_recipe_in_one_run(trained, tmp_path):
    _, where = trained
    assert main(["run", *SMALL, *where, "teacher.epochs=1", f"out={tmp_path / 'run'}"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["teacher"]["params"] == 23_520_842
    assert {arm["params"] for arm in summary["arms"]} == {11_173_962}
