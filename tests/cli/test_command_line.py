"""The command line as a user has it: in processes of its own, with signals, and with settings of
every kind.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.commands import interruptible

import limbeck
from limbeck.cli.config.compose import compose
from limbeck.cli.main import main
from limbeck.run.summary import parse_summary

SOURCE = str(Path(limbeck.__file__).parents[1])
QUICK = (
    "logger=csv",
    "student.hidden=[4]",
    "seeds=2",
    "teacher=mlp",
    "teacher.model.hidden=[8]",
    "teacher.epochs=1",
)


def start(*arguments, cwd, **environment):
    """``python -m limbeck`` in the background."""
    settings = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "limbeck", *arguments],
        cwd=cwd,
        env=settings,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )


def run(*arguments, cwd, **environment):
    process = start(*arguments, cwd=cwd, **environment)
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def manifest(out):
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def students(out):
    return {
        f"{file.parent.relative_to(out)}/{name}": tensor
        for file in sorted(out.glob("students/*/*/model.safetensors"))
        for name, tensor in load_file(file).items()
    }


def same(one, other):
    first, second = students(one), students(other)
    assert first
    return list(first) == list(second) and all(
        torch.equal(first[name], second[name]) for name in first
    )


def scalars(run):
    return set((run / "metrics.csv").read_text(encoding="utf-8").splitlines())


def test_data_without_a_recipe_keeps_all_its_labels():
    plain = compose(["data=fashion_mnist"])
    assert plain.recipe == "plain"
    assert plain.transfer.labelled is None
    assert (plain.epochs, plain.student.hidden) == (20, [50])
    assert compose(["data=digits"]).recipe == compose([]).recipe == "digits"
    assert compose(["recipe=digits", "data=fashion_mnist"]).transfer.labelled == 100
    assert compose(["data=mnist", "recipe=mnist_few"]).recipe == "mnist_few"


def test_help_is_fast_and_needs_no_torch(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, out, _ = run("--help", cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 0
    assert out.startswith("usage: limbeck")
    for word in ("run", "train", "resume", "report", "recipes", "exit codes"):
        assert word in out
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    script = (
        "import sys; from limbeck.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'hydra', 'numpy', 'rich', 'matplotlib'} & "
        "set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
        cwd=tmp_path,
    )


def test_version_and_recipes(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"limbeck {limbeck.__version__}\n"
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {"digits", "mnist"}
    assert all(len(line.split()) > 3 for line in lines)


# Settings -----------------------------------------------------------------------------------------


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
        "epochs",
        "batch_size",
        "optimizer",
        "trainer",
        "store",
        "bias",
        "examples",
        "logger",
        "out",
        "overwrite",
        "quick",
        "sweep",
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


# Whole runs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole quick run in a process of its own, in a folder with a difficult name."""
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


def test_a_report_is_written_anew(finished, capsys):
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


def test_its_teacher_and_its_folder_can_be_taken_again(finished, tmp_path, capsys, monkeypatch):
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


def test_the_teacher_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "quick=true", "out=run", *QUICK]) == 0
    assert Path("run/teacher/model.safetensors").is_file()
    assert not Path("run/students").exists()
    assert "report.html" in capsys.readouterr().out


def test_options_pass_through_to_the_trainer(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "trainer.max_epochs=1",
        "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=0.5",
    ]
    assert main(["run", "quick=true", "out=run", *QUICK, *options]) == 0
    rows = Path("run/metrics.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert {row.split(",")[3] for row in rows} == {"0"}
    assert json.loads(Path("run/summary.json").read_text(encoding="utf-8"))["epochs"] == 1
    assert (
        main(
            [
                "run",
                "quick=true",
                "out=still",
                *QUICK,
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


def test_controls_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = "arms.soft.objective={hard_weight: 1.0, soft_weight: 0.0}"
    assert main(["run", "quick=true", "out=run", "logger=csv", "teacher=none", alone]) == 0
    assert json.loads(Path("run/summary.json").read_text(encoding="utf-8"))["teacher"] is None
    capsys.readouterr()


def test_divergence_has_an_exit_code_of_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["run", "quick=true", "out=run", *QUICK, "optimizer.name=sgd", "optimizer.lr=1e30"])
        == 5
    )
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: Training diverged: the loss of hard/seed0 was")
    assert manifest(Path("run"))["state"] == "failed"


def test_a_wandb_key_is_found_where_wandb_looks(tmp_path, monkeypatch):
    from limbeck.training.loggers import _has_wandb_key

    netrc = tmp_path / "netrc"
    netrc.write_text("machine wandb.example login user password 0123\n", encoding="utf-8")
    for name, value in {
        "NETRC": str(netrc),
        "WANDB_API_KEY": "",
        "WANDB_BASE_URL": "https://other.example",
    }.items():
        monkeypatch.setenv(name, value)
    assert not _has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    assert _has_wandb_key()
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert not _has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "0123")
    assert _has_wandb_key()


def test_a_run_is_resumed_from_another_folder_with_its_relative_paths(
    tmp_path, capsys, monkeypatch
):
    begun, elsewhere = tmp_path / "begun", tmp_path / "elsewhere"
    begun.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(begun)
    assert main(["train", "quick=true", "out=first", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "The teacher alone:" in said
    assert "0 seeds" not in said
    assert main(
        ["run", "quick=true", "out=run", *QUICK, "teacher.from=first", "optimizer.lr=1e30"]
    ) in (0, 5)
    content = manifest(Path("run"))
    (begun / "run" / "manifest.json").write_text(
        json.dumps({**content, "state": "failed"}), encoding="utf-8"
    )
    monkeypatch.chdir(elsewhere)
    capsys.readouterr()
    code = main(["resume", str(begun / "run")])
    assert "first does not exist" not in capsys.readouterr().err
    assert code in (0, 5)
    assert Path.cwd() == elsewhere


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
        (
            ["views=affine", "views.degrees=20", "arms.hard.views=none"],
            "none",
            "affine distortions",
        ),
        (["views=elastic"], *["affine distortions + elastic distortions"] * 2),
        (["views=mixup", "views.alpha=0.4"], "mixup", "mixup"),
        (
            ["views=mixup", "views.views={_target_: limbeck.data.Flip}", "teacher.views=shift"],
            *["mixup of flips"] * 2,
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_all_views_can_be_chosen(overrides, hard, soft, tmp_path):
    out = tmp_path / "run"
    assert main(["run", *overrides, "store=off", "quick=true", f"out={out}", *QUICK]) == 0
    arms = json.loads((out / "summary.json").read_text(encoding="utf-8"))["arms"]
    assert [arm["views"] for arm in arms] == [hard, soft]


def test_recipes_and_views_of_ones_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for group in ("recipe", "views"):
        (tmp_path / "own" / group).mkdir(parents=True)
    views = "_target_: limbeck.data.Shift\npixels: 1\n"
    (tmp_path / "own" / "views" / "jitter.yaml").write_text(views, encoding="utf-8")
    recipe = "# @package _global_\n# Mine.\nrecipe: mine\narms: {soft: {views: jitter}}\n"
    (tmp_path / "own" / "recipe" / "mine.yaml").write_text(recipe, encoding="utf-8")
    assert main(["recipes", "--config-dir", "own"]) == 0
    listed = capsys.readouterr().out
    assert "Mine." in next(line for line in listed.splitlines() if line.startswith("mine "))
    assert "digits" in listed
    assert main(["run", "--config-dir", "own", "recipe=mine", "quick=true", "out=run", *QUICK]) == 0
    arms = json.loads(Path("run/summary.json").read_text(encoding="utf-8"))["arms"]
    assert {arm["name"]: arm["views"] for arm in arms} == {"hard": "none", "soft": "shifts of 1"}
    capsys.readouterr()


@pytest.mark.slow
def test_wandb_offline_needs_neither_key_nor_network(tmp_path):
    pytest.importorskip("wandb")
    environment = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    environment |= {
        "WANDB_API_KEY": "",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    code, _, err = run(
        "run", "quick=true", "out=run", *QUICK, "logger=wandb", cwd=tmp_path, **environment
    )
    assert code == 0, err
    assert list((tmp_path / "run").glob("logs/wandb/offline-run-*/*.wandb"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path, capsys):
    tmp_path.chmod(0o555)
    assert main(["run", "quick=true", f"out={tmp_path / 'run'}", *QUICK]) == 2
    assert "Permission denied" in capsys.readouterr().err


# Interrupted runs ---------------------------------------------------------------------------------

LONG = ("quick=false", "epochs=40", "student.dropout=0.2", "+arms.wide.student.hidden=[9]", *QUICK)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("uninterrupted")
    assert main(["run", *LONG, f"out={cwd / 'run'}"]) == 0
    return cwd / "run"


@pytest.mark.parametrize(
    ("number", "code", "state"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGKILL, -9, "running"),
        pytest.param(signal.SIGTERM, 143, "interrupted", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_can_be_resumed(uninterrupted, tmp_path, capsys, number, code, state):
    out = tmp_path / "my run"
    process = start("run", *LONG, "out=my run", cwd=tmp_path)
    try:
        deadline = time.monotonic() + 120
        while not (out / "checkpoints" / "cohort0" / "last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == code
    assert "Traceback" not in err
    assert manifest(out)["state"] == state
    if code > 0:
        assert err.splitlines()[-1].endswith("Continue with: limbeck resume 'my run'")
    assert main(["resume", str(out)]) == 0
    assert f"resuming {out}" in capsys.readouterr().err
    assert same(out, uninterrupted)
    assert scalars(out) == scalars(uninterrupted)
    assert manifest(out)["resumed"] == 1
    answers, wanted = np.load(out / "predictions.npz"), np.load(uninterrupted / "predictions.npz")
    assert all(np.array_equal(answers[name], wanted[name]) for name in wanted.files)
    assert not (out / "checkpoints").exists()
