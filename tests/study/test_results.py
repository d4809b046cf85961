"""The folder that a finished study leaves."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.image_studies import ARMS, scalars, small, study_of, teacher_model

from limbeck import Arm, Objective, RunOptions, Teacher
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import NoViews
from limbeck.models import MLP
from limbeck.run.summary import parse_summary
from limbeck.study.arms import build


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A finished run: its folder, its summary and the teacher of the study."""
    out = tmp_path_factory.mktemp("finished") / "run"
    teacher = teacher_model().train()
    summary = study_of(data, out, teacher=teacher, seeds=[3, 5]).run()
    return out, summary, teacher


def test_a_finished_run_holds_models_records_and_report(finished):
    out, _, _ = finished
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    models = {
        "teacher",
        *(f"students/{arm}/seed{seed}" for arm in ("hard", "soft") for seed in (3, 5)),
    }
    expected = {
        f"{folder}/{name}" for folder in models for name in ("model.safetensors", "model.json")
    }
    expected |= {
        "config.yaml",
        "manifest.json",
        "summary.json",
        "report.html",
        "metrics.csv",
        "predictions.npz",
    }
    assert expected <= files
    expected |= {"examples.npz"}  # where arm and control differ
    assert all(name.startswith("logs/") for name in files - expected)
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


def test_the_summary_is_valid_and_is_what_run_returns(finished, data):
    out, summary, _ = finished
    content = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert parse_summary(content) == summary
    assert [arm["name"] for arm in content["arms"]] == ["hard", "soft"]
    assert [seed["seed"] for seed in content["arms"][0]["seeds"]] == [3, 5]
    facts = content["data"]
    mean = f"{data.statistics[0][0]:.3g}"
    assert facts.pop("normalization").startswith(f"normalised with mean {mean} and standard")
    most_frequent = data.train.labels.bincount().argmax()
    assert facts.pop("constant") == (data.open_test().labels != most_frequent).sum()
    assert facts == {"name": "tiny", "classes": 3, "train": 90, "val": 20, "test": 40}
    assert [(c["arm"], c["control"]) for c in content["comparisons"]] == [("soft", "hard")]
    seconds = content["seconds"]
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


def test_the_manifest_records_the_run(finished):
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
    expected = {
        ("students", arm, seed, str(epoch), name)
        for arm in ("hard", "soft")
        for seed in ("3", "5")
        for epoch in range(3)
        for name in names
    }
    assert set(keys) == expected


def test_the_teacher_of_the_study_is_not_changed(finished):
    _, _, teacher = finished
    expected = teacher_model()
    assert all(
        torch.equal(a, b) for a, b in zip(teacher.parameters(), expected.parameters(), strict=True)
    )
    assert all(p.grad is None for p in teacher.parameters())


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(data, tmp_path):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ConfigError, match="not empty"):
        study_of(data, tmp_path).run()
    with pytest.raises(ConfigError, match="not a run folder"):
        study_of(data, tmp_path, overwrite=True).run()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_overwriting_removes_the_earlier_run(data, tmp_path):
    out = tmp_path / "run"
    study_of(data, out, {"earlier": ARMS["hard"]}, teacher=None, epochs=1).run()
    with pytest.raises(ConfigError, match="not empty"):
        study_of(data, out).run()
    summary = study_of(data, out, overwrite=True, epochs=1).run()
    assert sorted(p.name for p in (out / "students").iterdir()) == ["hard", "soft"]
    assert {row["arm"] for row in scalars(out)} == {"hard", "soft"}
    assert [arm.name for arm in summary.arms] == ["hard", "soft"]


def test_an_unusable_teacher_leaves_the_run_to_overwrite_alone(data, tmp_path):
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


class Unwritable(NoViews):
    """Views with a setting that JSON cannot represent."""

    def settings(self):
        return {"matrix": torch.eye(2)}


def test_results_that_could_not_be_written_are_refused_before_training(data, tmp_path):
    out = tmp_path / "run"
    arms = {"hard": replace(ARMS["hard"], views=Unwritable())}
    with pytest.raises(
        ConfigError, match=r"(?s)views\.matrix=.*cannot be recorded as JSON: it is a Tensor"
    ):
        study_of(data, out, arms).run()
    with pytest.raises(ConfigError, match="name=5 should be a string"):
        RunOptions(name=5)
    assert not out.exists()


# Margins ------------------------------------------------------------------------------------------


def test_a_margin_adds_tests_of_equivalence_and_of_replacements(data, tmp_path):
    arms = {**ARMS, "wide": Arm(objective=Objective(), student=partial(MLP, hidden=[12]))}
    summary = study_of(data, tmp_path / "run", arms, seeds=3, margin="50%").run()
    assert summary.margin == 20.0
    assert summary == parse_summary(json.loads((tmp_path / "run" / "summary.json").read_text()))
    for comparison in summary.comparisons:
        assert comparison.margin_test is not None
        assert comparison.verdict != "not shown"  # all are within 20 of 40 samples
    pairs = {(entry.arm, entry.reference) for entry in summary.replacements}
    teachers = {("hard", None), ("soft", None), ("wide", None)}
    assert pairs == {*teachers, ("hard", "wide"), ("soft", "wide")}
    for entry in summary.replacements:
        errors = summary.arm(entry.arm).mean.errors
        reference = summary.teacher.test
        if entry.reference is not None:
            reference = summary.arm(entry.reference).mean
        assert entry.delta == pytest.approx(errors - reference.errors)
        assert entry.ci95[0] <= entry.delta <= entry.ci95[1]


def test_a_share_of_a_small_gap_is_a_warning_and_no_test(data, tmp_path):
    """A tenth of a gap of less than 37 errors is below 3.7."""
    summary = study_of(data, tmp_path / "run", seeds=2, epochs=1, margin="10%gap").run()
    assert summary.margin is None
    assert summary.replacements is None
    assert sum("nothing was tested within it" in text for text in summary.warnings) == 1


@pytest.mark.parametrize(
    ("margin", "message"), [(40, "as large as the test split"), ("5 %%", "not a difference above")]
)
def test_a_wrong_margin_is_refused_before_anything_is_trained(data, tmp_path, margin, message):
    with pytest.raises(ConfigError, match=message):
        study_of(data, tmp_path / "run", margin=margin).run()
    assert not (tmp_path / "run").exists()


# Abstention ---------------------------------------------------------------------------------------


def test_answers_above_a_threshold_are_counted_on_the_test_split(data, tmp_path, monkeypatch):
    """By plain counting from the stored logits. Few samples guarantee large error rates alone."""
    monkeypatch.setattr("limbeck.study.abstention.ERROR_RATES", (0.8, 0.6, 0.4, 0.3, 0.2))
    run = tmp_path / "run"
    summary = study_of(data, run, seeds=2, epochs=20).run()
    content = summary.abstention
    assert content.candidates == 4
    assert any(0 < row.answered < summary.data.test for row in content.rows)
    assert content.arm in ("hard", "soft")
    with np.load(run / "predictions.npz") as arrays:
        labels, teacher = arrays["labels"], arrays["teacher"]
        logits = arrays[f"students/{content.arm}/seed{content.seed}"]
    probabilities = torch.tensor(logits).double().div(content.temperature).softmax(1).numpy()
    for row in content.rows:
        is_answered = probabilities.max(1) >= row.threshold
        wrong = np.where(is_answered, logits.argmax(1), teacher.argmax(1)) != labels
        assert row.answered == is_answered.sum()
        assert row.errors == (wrong & is_answered).sum()
        assert row.cascade_errors == wrong.sum()
