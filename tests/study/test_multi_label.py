"""Several labels from the data to the bundle: control, cohorts, store, verdict and prediction."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from support.deploy_runs import export
from support.regressions import study

from limbeck._base.errors import ConfigError, DataError, TeacherError
from limbeck._base.runtime.errors import RuntimeFailure
from limbeck._base.runtime.file_names import CARD
from limbeck._base.runtime.predict import predict
from limbeck.data import Dataset, digit_pairs
from limbeck.evaluation.labels import best_thresholds, wrong_labels
from limbeck.models import load_model
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.teacher.signal import LABELS, LiveTeacher

NAMES = ["urgent", "complaint", "spam"]


def samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    return x, torch.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 1, x[:, 3] < -0.5], 1)


@pytest.fixture(scope="module")
def data():
    return Dataset.from_arrays(
        *samples(160, 0), *samples(60, 1), task="multi_label", class_names=NAMES, val=40
    )


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels") / "run"
    study(data, folder).run()
    return RunFolder(folder)


def test_the_summary_counts_the_wrong_labels_of_the_saved_students(data, run):
    summary, test = read_summary(run), data.open_test()
    assert (summary.measure, summary.data.task) == ("label_errors", "multi_label")
    assert summary.classes == tuple(NAMES)
    for arm in summary.arms:
        for seed in arm.seeds:
            with torch.no_grad():
                logits = load_model(run.student(arm.name, seed.seed)).model(test.inputs)
            assert seed.test.label_errors == int(wrong_labels(logits, test.labels).sum())
    comparison = summary.main_comparison
    mean = summary.arm("soft").mean.label_errors - summary.arm("hard").mean.label_errors
    assert comparison.delta_label_errors.mean == pytest.approx(mean)


def test_the_report_has_the_words_of_labels(run):
    page = run.report.read_text(encoding="utf-8")
    assert "wrong labels" in page
    assert "Mean average precision" in page


@pytest.mark.slow
def test_a_bundle_predicts_the_labels_that_reach_their_threshold(data, run, tmp_path):
    bundle = export(run.path, data, arm="soft", seed=0, to=tmp_path / "bundle").folder
    student = load_model(run.student("soft", 0)).model
    with torch.no_grad():
        logits, val = student(data.open_test().inputs[:5]), student(data.val.inputs)
    applies = logits > best_thresholds(val, data.val.labels)
    files = []
    for number, x in enumerate(data.open_test().inputs[:5].numpy()):
        files.append(tmp_path / f"{number}.npy")
        np.save(files[-1], x)
    out = io.StringIO()
    assert predict(bundle, files, model="fp32", out=out) == 0
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    for row, labels, z in zip(rows, applies, logits, strict=True):
        assert row["labels"] == "; ".join(np.array(NAMES)[labels.numpy()])
        p = [float(row[name]) for name in NAMES]
        assert p == pytest.approx(z.sigmoid().tolist(), abs=1e-4)
    out = io.StringIO()
    predict(bundle, files[:1], model="fp32", table_format="jsonl", out=out)
    assert list(json.loads(out.getvalue())) == ["file", "labels", "confidences"]
    with pytest.raises(RuntimeFailure, match="--top is for classes"):
        predict(bundle, files, top=2)
    assert "A model of 3 labels" in (bundle / CARD).read_text(encoding="utf-8")


def test_the_members_of_a_teacher_are_averaged_by_probability():
    z = [torch.tensor([[2.0, -50.0]]), torch.tensor([[-1.0, -60.0]])]
    models = [torch.nn.Linear(1, 2) for _ in z]
    for model, value in zip(models, z, strict=True):
        torch.nn.init.zeros_(model.weight)
        model.bias.data = value[0]
    combined = LiveTeacher(models, combine=LABELS).answer(torch.zeros(1, 1)).double()
    p = torch.cat(z).double().sigmoid().mean(0, keepdim=True)
    torch.testing.assert_close(combined, torch.logit(p), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_estimator_of_several_outputs_teaches(data, tmp_path):
    x, y = data.train.inputs.numpy(), data.train.labels.numpy().astype(int)
    estimator = MultiOutputClassifier(LogisticRegression()).fit(x, y)
    summary = study(data, tmp_path / "run", teacher=estimator).run()
    test = data.open_test()
    wrong = (estimator.predict(test.inputs.numpy()) != test.labels.numpy()).sum()
    assert summary.teacher.test.label_errors == wrong


def test_probabilities_are_no_logits(data, tmp_path):
    with pytest.raises(TeacherError, match="are probabilities, but logits are expected"):
        study(data, tmp_path / "run", teacher=lambda x: torch.rand(len(x), 3)).run()


def test_labels_are_zero_or_one():
    x, y = samples(20, 0)
    y = y.float()
    y[7, 1] = 2
    with pytest.raises(DataError, match=r"should be 0 or 1, .* those of sample 7 are \[.*2\.0"):
        Dataset.from_arrays(x, y, x, y, task="multi_label")
    with pytest.raises(DataError, match="task='multi_label'"):
        Dataset.from_arrays(x, y.long(), x, y.long(), class_names=NAMES)


def test_settings_of_classes_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match=r"bias=prior is for classifiers"):
        study(data, tmp_path / "run", bias="prior").run()


def test_pairs_of_digits_have_the_labels_of_both():
    pairs = digit_pairs(train=50, val=20, test=30)
    assert pairs.shape == (1, 8, 16)
    assert {1, 2} >= set(pairs.train.labels.sum(1).tolist())
    assert (len(pairs.train), len(pairs.val), pairs.test_size) == (50, 20, 30)
    left = {image[..., :8].numpy().tobytes() for image in pairs.train.inputs}
    assert not left & {image[..., :8].numpy().tobytes() for image in pairs.open_test().inputs}
