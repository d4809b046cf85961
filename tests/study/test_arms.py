"""Arms differ in nothing but their settings, and nothing is learnt from the test split."""

import pytest
import torch
from support.image_studies import (
    ARMS,
    HARD,
    WithBatchNorm,
    dataset,
    own,
    same_students,
    study_of,
    teacher_model,
    weights,
)

from limbeck import Arm, Objective, StoreSettings, Teacher
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset, NoViews, Shift, TransferSet
from limbeck.store.verify import NUM_INPUTS
from limbeck.study.engine import Engine


def test_an_arm_of_another_type_is_refused(data):
    with pytest.raises(ConfigError, match=r"soft should be a limbeck.Arm, but is of type dict"):
        study_of(data, None, {"soft": {"temperature": 2}})


def test_arms_of_a_seed_share_weights_and_order_and_seeds_differ(data, tmp_path, monkeypatch):
    initial = {}

    def spy(self, job):
        for a, s, model in job.task.cohort.members():
            arm, seed = job.task.prefixes[a][s].rstrip("/").split("/")
            initial[arm, seed] = torch.cat([p.flatten() for p in model.parameters()])
        fit(self, job)

    fit = Engine.fit
    monkeypatch.setattr(Engine, "fit", spy)
    arms = {
        **ARMS,
        "narrow": Arm(objective=HARD, transfer=TransferSet(samples=40)),
        "twin": Arm(objective=HARD),
    }
    summary = study_of(data, tmp_path / "run", arms, seeds=3).run()
    for seed in ("seed0", "seed1", "seed2"):
        assert torch.equal(initial["hard", seed], initial["soft", seed])
        assert torch.equal(initial["hard", seed], initial["narrow", seed])
    assert not torch.equal(initial["hard", "seed0"], initial["hard", "seed1"])
    by_name = {arm.name: arm for arm in summary.arms}
    assert by_name["hard"].seeds != by_name["narrow"].seeds


def test_two_equal_arms_train_the_same_students(data, tmp_path):
    arms = {"one": Arm(objective=HARD), "two": Arm(objective=HARD)}
    study_of(data, tmp_path / "run", arms, student=own(), seeds=2).run()
    tensors = weights(tmp_path / "run")
    for name in tensors:
        if "/one/" in name:
            twin = tensors[name.replace("/one/", "/two/")]
            torch.testing.assert_close(tensors[name], twin, rtol=1e-6, atol=1e-7)
    first, second = (tensors[f"students/one/seed{seed}/net.net.1.weight"] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_a_study_repeats_itself(data, tmp_path):
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        study_of(data, tmp_path / name).run()
    assert same_students(tmp_path / "a", tmp_path / "b")


def test_the_test_split_is_opened_once_after_the_last_fit(data, tmp_path, monkeypatch):
    events = []
    open_test, fit = Dataset.open_test, Engine.fit

    def open_and_record(self):
        events.append("test")
        return open_test(self)

    def fit_and_record(self, job):
        fit(self, job)
        events.append(job.stage)

    monkeypatch.setattr(Dataset, "open_test", open_and_record)
    monkeypatch.setattr(Engine, "fit", fit_and_record)
    teacher = Teacher(model=own(8), epochs=1)
    study_of(data, tmp_path / "run", student=WithBatchNorm, teacher=teacher).run()
    assert events == ["teacher0", "cohort0", "cohort1", "cohort2", "cohort3", "test"]


def test_training_never_reads_the_test_split(data, tmp_path):
    other = dataset()
    other._test = type(other._test)(
        torch.zeros_like(other._test.inputs), other._test.labels.flip(0)
    )
    study_of(data, tmp_path / "a").run()
    study_of(other, tmp_path / "b").run()
    assert same_students(tmp_path / "a", tmp_path / "b")


def test_a_warning_names_an_arm_without_control(data, tmp_path):
    summary = study_of(data, tmp_path / "run", {"soft": ARMS["soft"]}, seeds=1).run()
    assert summary.comparisons == ()
    assert any("Arm 'soft' has no control to compare with" in w for w in summary.warnings)


@pytest.mark.parametrize("views", [NoViews(), Shift(1)])
def test_stored_answers_train_the_students_of_live_ones(data, tmp_path, monkeypatch, views):
    counts = {"auto": 0, "off": 0}
    for store in ("auto", "off"):
        teacher = teacher_model()
        teacher.register_forward_hook(
            lambda *a, s=store: counts.update({s: counts[s] + len(a[1][0])})
        )
        settings = StoreSettings(mode=store, dtype="float32", folder=tmp_path / "store")
        study_of(
            data,
            tmp_path / store,
            teacher=teacher,
            store=settings,
            views=views,
            epochs=8,
            student=own(),
        ).run()
    live, stored = weights(tmp_path / "off"), weights(tmp_path / "auto")
    for name in live:
        torch.testing.assert_close(stored[name], live[name], rtol=1e-4, atol=1e-6)
    assert counts["off"] - counts["auto"] == 90 * (8 * 2 - views.count) - NUM_INPUTS


def test_a_warning_names_a_control_that_differs_in_more_than_the_objective(data, tmp_path):
    arms = {
        "hard": Arm(objective=HARD),
        "few": Arm(objective=Objective(), transfer=TransferSet(samples=30)),
    }
    summary = study_of(data, tmp_path / "run", arms, seeds=5).run()
    assert [
        w
        for w in summary.warnings
        if "Arm 'few' and its control 'hard' also differ in transfer" in w
    ]
    alike = study_of(data, tmp_path / "alike", seeds=5).run()
    assert not [w for w in alike.warnings if "differ in" in w]


def test_the_number_of_teachers_is_limited():
    """A number in a run folder must not take the memory of a billion folders."""
    with pytest.raises(ConfigError, match=r"teacher\.members=10001 is more than a study can hold"):
        Teacher(model=own(8), members=10_001)
