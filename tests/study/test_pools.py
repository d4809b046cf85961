"""Students that learn from other inputs than their teacher."""

import json
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from support.studies import make_study
from torch import nn

from limbeck import Arm, Objective, StoreSettings, Teacher
from limbeck._base.errors import ConfigError, DataError, ResourceError
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, ImagesFrom, Shift, Source, TransferSet, UniformNoise
from limbeck.data.resampling import ResampledSplits
from limbeck.models import MLP, load_model
from limbeck.run.folder import RunFolder
from limbeck.study.engine import Engine
from limbeck.study.pools import TransferPools
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.generator import Generated

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
SOFT = Objective(hard_weight=0.5, soft_weight=0.5)


@dataclass(frozen=True)
class Adversary(Source):
    """Inputs that follow the gradient of the teacher's first class."""

    samples: int = 12
    needs_teacher = True

    @property
    def name(self):
        return f"{self.samples} adversaries"

    def make(self, *, shape, classes, teacher, progress):
        x = torch.zeros(self.samples, *shape, requires_grad=True)
        logits = teacher.models[0](x)
        assert logits.shape == (self.samples, classes)
        logits[:, 0].sum().backward()
        calls.append(self.samples)
        return (torch.arange(self.samples).view(-1, 1, 1, 1) / 20 + x.grad).clamp(0, 1)


@dataclass(frozen=True)
class Sloped(Adversary):
    """Adversaries with a setting that is not in their name."""

    slope: float = 1.0


calls: list[int] = []


@pytest.fixture
def data():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(256, (90, 1, 4, 4), generator=draw).to(torch.uint8)
    y = (x.flatten(1).float() @ torch.randn(16, 3, generator=draw)).argmax(1)
    return Dataset.from_arrays(
        x[:60], y[:60], x[60:], y[60:], name="tiny", val=10, class_names=list("abc")
    )


def teacher():
    torch.manual_seed(5)
    return MLP((1, 4, 4), 3, hidden=[9])


def study(data, out, arms, **options):
    usual = {
        "student": partial(MLP, hidden=[4]),
        "teacher": teacher(),
        "seeds": 2,
        "epochs": 3,
    }
    return make_study(data, arms, out, **{**usual, **options})


@pytest.mark.parametrize("views", [None, Shift(1)], ids=["plain", "shifts"])
def test_a_source_equals_the_same_images_without_labels(data, tmp_path, views):
    np.save(tmp_path / "images.npy", data.train.inputs[:, 0].numpy())
    arms = {
        "file": Arm(
            objective=SOFT, transfer=TransferSet(source=ImagesFrom(tmp_path / "images.npy"))
        ),
        "split": Arm(objective=SOFT, transfer=TransferSet(labelled=0)),
    }
    store = StoreSettings(folder=tmp_path / "stores", dtype="float32", mode="auto")
    summary = study(data, tmp_path / "run", arms, views=views, store=store, epochs=18).run()
    first, second = ([seed.test for seed in arm.seeds] for arm in summary.arms)
    assert first == second
    assert [arm.transfer for arm in summary.arms] == [
        "images from images.npy",
        "all, unlabelled",
    ]
    weights = [
        load_model(tmp_path / "run" / "students" / arm / "seed1").model.state_dict() for arm in arms
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["stores"]) == 1, "the same inputs are one store, wherever they come from"
    assert "inputs: images from images.npy" in manifest["digests"]


def test_stored_answers_to_a_source_equal_live_ones(data, tmp_path):
    draw = np.random.default_rng(0)
    np.save(tmp_path / "other.npy", draw.integers(0, 256, (25, 4, 4)).astype(np.uint8))
    arms = {
        "a": Arm(
            objective=SOFT,
            transfer=TransferSet(20, source=ImagesFrom(tmp_path / "other.npy"), seed=1),
        )
    }
    results = []
    for store in ("off", StoreSettings(folder=tmp_path / "stores", dtype="float32")):
        out = tmp_path / f"run{len(results)}"
        results.append(
            study(data, out, arms, views=Shift(1), store=store, epochs=30).run().arms[0].seeds
        )
    for live, stored in zip(*results, strict=True):
        assert stored.test.nll == pytest.approx(live.test.nll, abs=1e-5)
    manifest = json.loads((tmp_path / "run1" / "manifest.json").read_text(encoding="utf-8"))
    assert [store["rows"] for store in manifest["stores"].values()] == [20]


def test_inputs_that_need_the_teacher_are_made_once_even_if_a_run_is_resumed(
    data, tmp_path, monkeypatch
):
    calls.clear()
    arms = {
        "first": Arm(objective=SOFT, transfer=TransferSet(source=Adversary())),
        "second": Arm(objective=SOFT, transfer=TransferSet(source=Adversary()), views=Shift(1)),
    }
    whole = study(data, tmp_path / "whole", arms).run()
    assert calls == [12]
    fit = Engine.fit

    def stop_at_second(self, job):
        if job.stage == "cohort1":
            raise KeyboardInterrupt
        return fit(self, job)

    monkeypatch.setattr(Engine, "fit", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        study(data, tmp_path / "run", arms).run()
    monkeypatch.setattr(Engine, "fit", fit)
    assert calls == [12, 12]
    assert (tmp_path / "run" / "checkpoints" / "source0" / "inputs.ckpt").is_file()
    resumed = study(data, tmp_path / "run", arms, resume=True).run()
    assert calls == [12, 12]
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert [arm.seeds for arm in resumed.arms] == [arm.seeds for arm in whole.arms]


def test_damaged_inputs_are_made_again(data, tmp_path, monkeypatch):
    calls.clear()
    arms = {"first": Arm(objective=SOFT, transfer=TransferSet(source=Adversary()))}
    fit = Engine.fit
    monkeypatch.setattr(Engine, "fit", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        study(data, tmp_path / "run", arms).run()
    monkeypatch.setattr(Engine, "fit", fit)
    file = tmp_path / "run" / "checkpoints" / "source0" / "inputs.ckpt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    study(data, tmp_path / "run", arms, resume=True).run()
    assert calls == [12, 12]


def test_a_run_is_not_resumed_with_other_inputs(data, tmp_path, monkeypatch):
    arms = {
        "a": Arm(objective=SOFT, transfer=TransferSet(source=ImagesFrom(tmp_path / "images.npy")))
    }
    np.save(tmp_path / "images.npy", data.train.inputs[:, 0].numpy())
    fit = Engine.fit
    monkeypatch.setattr(Engine, "fit", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        study(data, tmp_path / "run", arms).run()
    monkeypatch.setattr(Engine, "fit", fit)
    np.save(tmp_path / "images.npy", data.train.inputs[:9, 0].numpy())
    with pytest.raises(DataError, match=r"the inputs: images from images\.npy has changed"):
        study(data, tmp_path / "run", arms, resume=True).run()


def test_students_may_learn_from_some_classes_only(data, tmp_path):
    arms = {
        "without": Arm(objective=HARD, transfer=TransferSet(without=["b"])),
        "only": Arm(objective=HARD, transfer=TransferSet(classes=[0, "c"])),
    }
    summary = study(data, tmp_path / "run", arms, teacher=None).run()
    assert [arm.transfer for arm in summary.arms] == ["all without b", "all of classes 0, c"]
    assert summary.arms[0].seeds == summary.arms[1].seeds
    assert [arm.absent for arm in summary.arms] == [(1,), (1,)]


@pytest.mark.parametrize(
    ("transfer", "error", "message"),
    [
        (TransferSet(labelled=0), ConfigError, r"arms\.hard learns from labels alone"),
        (
            TransferSet(source=Adversary()),
            ConfigError,
            r"its transfer set has no labels \(12 adversaries\)",
        ),
        (TransferSet(without=["d"]), ConfigError, "unknown class 'd'. The classes are a, b, c"),
        (TransferSet(source=ImagesFrom("nowhere.npy")), DataError, "nowhere.npy cannot be read"),
    ],
)
def test_bad_transfer_sets_are_refused_before_training(data, tmp_path, transfer, error, message):
    with pytest.raises(error, match=message):
        study(
            data,
            tmp_path / "run",
            {"hard": Arm(objective=HARD, transfer=transfer)},
            teacher=nn.Flatten(),
        ).run()
    assert not (tmp_path / "run").exists()


def test_sources_of_the_same_name_are_distinct(data, tmp_path):
    arms = {
        f"a{samples}": Arm(
            objective=SOFT,
            transfer=TransferSet(source=UniformNoise(samples=samples)),
            control="a20",
        )
        for samples in (30, 20)
    }
    arms["a20"] = replace(arms["a20"], control=None)
    summary = study(data, tmp_path / "run", arms).run()
    digests = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))[
        "digests"
    ]
    assert {"inputs: uniform noise", "inputs: uniform noise (2)"} < digests.keys()
    assert any(
        "'a30' and its control 'a20' also differ in transfer" in warning
        for warning in summary.warnings
    )


def test_a_run_is_not_resumed_with_other_settings_of_a_source(data, tmp_path, monkeypatch):
    """The name of the source is the same."""

    def arms(slope):
        return {"a": Arm(objective=SOFT, transfer=TransferSet(source=Sloped(slope=slope)))}

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "fit", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study(data, tmp_path / "run", arms(1.0)).run()
    with pytest.raises(ConfigError, match=r"the settings differ from those with which"):
        study(data, tmp_path / "run", arms(2.0), resume=True).run()


def test_inputs_of_a_source_are_cached_until_all_students_are_trained(data, tmp_path, monkeypatch):
    calls.clear()
    fit, run = Engine.fit, tmp_path / "run"
    arms = {
        "a": Arm(objective=SOFT, transfer=TransferSet(source=Adversary())),
        "b": Arm(objective=HARD),
    }

    def short(self, job):
        if job.stage == "cohort0":
            raise ResourceError("Memory ran out: lower batch_size, or seeds.")
        return fit(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "fit", short)
        assert study(data, run, arms).run().failed
    assert study(data, run, arms, resume=True).run().failed == ()
    assert calls == [12]
    assert not (run / "checkpoints").exists()


def test_a_source_uses_the_teacher_on_the_device_of_the_study(data, tmp_path):
    """Wherever another arm has moved it, so that a resumed run makes the same inputs."""
    model = teacher().train()
    splits = ResampledSplits(data, [0])
    pools = TransferPools(splits, [], RunFolder(tmp_path), StageProgress(enabled=False))
    pools.teacher, pools.device = LiveTeacher(model), torch.device("meta")
    models = []
    source = Adversary()
    object.__setattr__(source, "make", lambda *, teacher, **_: models.append(teacher.models[0]))
    pools._make(source)
    assert next(models[0].parameters()).device.type == "meta"
    assert not models[0].training


def test_a_generator_for_flat_inputs_is_refused_before_the_teacher_is_trained(data, tmp_path):
    flat = Dataset.from_arrays(
        torch.rand(40, 16), torch.arange(40) % 3, torch.rand(9, 16), torch.arange(9) % 3
    )
    plan = Teacher(model=partial(MLP, hidden=[4]), epochs=1)
    arms = {"a": Arm(objective=SOFT, transfer=TransferSet(source=Generated(steps=1)))}
    with pytest.raises(ConfigError, match="a generator makes images"):
        study(flat, tmp_path / "run", arms, teacher=plan).run()
    assert not (tmp_path / "run").exists()
