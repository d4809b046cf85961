"""Settings that a study refuses, and students that cannot be stacked."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective
from limbeck._base.errors import ConfigError, ResourceError
from limbeck.cli.main import main
from limbeck.data import Dataset, Shift
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.cohorts import can_stack

HARD = Objective(hard_weight=1.0, soft_weight=0.0)


class Branching(nn.Module):
    """A network that branches on its values, which vmap cannot follow."""

    def __init__(self, classes):
        super().__init__()
        self.net = nn.Linear(16, classes)

    def forward(self, x):
        flat = x.flatten(1)
        return self.net(flat if flat.mean() > 0 else -flat)


@pytest.fixture
def data():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(256, (90, 1, 4, 4), generator=draw).to(torch.uint8)
    y = (x.flatten(1).float() @ torch.randn(16, 3, generator=draw)).argmax(1)
    return Dataset.from_arrays(x[:60], y[:60], x[60:], y[60:], name="tiny", val=10)


def study(data, out, temperature=2.0, **options):
    arms = {
        "hard": Arm(objective=HARD),
        "other": Arm(objective=Objective(hard_weight=temperature, soft_weight=0.0)),
    }
    defaults = {"student": partial(MLP, hidden=[4]), "seeds": 2, "epochs": 2, "progress": False}
    return make_study(data, arms, out, **{**defaults, **options})


def test_a_student_that_branches_on_its_values_trains_alone(data, tmp_path):
    assert can_stack(partial(MLP, hidden=[4]), data, 4)
    assert not can_stack(Branching, data, 4)
    summary = study(data, tmp_path / "run", student=Branching).run()
    assert [len(arm.seeds) for arm in summary.arms] == [2, 2]
    assert sorted(p.name for p in (tmp_path / "run" / "logs").iterdir()) == [
        f"cohort{i}" for i in range(4)
    ]


def test_a_run_is_not_resumed_with_other_settings(data, tmp_path):
    study(data, tmp_path / "run").run()
    with pytest.raises(ConfigError, match="the settings differ from those with which"):
        study(data, tmp_path / "run", temperature=3.0, resume=True).run()


@pytest.mark.parametrize(
    "other", [{"views": Shift(2)}, {"store": {"dtype": "float32"}}, {"store": {"views": 4}}]
)
def test_a_run_is_not_resumed_with_other_views_or_stores(data, tmp_path, other):
    study(data, tmp_path / "run", views=Shift(1)).run()
    summary = study(
        data, tmp_path / "run", views=Shift(1), store={"folder": tmp_path / "store"}, resume=True
    ).run()
    assert summary.arms[0].views_settings == Shift(1).settings()
    with pytest.raises(ConfigError, match="the settings differ from those with which"):
        study(data, tmp_path / "run", **{"views": Shift(1), **other}, resume=True).run()


def test_the_report_says_that_the_run_finished(data, tmp_path, real_report):
    study(data, tmp_path / "run").run()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "finished" in page
    assert "running" not in page


def test_copies_of_the_process_cannot_run_a_study(data, tmp_path):
    with pytest.raises(ConfigError, match=r"would fork this process for 2.*trainer\.strategy=ddp"):
        study(
            data,
            tmp_path / "run",
            trainer={"accelerator": "cpu", "devices": 2, "strategy": "ddp_spawn"},
        ).run()
    assert not (tmp_path / "run").exists()


def test_max_epochs_is_the_students_and_store_off_may_be_false(data, tmp_path):
    summary = study(data, tmp_path / "run", trainer={"max_epochs": 3}, store=False).run()
    assert summary.epochs == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+foo=1", "Unknown key `foo`. Known keys: recipe, data"),
        (
            "+fit.budget.size=1MB",
            "Unknown key `fit`. Search for a student with 'limbeck fit",
        ),  # of `limbeck fit`
        (
            "+objective.temprature=2",
            "Unknown key `objective.temprature`. Did you mean `objective.temperature`?",
        ),
        ("+teacher.foo=1", "Unknown key `teacher.foo`. Known keys: model"),
        ("~seeds", "The setting `seeds` is missing"),
        ("~teacher", "teacher cannot be left out. Choose one of"),
        ("teacher.optimizer=null", "teacher.optimizer=None should be a group of settings"),
        ("optimizer.name=[1]", "optimizer.name=[1] is unknown"),
    ],
)
def test_unknown_and_missing_keys_are_refused(override, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", override, "out=run"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not Path("run").exists()


def test_an_unknown_key_in_an_own_recipe_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "recipe").mkdir(parents=True)
    recipe = "# @package _global_\nrecipe: mine\nepoch: 3\n"
    (tmp_path / "own" / "recipe" / "mine.yaml").write_text(recipe, encoding="utf-8")
    assert main(["run", "--config-dir", "own", "recipe=mine"]) == 2
    assert "Unknown key `epoch`. Did you mean `epochs`?" in capsys.readouterr().err


def test_settings_may_follow_an_option(capsys):
    assert main(["run", "epochs=3", "--cfg", "job", "seeds=2"]) == 0
    output = capsys.readouterr().out
    assert "epochs: 3\n" in output
    assert "seeds: 2\n" in output
    with pytest.raises(SystemExit):
        main(["run", "--nonsense"])


def test_a_quick_run_accepts_a_transfer_set_larger_than_its_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = [
        "quick=true",
        "logger=csv",
        "teacher=none",
        "~arms.soft",
        "out=run",
        "transfer.labelled=1050",
    ]
    assert main(["run", *quick]) == 0
    summary = read_summary(RunFolder("run"))
    assert summary.arms[0].transfer.endswith("labelled")
    assert summary.quick is True
    assert summary.warnings[0].startswith("A quick run is only a smoke test")
    capsys.readouterr()


def test_data_should_be_a_dataset(tmp_path):
    with pytest.raises(ConfigError, match="data is of type list; expected a"):
        make_study([(torch.zeros(2, 16), torch.zeros(2))], {"hard": Arm(objective=HARD)}, tmp_path)


class Recorded(Shift):
    """Views with a setting that only their author knows how to write."""

    def settings(self):
        return {"name": "recorded", "value": self.value}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"arms\.hard\.views\.value=nan cannot be recorded"),
        ({1, 2}, r"views\.value=\{1, 2\} cannot be recorded as JSON: it is a set"),
        ([1, torch.tensor(2)], r"views\.value\[1\]=tensor\(2\) cannot be recorded"),
        ("caf\udce9", r"views\.value contains bytes that are not UTF-8: 'caf.*udce9'"),
    ],
)
def test_what_a_summary_cannot_record_is_refused_before_training(data, tmp_path, value, message):
    views = Recorded(1)
    object.__setattr__(views, "value", value)
    with pytest.raises(ConfigError, match=message):
        study(data, tmp_path / "run", views=views).run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": Path("digits")}, r"name=PosixPath\('digits'\) should be a string"),
        ({"facts": {"when": Path("now")}}, r"facts\.when=.* cannot be recorded as JSON"),
        ({"config": {"when": Path("now")}}, "The settings cannot be written to .*config.yaml"),
    ],
)
def test_what_a_manifest_cannot_record_is_refused_before_training(data, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        study(data, tmp_path / "run", **options).run()
    assert not (tmp_path / "run").exists()


def test_class_names_that_are_not_utf_8_are_refused_before_training(data, tmp_path):
    data.class_names[-1] = "caf\udce9"
    with pytest.raises(ConfigError, match=r"data\.class_names\[1\] contains bytes"):
        study(data, tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


def test_a_disk_without_room_for_the_students_is_refused(data, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    # Four students of 78 weights each, and their logits for 30 samples and 2 classes.
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: usage._replace(free=4 * 4 * (78 + 60) - 1)
    )
    with pytest.raises(ResourceError, match=r"at least 2\.2 kB, but .* has 2\.2 kB free"):
        study(data, tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("control", [True, 0, 1.5, {"hard": 1}])
def test_a_control_is_a_name_or_a_list_of_names(data, tmp_path, control):
    arms = {"hard": Arm(objective=HARD), "other": Arm(objective=HARD, control=control)}
    with pytest.raises(ConfigError, match=r"arms\.other\.control=.* should be the name of an arm"):
        make_study(data, arms, tmp_path / "run", student=partial(MLP, hidden=[4]))


def test_a_builder_that_fails_is_named(data, tmp_path):
    def fail(shape, classes):
        raise KeyError("width")

    def run_out(shape, classes):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 EB")

    with pytest.raises(ConfigError, match=r"The model could not be built: 'width'"):
        study(data, tmp_path / "run", student=fail).run()
    with pytest.raises(ConfigError, match="could not be built: MLP got an unexpected keyword"):
        study(data, tmp_path / "run", student=partial(MLP, channels=3)).run()
    with pytest.raises(ResourceError, match="Memory ran out while a model was built"):
        study(data, tmp_path / "run", student=run_out).run()
