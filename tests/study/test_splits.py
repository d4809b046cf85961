"""Studies whose seeds are spread over several training and validation splits."""

import shutil

import numpy as np
import pytest
from scipy.special import softmax
from support.image_studies import ARMS, dataset, small, study_of

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.data import Mixup, StrokeNoise, TransferSet
from limbeck.data.dataset import as_float
from limbeck.data.resampling import ResampledSplits
from limbeck.deploy.models_of_run import models_of_run
from limbeck.evaluation.statistics import crossed_test
from limbeck.run.completeness import untrained_models
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import read_manifest
from limbeck.run.summary import read_summary
from limbeck.training.generator import Generated

SEEDS = [3, 1, 4, 2]


def trained_teacher(seed=0, members=1):
    optimizer = Optimizer(lr=0.01)
    return Teacher(
        model=small, epochs=2, batch_size=32, optimizer=optimizer, seed=seed, members=members
    )


@pytest.fixture(scope="module")
def data():
    data = dataset()
    assert data.statistics  # all splits scale their inputs by those of the first
    return data


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("splits") / "run"
    study = study_of(data, out, teacher=trained_teacher(), seeds=SEEDS, splits=2)
    return out, study.run()


def predictions(out):
    with np.load(out / "predictions.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("store", ["off", {"mode": "auto", "dtype": "float32"}])
def test_students_are_those_of_a_study_on_each_split(data, tmp_path, store):
    teacher = trained_teacher(members=2)
    study_of(data, tmp_path / "all", teacher=teacher, seeds=SEEDS, splits=2, store=store).run()
    together = predictions(tmp_path / "all")
    splits = ResampledSplits(data, SEEDS, 2)
    for number, seeds in enumerate((SEEDS[:2], SEEDS[2:])):
        out = tmp_path / f"split{number}"
        teacher = trained_teacher(seed=2 * number, members=2)
        summary = study_of(
            splits.dataset(number), out, teacher=teacher, seeds=seeds, store=store
        ).run()
        alone = predictions(out)
        name = f"teacher/split{number}" if number else "teacher"
        np.testing.assert_allclose(together[name], alone["teacher"], atol=1e-5)
        for arm in ARMS:
            for seed in seeds:
                key = f"students/{arm}/seed{seed}"
                np.testing.assert_allclose(together[key], alone[key], atol=1e-5)
        whole = read_summary(RunFolder(tmp_path / "all"))
        for arm in ARMS:
            ours = {seed.seed: seed for seed in whole.arm(arm).seeds}
            for seed in summary.arm(arm).seeds:
                assert ours[seed.seed].split == number
                assert ours[seed.seed].val.accuracy == seed.val.accuracy
                assert ours[seed.seed].test.agreement == seed.test.agreement


def test_mixtures_are_answered_as_they_are_shown(data, tmp_path):
    runs = {}
    for store in ("off", {"mode": "auto", "dtype": "float32", "folder": tmp_path / "store"}):
        out = tmp_path / f"run{len(runs)}"
        study = study_of(
            data,
            out,
            teacher=trained_teacher(),
            seeds=SEEDS,
            splits=2,
            store=store,
            views=Mixup().limited(2),
            transfer=TransferSet(labelled=30),
        )
        study.run()
        runs[out] = predictions(out)
    live, stored = runs.values()
    assert len(read_manifest(RunFolder(out)).stores) == 2
    for name, values in live.items():
        np.testing.assert_allclose(values, stored[name], atol=1e-5)


def test_the_test_takes_the_mean_of_each_split(finished):
    out, summary = finished
    arrays = predictions(out)
    wrong = {
        arm: np.stack(
            [arrays[f"students/{arm}/seed{seed}"].argmax(1) != arrays["labels"] for seed in SEEDS]
        ).astype(float)
        for arm in ARMS
    }
    differences = wrong["soft"] - wrong["hard"]
    test = crossed_test(np.stack([differences[:2].mean(0), differences[2:].mean(0)]))
    comparison = summary.main_comparison
    assert comparison.p_value == pytest.approx(test.p_value)
    assert comparison.delta_errors.ci95_total == pytest.approx(test.ci95)
    assert len(comparison.delta_errors.per_seed) == 4
    assert summary.splits == 2


def test_the_teacher_is_the_mean_over_splits(finished):
    out, summary = finished
    arrays = predictions(out)
    errors = [
        int((arrays[name].argmax(1) != arrays["labels"]).sum())
        for name in ("teacher", "teacher/split1")
    ]
    assert summary.teacher.test.errors == np.mean(errors)
    assert summary.teacher.sd.errors == pytest.approx(np.std(errors, ddof=1))
    assert (out / "teacher" / "split1" / "model.safetensors").is_file()


def test_a_resumed_run_trains_what_is_missing_again(data, finished, tmp_path):
    out, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(out, copy)
    shutil.rmtree(copy / "teacher" / "split1")
    shutil.rmtree(copy / "students" / "soft" / "seed4")
    study = study_of(data, copy, teacher=trained_teacher(), seeds=SEEDS, splits=2, resume=True)
    study.run()
    for name, values in predictions(out).items():
        np.testing.assert_array_equal(values, predictions(copy)[name])


@pytest.mark.parametrize("form", [lambda run: Teacher(source=[run]), str])
def test_the_teachers_of_a_run_serve_the_same_splits_again(data, finished, tmp_path, form):
    out, _ = finished
    teacher = form(out)
    summary = study_of(data, tmp_path / "run", teacher=teacher, seeds=SEEDS, splits=2).run()
    for name, values in predictions(out).items():
        np.testing.assert_array_equal(values, predictions(tmp_path / "run")[name])
    assert not any("One teacher serves" in warning for warning in summary.warnings)


def test_the_ensembles_of_a_run_serve_the_same_splits_again(data, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    teacher = trained_teacher(members=2)
    study_of(data, first, teacher=teacher, seeds=2, splits=2).run()
    study_of(data, second, teacher=Teacher(source=[first]), seeds=2, splits=2).run()
    for name, values in predictions(first).items():
        np.testing.assert_array_equal(values, predictions(second)[name])


@pytest.mark.parametrize(
    ("splits", "teachers"),
    [
        (1, {"teacher": SEEDS[:2]}),
        (2, {"teacher": SEEDS[:2], "teacher/split1": SEEDS[2:]}),
        (4, {"teacher": SEEDS[:2]}),
    ],
)
def test_students_teach_the_split_on_which_they_were_trained(
    data, finished, tmp_path, splits, teachers
):
    """The mean of all would know the validation samples of each."""
    out, _ = finished
    teacher = out / "students" / "soft"
    study = study_of(data, tmp_path / "run", teacher=teacher, seeds=SEEDS, splits=splits)
    warnings = study.run().warnings
    students, arrays = predictions(out), predictions(tmp_path / "run")
    assert {name for name in arrays if name.startswith("teacher")} == set(teachers)
    for name, seeds in teachers.items():
        expected = np.mean([softmax(students[f"students/soft/seed{k}"], 1) for k in seeds], 0)
        np.testing.assert_allclose(softmax(arrays[name], 1), expected, atol=1e-5)
    is_shared = any(f"One teacher serves all {splits} splits" in text for text in warnings)
    assert is_shared == (splits == 4)


def test_all_students_of_a_run_with_one_split_teach_every_split(data, tmp_path):
    out = tmp_path / "first"
    study_of(data, out, teacher=trained_teacher(), seeds=2).run()
    teacher = Teacher(source=[out / "students" / "soft"])
    summary = study_of(data, tmp_path / "run", teacher=teacher, seeds=2, splits=2).run()
    students = predictions(out)
    expected = np.mean([softmax(students[f"students/soft/seed{k}"], 1) for k in (0, 1)], 0)
    actual = predictions(tmp_path / "run")["teacher"]
    np.testing.assert_allclose(softmax(actual, 1), expected, atol=1e-5)
    assert any("One teacher serves all 2 splits" in warning for warning in summary.warnings)


@pytest.mark.parametrize("folder", ["teacher", "teacher/split1", "students/soft/seed3"])
def test_a_model_of_a_run_that_was_exchanged_is_refused(data, finished, tmp_path, folder):
    """Named as a whole run, or alone."""
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    other = "students/hard/seed3" if folder.startswith("students") else "teacher"
    other = "teacher/split1" if folder == "teacher" else other
    for file in ("model.safetensors", "model.json"):
        shutil.copyfile(finished[0] / other / file, run / folder / file)
    sources = [run / folder] if folder.startswith("students") else [run / folder, run]
    for source in sources:
        teacher = Teacher(source=[source])
        study = study_of(data, tmp_path / "new", teacher=teacher, seeds=2, splits=2)
        with pytest.raises(UntrustedFileError, match="not the file that this run wrote"):
            study.check()


def test_the_demo_shows_the_teacher_of_the_student(data, finished):
    out, _ = finished
    inputs = as_float(data.open_test().inputs)
    for seed, name in ((SEEDS[0], "teacher"), (SEEDS[3], "teacher/split1")):
        teacher = models_of_run(out, arm="soft", seed=seed)[0]
        np.testing.assert_allclose(teacher.logits(inputs), predictions(out)[name], atol=1e-5)


def test_a_run_that_lacks_a_teacher_of_a_split_is_not_complete(finished, tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished[0], run.path)
    (run.path / "teacher" / "split1" / "model.json").unlink()
    settings = {"splits": 2, "teacher": {"model": {"_target_": "limbeck.models.MLP"}}}
    monkeypatch.setattr("limbeck.run.completeness.read_settings", lambda run: settings)
    assert untrained_models(run, read_manifest(run)) == ["teacher 0 of split 1"]


def test_one_teacher_for_all_splits_is_a_warning(data, finished, tmp_path):
    out, _ = finished
    teacher = Teacher(source=[out / "teacher"])
    summary = study_of(data, tmp_path / "run", teacher=teacher, seeds=SEEDS, splits=2).run()
    assert any("One teacher serves all 2 splits" in warning for warning in summary.warnings)
    assert summary.teacher.sd is None
    assert "teacher/split1" not in predictions(tmp_path / "run")


def test_each_split_selects_its_own_labelled_samples(data, tmp_path):
    transfer = TransferSet(samples=60, labelled=12)
    study = study_of(data, tmp_path / "run", seeds=SEEDS, splits=4, transfer=transfer)
    summary = study.run()
    assert [seed.split for seed in summary.arm("soft").seeds] == [0, 1, 2, 3]


def test_the_report_says_what_was_repeated(finished):
    out, _ = finished
    page = (out / "report.html").read_text()
    for words in (
        "4 seeds, 2 on each of 2 splits",
        "other seeds, other splits and",
        "divided into training and validation 2 times, each time with a new teacher",
    ):
        assert words in page


@pytest.mark.parametrize(("seeds", "splits", "words"), [(5, 2, "seeds=6"), (2, 3, "seeds=3")])
def test_the_number_of_seeds_is_a_multiple(data, tmp_path, seeds, splits, words):
    with pytest.raises(ConfigError, match=words):
        study_of(data, tmp_path / "run", seeds=seeds, splits=splits)


@pytest.mark.parametrize("splits", [0, -1, 1.5, True, "2"])
def test_splits_are_a_count(splits):
    from limbeck import RunOptions

    with pytest.raises(ConfigError, match="splits"):
        RunOptions(splits=splits)


def test_inputs_made_with_one_teacher_are_refused(data, tmp_path):
    transfer = TransferSet(source=Generated(), labelled=None)
    arms = {"soft": Arm(objective=Objective(hard_weight=0.0), transfer=transfer)}
    with pytest.raises(ConfigError, match="made with one teacher"):
        study_of(data, tmp_path / "run", arms, seeds=2, splits=2)


def test_other_sources_serve_all_splits(data, tmp_path):
    transfer = TransferSet(source=StrokeNoise(samples=40))
    arms = {**ARMS, "noise": Arm(objective=Objective(hard_weight=0.0), transfer=transfer)}
    summary = study_of(
        data, tmp_path / "run", arms, seeds=2, splits=2, teacher=trained_teacher()
    ).run()
    assert {arm.name for arm in summary.arms} == {"hard", "soft", "noise"}
