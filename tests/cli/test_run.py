"""``limbeck run``, ``train`` and ``report`` on quick studies."""

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from support.commands import QUICK, TINY, call, run, start
from support.run_files import manifest, students

import limbeck
from limbeck.cli.config.compose import compose
from limbeck.cli.config.instantiate import build_study, plain_settings
from limbeck.cli.main import main
from limbeck.run.summary import parse_summary


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A quick run in a process of its own, in a folder with spaces and umlauts."""
    cwd = tmp_path_factory.mktemp("whole")
    code, out, err = run("run", "quick=true", "out=läuft nicht/größe 1", cwd=cwd)
    return cwd, cwd / "läuft nicht" / "größe 1", code, out, err


def test_a_quick_run(finished):
    cwd, folder, code, out, err = finished
    assert code == 0
    parse_summary(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
    assert manifest(folder)["state"] == "finished"
    assert manifest(folder)["command"] == "limbeck run quick=true 'out=läuft nicht/größe 1'"
    assert manifest(folder)["overrides"] == ["quick=true", "out=läuft nicht/größe 1"]
    assert (folder / "report.html").is_file()
    assert not (folder / "checkpoints").exists()
    assert "hard" in out
    assert "soft" in out
    assert out.rstrip().endswith("report.html")
    assert err.startswith(
        f"limbeck {limbeck.__version__}: digits, results in läuft nicht/größe 1\n"
    )
    assert [p.name for p in cwd.iterdir()] == ["läuft nicht"]
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert settings["quick"] is True
    assert settings["out"] == "läuft nicht/größe 1"


def test_the_report_can_be_rewritten(finished, capsys):
    _, folder, _, out, _ = finished
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    assert capsys.readouterr().out.splitlines()[:-1][-3:] == out.splitlines()[:-1][-3:]


def test_a_finished_run_is_neither_replaced_nor_resumed(finished, capsys, monkeypatch):
    cwd, folder, *_ = finished
    monkeypatch.chdir(cwd)
    before = (folder / "summary.json").read_bytes()
    assert main(["run", "quick=true", f"out={folder}"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["resume", str(folder)]) == 2
    assert "is already finished" in capsys.readouterr().err
    assert (folder / "summary.json").read_bytes() == before


def test_its_teacher_and_its_folder_can_be_used_again(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder, *_ = finished
    again = ["run", "quick=true", "logger=csv", "epochs=1", f"teacher.from={folder}", "out=run"]
    assert main(again) == 0
    first, second = (
        json.loads((f / "summary.json").read_text(encoding="utf-8")) for f in (folder, Path("run"))
    )
    assert first["teacher"]["test"] == second["teacher"]["test"]
    assert main([*again, "overwrite=true", "+arms.hot.objective.temperature=20"]) == 0
    assert Path("run/students/hot/seed1/model.json").is_file()
    capsys.readouterr()


def test_train_stops_after_the_teacher(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "quick=true", "out=run", *TINY]) == 0
    assert Path("run/teacher/model.safetensors").is_file()
    assert not Path("run/students").exists()
    assert "report.html" in capsys.readouterr().out


@pytest.mark.slow
def test_options_pass_through_to_the_trainer(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "trainer.max_epochs=1",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=0.5",
    ]
    assert main(["run", "quick=true", "out=run", *TINY, *options]) == 0
    rows = Path("run/metrics.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert {row.split(",")[3] for row in rows} == {"0"}
    assert json.loads(Path("run/summary.json").read_text(encoding="utf-8"))["epochs"] == 1
    assert (
        main(
            [
                "run",
                "quick=true",
                "out=still",
                *TINY,
                "trainer.gradient_clip_val=1e-12",
                "optimizer.name=sgd",
            ]
        )
        == 0
    )
    moved = students(Path("still"))
    for name, tensor in moved.items():
        if "/soft/" in name:
            torch.testing.assert_close(tensor, moved[name.replace("/soft/", "/hard/")])
    capsys.readouterr()


def test_a_study_of_controls_needs_no_teacher(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    no_teacher = "arms.soft.objective={hard_weight: 1.0, soft_weight: 0.0}"
    assert main(["run", "quick=true", "out=run", "logger=csv", "teacher=none", no_teacher]) == 0
    assert json.loads(Path("run/summary.json").read_text(encoding="utf-8"))["teacher"] is None
    capsys.readouterr()


def test_divergence_ends_with_exit_code_5(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["run", "quick=true", "out=run", *TINY, "optimizer.name=sgd", "optimizer.lr=1e30"])
        == 5
    )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: Training diverged: the loss of hard/seed0 was")
    assert manifest(Path("run"))["state"] == "failed"


@pytest.mark.parametrize(
    ("overrides", "hard", "soft"),
    [
        (["views=flip"], "flips", "flips"),
        (
            ["views=crop", "views.fill=reflect", "views.padding=2"],
            *["crops with padding 2 (reflect)"] * 2,
        ),
        (
            ["views=crop_flip", "arms.soft.views=affine"],
            "crops with padding 4 + flips",
            "affine distortions",
        ),
        (["views=affine", "arms.hard.views=none"], "none", "affine distortions"),
        (["views=elastic"], *["affine distortions + elastic distortions"] * 2),
        (
            ["views=mixup", "views.views={_target_: limbeck.data.Flip}", "teacher.views=shift"],
            *["mixup of flips"] * 2,
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_all_views_can_be_chosen(overrides, hard, soft, tmp_path):
    """The study is built but not trained."""
    config = compose([*overrides, "store=off", "quick=true", *TINY])
    study = build_study(plain_settings(config), out=tmp_path / "run")
    study.check()
    views = {plan.name: plan.views.name for plan in study.plans}
    assert views == {"hard": hard, "soft": soft}


def test_recipes_and_views_of_the_user_are_found(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for group in ("recipe", "views"):
        (tmp_path / "own" / group).mkdir(parents=True)
    views = "_target_: limbeck.data.Shift\npixels: 1\n"
    (tmp_path / "own" / "views" / "jitter.yaml").write_text(views, encoding="utf-8")
    recipe = "# @package _global_\n# Mine.\nrecipe: mine\narms: {soft: {views: jitter}}\n"
    (tmp_path / "own" / "recipe" / "mine.yaml").write_text(recipe, encoding="utf-8")
    assert main(["recipes", "--config-dir", "own"]) == 0
    out = capsys.readouterr().out
    assert "Mine." in next(line for line in out.splitlines() if line.startswith("mine "))
    assert "digits" in out
    assert main(["run", "--config-dir", "own", "recipe=mine", "quick=true", "out=run", *TINY]) == 0
    arms = json.loads(Path("run/summary.json").read_text(encoding="utf-8"))["arms"]
    assert {arm["name"]: arm["views"] for arm in arms} == {"hard": "none", "soft": "shifts of 1"}
    capsys.readouterr()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o555)
    assert main(["run", "quick=true", f"out={tmp_path / 'run'}", *TINY]) == 2
    assert f"{tmp_path} is not writable (Permission denied)" in capsys.readouterr().err


def test_test_images_can_be_kept_out_of_the_report(tmp_path):
    code, _, err = call("run", *QUICK, "epochs=1", "examples=0", "out=run", cwd=tmp_path)
    assert code == 0, err
    assert not (tmp_path / "run" / "examples.npz").exists()
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Images on which the arms differ" not in html


def test_test_images_are_in_the_report(quick_run):
    assert (quick_run / "examples.npz").is_file()
    html = (quick_run / "report.html").read_text(encoding="utf-8")
    assert "Images on which the arms differ" in html
    assert html.count('class="example"') in range(1, 9)


@pytest.mark.slow
def test_four_runs_started_together_have_folders_of_their_own(tmp_path):
    processes = [start("run", "quick=true", *TINY, cwd=tmp_path) for _ in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    runs = list((tmp_path / "runs" / "digits").iterdir())
    assert len(runs) == 4
    assert {manifest(run)["state"] for run in runs} == {"finished"}
    assert {manifest(run)["resumed"] for run in runs} == {0}


@pytest.mark.slow
def test_of_four_runs_started_together_in_one_folder_one_is_accepted(tmp_path):
    processes = [start("run", "quick=true", *TINY, "out=run", cwd=tmp_path) for _ in range(4)]
    errors = {}
    for process in processes:
        _, err = process.communicate(timeout=240)
        errors.setdefault(process.returncode, []).append(err.splitlines()[-1])
    assert {code: len(lines) for code, lines in errors.items()} == {0: 1, 2: 3}
    for line in errors[2]:
        assert "is not empty" in line or "is in use by another process" in line, line
