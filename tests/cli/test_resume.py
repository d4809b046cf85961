"""``limbeck resume``: an interrupted run ends with the same students."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.commands import TINY, killed_at_the_end, start
from support.image_files import write_folder
from support.run_files import manifest, students

from limbeck._base.digests import file_digest
from limbeck._base.errors import LimbeckWarning
from limbeck.cli.main import main


def assert_same_students(run, other):
    resumed, expected = students(run), students(other)
    assert resumed
    assert list(resumed) == list(expected)
    for name, tensor in resumed.items():
        assert torch.equal(tensor, expected[name]), name


def scalars(run):
    return set((run / "metrics.csv").read_text(encoding="utf-8").splitlines())


def test_a_run_is_resumed_from_another_folder_with_its_relative_paths(
    tmp_path, capsys, monkeypatch
):
    start, elsewhere = tmp_path / "start", tmp_path / "elsewhere"
    start.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(start)
    assert main(["train", "quick=true", "out=first", *TINY]) == 0
    out = capsys.readouterr().out
    assert "The teacher alone:" in out
    assert "0 seeds" not in out
    assert main(
        ["run", "quick=true", "out=run", *TINY, "teacher.from=first", "optimizer.lr=1e30"]
    ) in (0, 5)
    content = manifest(Path("run"))
    (start / "run" / "manifest.json").write_text(
        json.dumps({**content, "state": "failed"}), encoding="utf-8"
    )
    monkeypatch.chdir(elsewhere)
    capsys.readouterr()
    code = main(["resume", str(start / "run")])
    assert "first does not exist" not in capsys.readouterr().err
    assert code in (0, 5)
    assert Path.cwd() == elsewhere


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epochs=3", "Unknown setting epochs=3. Settings are trainer.devices, trainer.num_nodes."),
        ("trainer.devices=x", "trainer.devices=x should be"),
    ],
)
def test_only_the_number_of_devices_may_change(capsys, word, message):
    assert main(["resume", "run", word]) == 2
    assert message in capsys.readouterr().err


LONG = ("quick=false", "epochs=40", "student.dropout=0.2", "+arms.wide.student.hidden=[9]", *TINY)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("uninterrupted")
    assert main(["run", *LONG, f"out={cwd / 'run'}"]) == 0
    return cwd / "run"


@pytest.mark.parametrize(
    ("number", "code", "state"),
    [
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, "running", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "interrupted", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_can_be_resumed(uninterrupted, tmp_path, capsys, number, code, state):
    out = tmp_path / "my run"
    process = start("run", *LONG, "out=my run", cwd=tmp_path)
    with killed_at_the_end(process):
        deadline = time.monotonic() + 120
        while not list(out.glob("checkpoints/cohort0/step*.ckpt")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert manifest(out)["state"] == state
    if code > 0:
        assert err.splitlines()[-1].endswith("Continue with: limbeck resume 'my run'")
    assert main(["resume", str(out)]) == 0
    assert f"resuming {out}" in capsys.readouterr().err
    assert_same_students(out, uninterrupted)
    assert scalars(out) == scalars(uninterrupted)
    assert manifest(out)["resumed"] == 1
    resumed, expected = (np.load(run / "predictions.npz") for run in (out, uninterrupted))
    assert all(np.array_equal(resumed[name], expected[name]) for name in expected.files)
    assert not (out / "checkpoints").exists()


def test_a_run_of_version_0_1_0_can_be_resumed(tmp_path, capsys):
    """Its settings were in another order, and its TensorBoard logger had another name."""
    out = tmp_path / "run"
    tiny = [setting for setting in TINY if setting != "logger=csv"]
    assert main(["run", "quick=true", f"out={out}", *tiny]) == 0
    settings = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    former = "lightning.pytorch.loggers.TensorBoardLogger"
    settings["logger"]["tensorboard"]["_target_"] = former
    arms = settings.pop("arms")
    text = yaml.safe_dump(settings) + yaml.safe_dump({"arms": arms}, sort_keys=False)
    (out / "config.yaml").write_text(text, encoding="utf-8")
    content = {**manifest(out), "state": "interrupted", "files": None}
    (out / "manifest.json").write_text(json.dumps(content), encoding="utf-8")

    assert main(["resume", str(out)]) == 0, capsys.readouterr().err
    assert manifest(out)["state"] == "finished"
    assert former not in (out / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_of_an_earlier_version_keeps_its_order_of_classes(tmp_path, monkeypatch, capsys):
    """Before version 0.2, classes of images were sorted as text, and no setting said so."""
    monkeypatch.chdir(tmp_path)
    write_folder(Path("in"), ("class2", "class10"), count=20)
    words = ["data=image_folder", "data.root=in", "data.size=6", *TINY]
    run, config = Path("run"), Path("run") / "config.yaml"
    assert main(["run", "quick=true", "out=run", "data.class_order=text", *words]) == 0
    expected = students(run)

    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    del settings["data"]["class_order"]
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    content = manifest(run)
    content["files"][config.name] = file_digest(config)
    (run / "manifest.json").write_text(json.dumps({**content, "state": "failed"}), encoding="utf-8")
    (run / "summary.json").unlink()
    assert main(["resume", "run"]) == 0
    for name, tensor in students(run).items():
        assert torch.equal(tensor, expected[name]), name
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["classes"] == ["class10", "class2"]
    assert main(["export", "run"]) == 0
    capsys.readouterr()
    with pytest.warns(LimbeckWarning, match="brought to the order of the dataset's"):
        assert main(["run", "quick=true", "out=new", "teacher.from=run", *words]) == 0
    teacher = json.loads(Path("new/summary.json").read_text(encoding="utf-8"))["teacher"]
    assert teacher["test"]["errors"] == summary["teacher"]["test"]["errors"]
