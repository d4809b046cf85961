"""A run folder of somebody else is data: no verb runs code that it names or contains."""

import json
import os
import shutil
import sys

import pytest
import yaml
from support.commands import call
from support.run_files import copy_run, manifest

from limbeck.cli.config.groups import CONF
from limbeck.cli.config.trust import BUILDERS, foreign_settings
from limbeck.cli.main import parsers

TOUCH = "pathlib.Path.touch"
WITHOUT_RUN = {"check", "predict", "verify", "bench", "recipes", "store", "plan"}
NEW = {"run", "train", "fit"}
FINISHED = {
    "export": (),
    "cost": (),
    "demo": ("port=0",),
    "sample": ("The ",),
    "answers": ("to=answers.npz",),
}
RESUMED = {"resume": (), "report": ()}
WITHOUT_SETTINGS = {"compare", "runs", "open"}
"""Verbs that read the results of runs, but not their settings."""
VERBS = {*WITHOUT_RUN, *NEW, *FINISHED, *RESUMED, *WITHOUT_SETTINGS, "distill"}


def change(run, changes=(), **facts):
    """Change the settings of a run, by their paths, and its manifest, as an attacker would."""
    file = run / "config.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    for path, value in changes:
        *parents, key = path.split(".")
        section = settings
        for name in parents:
            section = section[name]
        section[key] = value
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    content = {**manifest(run), "files": None, "folder": str(run), **facts}
    (run / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def run(quick_run, tmp_path):
    """A copy of a finished run, with modules that leave a sign when they are imported."""
    folder = tmp_path / "run"
    copy_run(quick_run, folder)
    for module in ("numpy", "torch", "limbeck", "evil", "wandb"):
        code = f"open({str(tmp_path / 'sentinel')!r}, 'w').close()"
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
    return folder


def unfinish(run):
    (run / "summary.json").unlink()
    change(run, state="running", finished=None)


def test_every_verb_is_known_here():
    """A new verb has to say what it does with the run folder of a stranger."""
    assert set(parsers()[1]) == VERBS


SETTINGS = [
    ("data", {"_target_": TOUCH, "self": "sentinel"}),
    ("data.val", {"_target_": TOUCH}),
    ("data._args_", [1]),
    ("data.name", "${oc.env:HOME}"),
    ("data.val", {"_target_": "limbeck.data.text_file", "cache": "elsewhere"}),
    ("data.cache", "/"),
    ("data._target_", "limbeck.models.load_model"),
    ("data.val", {"_target_": "limbeck.models.HuggingFace", "path": "someone/model"}),
    ("data.val", {"_target_": "limbeck.data.mnist", "download": True, "root": "nowhere"}),
    ("student._target_", TOUCH),
    ("arms.soft", {"student": {"_target_": TOUCH}}),
]
MORE_SETTINGS = [
    ("teacher.trust_pickle", True),
    ("logger", {"evil": {"_target_": TOUCH, "_partial_": True}}),
    ("logger", {"w": {"_target_": "limbeck.training.loggers.wandb_logger", "_partial_": True}}),
    ("logger", {"m": {"_target_": "limbeck.training.loggers.mlflow_logger", "_partial_": True}}),
    ("logger", {"t": {"_target_": "limbeck.training.loggers.tensorboard_logger", "name": "../x"}}),
    ("transfer.source", {"_target_": "builtins.exec", "string": "x"}),
    ("store.folder", "/"),
    ("arms.soft", {"views": "evil"}),
    ("data.download", True),
    ("student.pretrained", True),
    ("student", {"_target_": "limbeck.models.HuggingFace", "path": "someone/model"}),
]


@pytest.mark.parametrize("verb", FINISHED)
@pytest.mark.parametrize(("path", "value"), SETTINGS, ids=lambda value: str(value)[:40])
def test_settings_are_data_for_verbs_of_finished_runs(run, tmp_path, verb, path, value):
    change(run, [(path, value)])
    code, _, err = call(verb, run, *FINISHED[verb])
    assert code == 7, err
    assert f"{path.partition('.')[0]}" in err
    words = " ".join(["limbeck", verb, str(run)])
    assert words in err
    assert err.rstrip().endswith("--trust")
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("verb", RESUMED)
@pytest.mark.parametrize(
    ("path", "value"), [*SETTINGS, *MORE_SETTINGS], ids=lambda value: str(value)[:40]
)
def test_settings_are_data_for_verbs_that_go_on(run, tmp_path, verb, path, value):
    unfinish(run)
    change(run, [(path, value)])
    code, _, err = call(verb, run)
    assert code == 7, err
    assert err.rstrip().endswith(f"limbeck {verb} {run} --trust")
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.slow
def test_the_command_of_a_stranger_is_not_repeated(run, tmp_path, monkeypatch):
    """Neither its overrides nor its folders count, and no module of the run is imported."""
    monkeypatch.setattr("limbeck.deploy.cost.SECONDS", 0.01)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", os.environ.get("PYTHONPATH", "")]))
    overrides = [f"data._target_={TOUCH}", "hydra.searchpath=[pkg://evil]", "logger=wandb"]
    change(run, overrides=overrides, config_dir=str(run))
    for verb, words in {"export": ("overwrite=true",), "cost": ()}.items():
        code, _, err = call(verb, run, *words)
        assert code == 0, err
    unfinish(run)
    code, _, err = call("report", run)
    assert code == 0, err
    code, _, err = call("distill", f"teacher.from={run}", "quick=true", f"out={tmp_path / 'new'}")
    assert code == 0, err
    assert not (tmp_path / "sentinel").exists()


def test_a_student_that_names_no_builder_needs_trust(run):
    """Otherwise its settings, such as a model on the hub, would be used after all."""
    file = run / "students" / "soft" / "seed0" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "builder": None}))
    change(run)
    code, _, err = call("export", run, "arm=soft", "seed=0")
    assert code == 7, err
    assert "a class of its own for the student of soft" in err


def test_notes_of_transformers_and_local_folders_need_no_trust(tmp_path):
    settings = {
        "data": {"_target_": "limbeck.data.text_file", "path": "book.txt"},
        "student": {"_target_": "limbeck.models.HuggingFace", "path": str(tmp_path)},
        "teacher": {"from": [str(tmp_path)], "model": {"config": {"_name_or_path": "x"}}},
    }
    assert list(foreign_settings(settings, tmp_path, ())) == []
    settings["teacher"]["from"] = ["gpt2", str(tmp_path)]
    assert list(foreign_settings(settings, tmp_path, ())) == [
        "teacher.from=gpt2, which may be a model on the hub"
    ]


def test_an_arm_whose_name_leads_out_of_the_run_is_refused(run, tmp_path):
    """The student would come from another place on the user's disk."""
    shutil.copytree(run / "students" / "soft", tmp_path / "outside")
    text = (run / "summary.json").read_text(encoding="utf-8")
    (run / "summary.json").write_text(text.replace('"soft"', '"../../outside"'), encoding="utf-8")
    change(run)
    for verb in ("export", "demo"):
        code, _, err = call(verb, run, "arm=../../outside")
        assert code == 7, err
        assert "has an arm of the name '../../outside'" in err


def test_links_out_of_a_run_are_not_followed(run, tmp_path):
    mine = tmp_path / "mine" / "cohort0"
    mine.mkdir(parents=True)
    (mine / "last.ckpt").write_text("mine")
    (run / "checkpoints").symlink_to(tmp_path / "mine")
    for verb in ("export", "cost", "report", "resume"):
        code, _, err = call(verb, run)
        assert code == 7
        assert "the link checkpoints" in err
        assert err.rstrip().endswith(f"limbeck {verb} {run} --trust")
    assert (mine / "last.ckpt").is_file()


def test_links_of_a_run_that_is_trusted_are_followed(run, tmp_path):
    """A user may keep checkpoints and models on another disk, and the run folder, too."""
    disk = tmp_path / "disk"
    (disk / "cohort0").mkdir(parents=True)
    (disk / "cohort0" / "last.ckpt").write_text("an old checkpoint")
    (run / "checkpoints").symlink_to(disk)
    (run / "students" / "loop").symlink_to("loop")
    change(run, state="running")
    (tmp_path / "link").symlink_to(run)
    assert call("report", tmp_path / "link")[0] == 7
    assert manifest(run)["state"] == "running"
    code, _, err = call("report", tmp_path / "link", "--trust")
    assert code == 0, err
    assert manifest(run)["state"] == "finished"
    assert list(disk.iterdir()) == []
    unfinish(run)
    assert call("resume", tmp_path / "link")[0] == 7
    code, _, err = call("resume", tmp_path / "link", "--trust")
    assert code == 0, err
    assert (tmp_path / "link").is_symlink()
    assert (run / "summary.json").is_file()


def test_a_user_who_trusts_a_run_says_so(run, tmp_path, monkeypatch):
    change(run, [("data._target_", "sklearn_like.digits")])
    code = "from limbeck.data import digits"
    (tmp_path / "sklearn_like.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert call("export", run)[0] == 7
    code, _, err = call("export", run, "--trust", "int8=false", "overwrite=true")
    assert code == 0, err


def test_changed_settings_are_found(run):
    change(run, [("data.val", 100)])
    content = {**manifest(run), "files": {"config.yaml": "0" * 64}}
    (run / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    code, _, err = call("export", run, "--trust")
    assert code == 7
    assert "config.yaml is damaged" in err


def test_all_builders_of_the_own_settings_may_be_named():
    text = "\n".join(file.read_text(encoding="utf-8") for file in CONF.rglob("*.yaml"))
    words = text.replace("{", " ").replace("}", " ").replace(",", " ").split()
    names = {words[number + 1] for number, word in enumerate(words) if word == "_target_:"}
    services = {"wandb_logger", "mlflow_logger", "trackio_logger"}  # they may send data elsewhere
    assert names - BUILDERS == {f"limbeck.training.loggers.{name}" for name in services}
