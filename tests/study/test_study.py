"""A whole study on tiny data, through the Python interface."""

import csv
import json
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective, Optimizer, StoreSettings, Teacher
from limbeck._base.errors import (
    ConfigError,
    DataError,
    DivergedError,
    TeacherError,
    UntrustedFileError,
)
from limbeck.data import Dataset, NoViews, Shift, TransferSet
from limbeck.models import MLP, ConvNet
from limbeck.run.summary import parse_summary
from limbeck.store.verify import COMPARED
from limbeck.study.arms import build
from limbeck.study.engine import Engine

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
ARMS = {"hard": Arm(objective=HARD), "soft": Arm(objective=Objective(temperature=2.0))}
small = partial(MLP, hidden=[6], dropout=0.2)


class Own(nn.Module):
    """A user's own class, known to nobody."""

    def __init__(self, width=5, classes=3):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, classes)
        )

    def forward(self, x):
        return self.net(x)


def own(width=5):
    return lambda: Own(width)


class WithBatchNorm(Own):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)
        )


def dataset():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(256, (150, 1, 4, 4), generator=draw).to(torch.uint8)
    y = (x.flatten(1).float() @ torch.randn(16, 3, generator=draw)).argmax(1)
    return Dataset.from_arrays(x[:110], y[:110], x[110:], y[110:], name="tiny", val=20)


@pytest.fixture(scope="module")
def data():
    return dataset()


def teacher_model(seed=7, classes=3):
    torch.manual_seed(seed)
    return Own(12, classes)


def study_of(data, out, arms=ARMS, **options):
    defaults = {
        "student": small,
        "teacher": teacher_model(),
        "seeds": 2,
        "epochs": 3,
        "batch_size": 32,
        "optimizer": Optimizer(lr=0.01, schedule="one_cycle"),
    }
    return make_study(data, arms, out, **{**defaults, **options})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A finished run whose every part is looked at: folder, summary, the teacher that was given."""
    out = tmp_path_factory.mktemp("finished") / "run"
    teacher = teacher_model().train()
    summary = study_of(data, out, teacher=teacher, seeds=[3, 5]).run()
    return out, summary, teacher


def weights(out):
    """All tensors of all students."""
    found = {}
    for file in sorted(out.glob("students/*/*/model.safetensors")):
        found |= {
            f"{file.parent.relative_to(out)}/{name}": t for name, t in load_file(file).items()
        }
    return found


def same_students(one, other):
    first, second = weights(one), weights(other)
    return list(first) == list(second) and all(
        torch.equal(first[name], second[name]) for name in first
    )


def scalars(out):
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# The run folder -----------------------------------------------------------------------------------


def test_the_run_folder_holds_what_it_should(finished):
    out, _, _ = finished
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    models = {
        "teacher",
        *(f"students/{arm}/seed{seed}" for arm in ("hard", "soft") for seed in (3, 5)),
    }
    wanted = {
        f"{folder}/{name}" for folder in models for name in ("model.safetensors", "model.json")
    }
    wanted |= {
        "config.yaml",
        "manifest.json",
        "summary.json",
        "report.html",
        "metrics.csv",
        "predictions.npz",
    }
    assert wanted <= found
    wanted |= {"examples.npz"}  # where arm and control differ
    assert all(name.startswith("logs/") for name in found - wanted)
    assert not (out / "checkpoints").exists()


def test_a_student_folder_holds_the_student_alone(finished, data):
    out, _, _ = finished
    for folder in out.glob("students/*/*"):
        assert {file.name for file in folder.iterdir()} == {"model.safetensors", "model.json"}
        tensors = load_file(folder / "model.safetensors")
        assert set(tensors) == set(build(small, data, 0).state_dict())
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        assert described["builder"] == "mlp"
        assert described["class_names"] == ["0", "1", "2"]


def test_the_summary_is_valid_and_is_what_run_returns(finished):
    out, summary, _ = finished
    written = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert parse_summary(written) == summary
    assert [arm["name"] for arm in written["arms"]] == ["hard", "soft"]
    assert [seed["seed"] for seed in written["arms"][0]["seeds"]] == [3, 5]
    assert written["data"] == {"name": "tiny", "classes": 3, "train": 90, "val": 20, "test": 40}
    assert [(c["arm"], c["control"]) for c in written["comparisons"]] == [("soft", "hard")]
    seconds = written["seconds"]
    assert seconds["total"] == pytest.approx(
        sum(v for k, v in seconds.items() if k != "total"), abs=0.01
    )


def test_predictions_reproduce_the_errors_of_the_summary(finished, data):
    out, summary, teacher = finished
    arrays = np.load(out / "predictions.npz")
    labels = arrays["labels"]
    test = data.open_test()
    assert np.array_equal(labels, test.labels.numpy())
    wrong = {name: (arrays[name].argmax(1) != labels) for name in arrays.files if name != "labels"}
    assert wrong["teacher"].sum() == summary.teacher.test.errors
    with torch.no_grad():
        answers = teacher.eval()(test.inputs.float() / 255)
    np.testing.assert_allclose(arrays["teacher"], answers.numpy(), rtol=1e-5, atol=1e-6)
    for arm in summary.arms:
        for entry in arm.seeds:
            key = f"students/{arm.name}/seed{entry.seed}"
            assert wrong[key].sum() == entry.test.errors
            agreement = (arrays[key].argmax(1) == arrays["teacher"].argmax(1)).mean()
            assert entry.test.agreement == pytest.approx(agreement)
    soft, hard = (
        np.mean([wrong[f"students/{a}/seed{s}"].sum() for s in (3, 5)]) for a in ("soft", "hard")
    )
    assert summary.comparisons[0].delta_errors.mean == pytest.approx(soft - hard)


def test_the_manifest_tells_what_ran(finished):
    out, _, _ = finished
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["state"] == "finished"
    assert manifest["seeds"] == [3, 5]
    assert manifest["recipe"] == "study"
    assert manifest["resumed"] == 0
    assert {"torch", "python", "lightning"} <= set(manifest["versions"])
    assert {"cpu", "cores", "memory_gib", "devices", "system"} == set(manifest["hardware"])
    assert "git_commit" in manifest
    assert {"data", "teacher"} <= set(manifest["digests"])
    assert manifest["started"] <= manifest["finished"]
    assert set(manifest["seconds"]) == {"teacher", "store", "training", "evaluation"}
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert config["seeds"] == [3, 5]
    assert config["arms"]["soft"]["objective"]["temperature"] == 2.0


def test_metrics_have_each_scalar_of_each_epoch_once(finished):
    out, _, _ = finished
    rows = scalars(out)
    keys = [(r["stage"], r["arm"], r["seed"], r["epoch"], r["metric"]) for r in rows]
    assert len(set(keys)) == len(keys)
    names = ("train_loss", "train_hard", "train_soft", "val_loss", "val_acc")
    wanted = {
        ("students", arm, seed, str(epoch), name)
        for arm in ("hard", "soft")
        for seed in ("3", "5")
        for epoch in range(3)
        for name in names
    }
    assert set(keys) == wanted


def test_the_given_teacher_is_not_changed(finished):
    _, _, teacher = finished
    wanted = teacher_model()
    assert all(
        torch.equal(a, b) for a, b in zip(teacher.parameters(), wanted.parameters(), strict=True)
    )
    assert all(p.grad is None for p in teacher.parameters())


# Fairness -----------------------------------------------------------------------------------------


def test_arms_of_a_seed_share_weights_and_order_and_seeds_differ(data, tmp_path, monkeypatch):
    begun = {}

    def spy(self, stage, label, module, batches, epochs):
        for a, s, model in module.cohort.members():
            arm, seed = module.prefixes[a][s].rstrip("/").split("/")
            begun[arm, seed] = torch.cat([p.flatten() for p in model.parameters()])
        fit(self, stage, label, module, batches, epochs)

    fit = Engine.fit
    monkeypatch.setattr(Engine, "fit", spy)
    arms = {
        **ARMS,
        "narrow": Arm(objective=HARD, transfer=TransferSet(samples=40)),
        "twin": Arm(objective=HARD),
    }
    summary = study_of(data, tmp_path / "run", arms, seeds=3).run()
    for seed in ("seed0", "seed1", "seed2"):
        assert torch.equal(begun["hard", seed], begun["soft", seed])
        assert torch.equal(begun["hard", seed], begun["narrow", seed])
    assert not torch.equal(begun["hard", "seed0"], begun["hard", "seed1"])
    by_name = {arm.name: arm for arm in summary.arms}
    assert by_name["hard"].seeds != by_name["narrow"].seeds


def test_an_arm_given_twice_gives_the_same_students(data, tmp_path):
    arms = {"one": Arm(objective=HARD), "two": Arm(objective=HARD)}
    study_of(data, tmp_path / "run", arms, student=own(), seeds=2).run()
    found = weights(tmp_path / "run")
    for name in list(found):
        if "/one/" in name:
            torch.testing.assert_close(
                found[name], found[name.replace("/one/", "/two/")], rtol=1e-6, atol=1e-7
            )
    assert not torch.equal(
        found["students/one/seed0/net.net.1.weight"], found["students/one/seed1/net.net.1.weight"]
    )


def test_a_study_repeats_itself(data, tmp_path):
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        study_of(data, tmp_path / name).run()
    assert same_students(tmp_path / "a", tmp_path / "b")


def test_the_test_split_is_opened_once_after_the_last_fit(data, tmp_path, monkeypatch):
    events = []
    opened, fitted = Dataset.open_test, Engine.fit
    monkeypatch.setattr(Dataset, "open_test", lambda self: [events.append("test"), opened(self)][1])
    monkeypatch.setattr(
        Engine, "fit", lambda self, *a: [fitted(self, *a), events.append(f"fit {a[0]}")][0]
    )
    study_of(
        data, tmp_path / "run", student=WithBatchNorm, teacher=Teacher(model=own(8), epochs=1)
    ).run()
    assert events == [
        "fit teacher0",
        "fit cohort0",
        "fit cohort1",
        "fit cohort2",
        "fit cohort3",
        "test",
    ]


def test_training_never_reads_the_test_split(data, tmp_path):
    other = dataset()
    other._test = type(other._test)(
        torch.zeros_like(other._test.inputs), other._test.labels.flip(0)
    )
    study_of(data, tmp_path / "a").run()
    study_of(other, tmp_path / "b").run()
    assert same_students(tmp_path / "a", tmp_path / "b")


# Kinds of teachers and arms -----------------------------------------------------------------------


def test_without_a_teacher(data, tmp_path):
    out = tmp_path / "run"
    summary = study_of(data, out, {"hard": ARMS["hard"]}, teacher=None).run()
    assert summary.teacher is None
    assert summary.comparisons == ()
    assert summary.arms[0].mean.agreement is None
    assert not (out / "teacher").exists()
    assert "teacher" not in np.load(out / "predictions.npz").files
    with pytest.raises(
        TeacherError, match=r"arms\.soft learns from a teacher, but the study has none"
    ):
        study_of(data, tmp_path / "other", teacher=None)


def test_a_list_of_teachers_is_their_mean(data, tmp_path):
    out, teachers = tmp_path / "run", [teacher_model(1), teacher_model(2), teacher_model(3)]
    summary = study_of(data, out, teacher=teachers).run()
    with torch.no_grad():
        x = data.open_test().inputs.float() / 255
        wanted = torch.stack([model(x).softmax(-1) for model in teachers]).mean(0)
    found = torch.from_numpy(np.load(out / "predictions.npz")["teacher"]).softmax(-1)
    torch.testing.assert_close(found, wanted)
    assert sorted(p.name for p in (out / "teacher").iterdir()) == ["member0", "member1", "member2"]
    assert summary.teacher.params == 3 * sum(p.numel() for p in teachers[0].parameters())
    again = study_of(data, tmp_path / "again", teacher=Teacher(model=own(12), source=[out])).run()
    assert again.teacher.test == summary.teacher.test


def test_weights_of_ones_own_are_taken_with_and_without_normalisation(data, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(teacher_model().state_dict(), file)
    given = study_of(data, tmp_path / "a", epochs=1).run()
    taken = study_of(
        data, tmp_path / "b", epochs=1, teacher=Teacher(model=own(12), source=[file])
    ).run()
    assert taken.teacher.test == given.teacher.test
    trained = study_of(
        data, tmp_path / "c", epochs=1, teacher=Teacher(model=own(12), epochs=2)
    ).run()
    again = Teacher(model=own(12), source=[tmp_path / "c" / "teacher" / "model.safetensors"])
    taken = study_of(data, tmp_path / "d", epochs=1, teacher=again).run()
    assert taken.teacher.test == trained.teacher.test
    with pytest.raises(TeacherError, match="does not fit the model"):
        study_of(data, tmp_path / "e", teacher=Teacher(model=own(13), source=[file])).run()


def test_a_builder_that_gives_a_model_in_eval_mode_trains_it_all_the_same(data, tmp_path):
    study_of(data, tmp_path / "a").run()
    study_of(
        data,
        tmp_path / "b",
        student=lambda shape, classes: small(shape=shape, classes=classes).eval(),
    ).run()
    assert same_students(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    "model", [partial(MLP, hidden=[8]), partial(ConvNet, channels=[4], strides=[1])]
)
def test_an_ensemble_is_trained_and_taken_again(data, tmp_path, model):
    plan = Teacher(model=model, members=3, epochs=2, seed=10, combine="logits")
    first = study_of(data, tmp_path / "a", teacher=plan).run()
    members = [
        load_file(tmp_path / "a" / "teacher" / f"member{i}" / "model.safetensors") for i in range(3)
    ]
    name = next(name for name in members[0] if name.endswith("weight"))
    assert not torch.equal(members[0][name], members[1][name])
    assert first.teacher.name.startswith("3 x ")
    again = study_of(
        data, tmp_path / "b", teacher=Teacher(source=[tmp_path / "a"], combine="logits")
    ).run()
    assert again.teacher.test == first.teacher.test
    assert same_students(tmp_path / "a", tmp_path / "b")
    one = study_of(
        data, tmp_path / "c", teacher=Teacher(source=[tmp_path / "a" / "teacher" / "member1"])
    ).run()
    assert one.teacher.params * 3 == first.teacher.params


def test_the_members_of_an_ensemble_equal_teachers_trained_alone(data, tmp_path):
    mlp = partial(MLP, hidden=[8])
    study_of(
        data, tmp_path / "three", teacher=Teacher(model=mlp, members=3, epochs=2, seed=4)
    ).run()
    study_of(data, tmp_path / "one", teacher=Teacher(model=mlp, epochs=2, seed=5)).run()
    member = load_file(tmp_path / "three" / "teacher" / "member1" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "one" / "teacher" / "model.safetensors").items():
        torch.testing.assert_close(member[name], tensor, rtol=1e-4, atol=1e-6)


def test_students_with_batchnorm_train_one_by_one(data, tmp_path):
    out = tmp_path / "run"
    summary = study_of(data, out, student=WithBatchNorm).run()
    assert len(list(out.glob("students/*/*/model.json"))) == 4
    assert summary.arms[0].student == "WithBatchNorm"
    found = weights(out)
    assert found["students/soft/seed1/net.net.2.num_batches_tracked"] == 9
    assert not torch.equal(
        found["students/soft/seed0/net.net.2.running_mean"],
        found["students/soft/seed1/net.net.2.running_mean"],
    )


def test_students_views_and_transfer_sets_of_single_arms(data, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=Objective()),
        "wide": Arm(objective=Objective(), student=own(9), control="hard"),
        "shifted": Arm(objective=Objective(), views=Shift(1)),
        "unlabelled": Arm(objective=Objective(), transfer=TransferSet(labelled=9)),
        "few": Arm(objective=HARD, transfer=TransferSet(samples=0.5)),
    }
    out = tmp_path / "run"
    summary = study_of(data, out, arms).run()
    found = {arm.name: arm for arm in summary.arms}
    assert found["wide"].student == "Own"
    assert found["wide"].params == 17 * 9 + 10 * 3
    assert found["shifted"].views == "shifts of 1"
    assert found["unlabelled"].transfer == "all, 9 labelled"
    assert found["few"].transfer == "0.5"
    controls = {c.arm: c.control for c in summary.comparisons}
    assert controls == {"soft": "hard", "wide": "hard", "shifted": "hard", "unlabelled": "hard"}
    assert sum(c.main for c in summary.comparisons) == 1


def test_an_arm_without_control_is_warned_of(data, tmp_path):
    summary = study_of(data, tmp_path / "run", {"soft": ARMS["soft"]}, seeds=1).run()
    assert summary.comparisons == ()
    assert any("Arm 'soft' has no control to compare with" in w for w in summary.warnings)


def test_a_teacher_worse_than_the_control_is_warned_of(data, tmp_path, real_report):
    bad = teacher_model()
    with torch.no_grad():
        bad.net[3].weight.zero_()
        bad.net[3].bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    summary = study_of(data, tmp_path / "run", teacher=bad, epochs=20).run()
    assert any("is no better than the control 'hard'" in w for w in summary.warnings)
    assert "no better than the control" in (tmp_path / "run" / "report.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("views", [NoViews(), Shift(1)])
def test_stored_answers_give_what_live_ones_give(data, tmp_path, monkeypatch, views):
    asked = {"auto": 0, "off": 0}
    for store in ("auto", "off"):
        teacher = teacher_model()
        teacher.register_forward_hook(
            lambda *a, s=store: asked.update({s: asked[s] + len(a[1][0])})
        )
        kept = StoreSettings(mode=store, dtype="float32", folder=tmp_path / "store")
        study_of(
            data,
            tmp_path / store,
            teacher=teacher,
            store=kept,
            views=views,
            epochs=8,
            student=own(),
        ).run()
    live, stored = weights(tmp_path / "off"), weights(tmp_path / "auto")
    for name in live:
        torch.testing.assert_close(stored[name], live[name], rtol=1e-4, atol=1e-6)
    assert asked["off"] - asked["auto"] == 90 * (8 * 2 - views.count) - COMPARED


# What is refused, before anything is written ------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"arms": {}}, ConfigError, "arms is empty"),
        ({"arms": {"a/b": ARMS["hard"]}}, ConfigError, r"arms\.a/b: expected a name of .*letters"),
        ({"arms": {"..": ARMS["hard"]}}, ConfigError, "a name of .*letters"),
        ({"arms": {"teacher": ARMS["hard"]}}, ConfigError, "not 'teacher'"),
        (
            {"arms": {"a": Arm(objective=HARD, control="b")}},
            ConfigError,
            r"arms\.a\.control='b' is not another arm",
        ),
        ({"student": None}, ConfigError, r"arms\.hard has no student"),
        ({"seeds": 0}, ConfigError, "seeds=0"),
        ({"seeds": []}, ConfigError, "empty"),
        ({"seeds": [1, 1]}, ConfigError, "names a seed twice"),
        ({"seeds": "3"}, ConfigError, "number of seeds"),
        ({"epochs": 0}, ConfigError, "epochs=0"),
        ({"batch_size": 0}, ConfigError, "batch_size=0"),
        ({"store": "on"}, ConfigError, "store='on' is unknown"),
        ({"trainer": {"max_epoch": 1}}, ConfigError, "Did you mean `trainer.max_epochs`"),
        ({"trainer": {"precision": "17"}}, ConfigError, "refuses these options"),
        ({"trainer": {"accelerator": "abacus"}}, ConfigError, "refuses these options"),
        ({"trainer": {"max_epochs": 0}}, ConfigError, "epochs=0"),
        ({"transfer": TransferSet(samples=91)}, ConfigError, "transfer.samples=91"),
        (
            {"transfer": TransferSet(labelled=0)},
            ConfigError,
            r"its transfer set has none \(all, unlabelled\)",
        ),
        ({"student": lambda: 3}, ConfigError, "should be a torch.nn.Module"),
        ({"student": lambda depth: Own()}, ConfigError, "could not be built.*depth"),
        (
            {"student": lambda: Own(classes=4)},
            ConfigError,
            "the student outputs 4 classes but the dataset has 3",
        ),
        ({"student": lambda: nn.Linear(5, 3)}, ConfigError, "cannot read inputs of shape"),
        ({"student": lambda model=Own(): model}, ConfigError, "the same module each time"),  # noqa: B008
        (
            {"teacher": teacher_model(classes=4)},
            TeacherError,
            "the teacher outputs 4 classes, but the dataset has 3",
        ),
        ({"teacher": nn.Linear(5, 3)}, TeacherError, "cannot read inputs of shape"),
        ({"teacher": Teacher(source=["nowhere"])}, TeacherError, "nowhere does not exist"),
        ({"teacher": []}, TeacherError, "no model"),
        ({"teacher": Teacher(model=lambda: 3)}, ConfigError, "should be a torch.nn.Module"),
    ],
)
def test_mistakes_are_met_before_anything_is_written(data, tmp_path, options, error, message):
    out = tmp_path / "run"
    with pytest.raises(error, match=message):
        study_of(data, out, **options).run()
    assert not out.exists()


def test_shifts_of_flat_inputs_are_refused(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32), np.arange(60) % 3
    flat = Dataset.from_arrays(x[:40], y[:40], x[40:], y[40:])
    with pytest.raises(ConfigError, match="shifts of 1 need images"):
        study_of(flat, tmp_path / "run", views=Shift(1)).run()
    assert not (tmp_path / "run").exists()
    study_of(flat, tmp_path / "run").run()


def test_a_folder_that_is_not_empty_is_refused_and_kept(data, tmp_path):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ConfigError, match="not empty"):
        study_of(data, tmp_path).run()
    with pytest.raises(ConfigError, match="not a run of limbeck"):
        study_of(data, tmp_path, overwrite=True).run()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_overwriting_leaves_nothing_of_the_earlier_run(data, tmp_path):
    out = tmp_path / "run"
    study_of(data, out, {"gone": ARMS["hard"]}, teacher=None, epochs=1).run()
    with pytest.raises(ConfigError, match="not empty"):
        study_of(data, out).run()
    summary = study_of(data, out, overwrite=True, epochs=1).run()
    assert sorted(p.name for p in (out / "students").iterdir()) == ["hard", "soft"]
    assert {row["arm"] for row in scalars(out)} == {"hard", "soft"}
    assert [arm.name for arm in summary.arms] == ["hard", "soft"]


def test_an_unusable_teacher_spares_the_run_that_would_be_overwritten(data, tmp_path):
    out = tmp_path / "run"
    study_of(data, out, epochs=1).run()
    with pytest.raises(TeacherError):
        study_of(data, out, overwrite=True, teacher=Teacher(source=["nowhere"])).run()
    assert (out / "summary.json").is_file()


def test_a_run_may_take_its_teacher_from_the_run_it_replaces(data, tmp_path):
    out = tmp_path / "run"
    first = study_of(
        data, out, teacher=Teacher(model=partial(MLP, hidden=[8]), epochs=1), epochs=1
    ).run()
    again = study_of(data, out, teacher=Teacher(source=[out]), overwrite=True, epochs=1).run()
    assert again.teacher.test == first.teacher.test


# Failures and resuming ----------------------------------------------------------------------------


def manifest(out):
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def test_a_diverging_study_fails_with_the_reason(data, tmp_path):
    out = tmp_path / "run"
    study = study_of(data, out, optimizer=Optimizer(name="sgd", lr=1e30))
    with pytest.raises(DivergedError, match=r"the loss of hard/seed0 was (nan|inf) in epoch"):
        study.run()
    assert manifest(out)["state"] == "failed"
    assert manifest(out)["error"].startswith("DivergedError: Training diverged")
    assert not (out / "summary.json").exists()


class Killed(BaseException):
    """What no code expects."""


def interrupt(monkeypatch, *, stage=None, epoch=None):
    """Kill the next study after a stage, or at the beginning of an epoch of one."""
    from limbeck.training.task import DistillationTask

    fit, begin = Engine.fit, DistillationTask.begin_epoch
    running = []

    def fit_and_fail(self, name, *rest):
        running[:] = [name]
        fit(self, name, *rest)
        if epoch is None and name == stage:
            raise Killed

    def begin_and_fail(task, number, rank=0):
        if epoch is not None and running == [stage] and number == epoch:
            raise Killed
        begin(task, number, rank)

    monkeypatch.setattr(Engine, "fit", fit_and_fail)
    monkeypatch.setattr(DistillationTask, "begin_epoch", begin_and_fail)


SPLIT = {
    "hard": Arm(objective=HARD),
    "soft": Arm(objective=Objective()),
    "wide": Arm(objective=HARD, student=own(9)),
}


@pytest.mark.parametrize(
    "where",
    [
        {"stage": "teacher0"},
        {"stage": "teacher0", "epoch": 2},
        {"stage": "cohort0"},
        {"stage": "cohort1"},
        {"stage": "cohort0", "epoch": 0},
        {"stage": "cohort0", "epoch": 3},
        {"stage": "cohort1", "epoch": 5},
    ],
    ids=str,
)
def test_a_resumed_study_ends_as_if_never_interrupted(
    data, tmp_path_factory, tmp_path, monkeypatch, where, whole
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, **where)
        with pytest.raises(Killed):
            resumable(data, out).run()
    assert manifest(out)["state"] == "failed"
    assert not (out / "predictions.npz").exists()
    torch.manual_seed(12345)
    summary = resumable(data, out, resume=True).run()
    reference, wanted = whole
    assert same_students(out, reference)
    assert summary.arms[1].seeds == wanted.arms[1].seeds
    assert scalars(out) == scalars(reference)
    assert manifest(out)["resumed"] == 1
    assert manifest(out)["state"] == "finished"
    assert "error" not in manifest(out)
    assert not (out / "checkpoints").exists()


def resumable(data, out, **options):
    """Dropout everywhere, a teacher of its own, two cohorts."""
    teacher = Teacher(model=partial(MLP, hidden=[8], dropout=0.3, max_norm=1.0), epochs=4)
    return study_of(data, out, SPLIT, teacher=teacher, epochs=6, views=Shift(1), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, resumable(dataset(), out).run()


def test_resuming_a_student_with_batchnorm(data, tmp_path, monkeypatch):
    options = {"student": WithBatchNorm, "epochs": 4}
    study_of(data, tmp_path / "whole", **options).run()
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort2", epoch=2)
        with pytest.raises(Killed):
            study_of(data, tmp_path / "run", **options).run()
    study_of(data, tmp_path / "run", resume=True, **options).run()
    assert same_students(tmp_path / "run", tmp_path / "whole")
    assert scalars(tmp_path / "run") == scalars(tmp_path / "whole")


def test_what_was_finished_is_not_trained_again(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort1", epoch=1)
        with pytest.raises(Killed):
            resumable(data, out).run()
    before = (out / "teacher" / "model.safetensors").stat().st_mtime_ns
    stages = []
    fit = Engine.fit
    monkeypatch.setattr(Engine, "fit", lambda self, *a: [stages.append(a[0]), fit(self, *a)][1])
    resumable(data, out, resume=True).run()
    assert stages == ["cohort1"]
    assert (out / "teacher" / "model.safetensors").stat().st_mtime_ns == before


def test_resuming_nothing_is_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="holds no run to resume"):
        study_of(data, tmp_path / "run", resume=True).run()


def test_a_run_is_not_resumed_with_other_data(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0")
        with pytest.raises(Killed):
            resumable(data, out).run()
    other = dataset()
    other.train.labels[0] = (other.train.labels[0] + 1) % 3
    with pytest.raises(DataError, match="the data is not what it was when this run began"):
        resumable(other, out, resume=True).run()


def test_a_run_is_not_resumed_with_another_teacher(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0")
        with pytest.raises(Killed):
            study_of(data, out).run()
    with pytest.raises(TeacherError, match="the teacher is not what it was when this run began"):
        study_of(data, out, teacher=teacher_model(seed=8), resume=True).run()


def test_a_control_that_differs_in_more_than_the_objective_is_warned_of(data, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "few": Arm(objective=Objective(), transfer=TransferSet(samples=30)),
    }
    summary = study_of(data, tmp_path / "run", arms, seeds=5).run()
    assert [
        w
        for w in summary.warnings
        if "Arm 'few' and its control 'hard' differ in transfer too" in w
    ]
    alike = study_of(data, tmp_path / "alike", seeds=5).run()
    assert not [w for w in alike.warnings if "differ in" in w]


def test_a_teacher_that_was_tampered_with_is_not_resumed_from(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0")
        with pytest.raises(Killed):
            resumable(data, out).run()
    file = out / "teacher" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UntrustedFileError, match="was changed"):
        resumable(data, out, resume=True).run()


def test_the_teacher_alone(data, tmp_path):
    out = tmp_path / "run"
    summary = study_of(data, out, teacher=Teacher(model=own(8), epochs=2)).fit_teacher()
    assert summary.arms == ()
    assert summary.teacher.name == "Own"
    assert (out / "teacher" / "model.safetensors").is_file()
    assert not (out / "students").exists()
    assert {row["stage"] for row in scalars(out)} == {"teacher"}
    assert np.load(out / "predictions.npz").files == ["labels", "teacher"]
    with pytest.raises(TeacherError, match="no teacher to train"):
        study_of(data, tmp_path / "other", {"hard": ARMS["hard"]}, teacher=None).fit_teacher()
