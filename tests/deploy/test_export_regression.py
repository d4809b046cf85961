"""Students of a regression in bundles: values in the units of the targets, without PyTorch."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import torch
from support.bundles import write_sums
from support.deploy_runs import export
from support.regressions import dataset, study

from limbeck._base.errors import ExportError
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError, RuntimeFailure
from limbeck._base.runtime.file_names import CARD, METADATA
from limbeck._base.runtime.predict import predict
from limbeck._base.runtime.verify import verify
from limbeck.deploy.parity import ValueGate, check_stages
from limbeck.models import load_model
from limbeck.run.folder import RunFolder

NAMES = ["length", "width"]


@pytest.fixture(scope="module")
def data():
    return dataset(targets=2, class_names=NAMES)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("regression") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        study(data, out).run()
    return out


@pytest.fixture(scope="module")
def bundle(data, run):
    return export(run, data, arm="soft", seed=0).folder


def predicted(bundle, data, folder, **options):
    """What ``predict`` writes for two samples of the test split and a file that is none."""
    inputs = data.open_test().inputs[:2].numpy()
    for number, x in enumerate(inputs):
        np.save(folder / f"{number}.npy", x)
    (folder / "none.npy").write_bytes(b"none")
    out = io.StringIO()
    files = [folder / "0.npy", folder / "1.npy", folder / "none.npy"]
    assert predict(bundle, files, model="fp32", out=out, **options) == 1
    return out.getvalue()


def values_of_student(data, run):
    student = load_model(RunFolder(run).student("soft", 0)).model
    with torch.no_grad():
        return student(data.open_test().inputs[:2]).numpy()


@pytest.mark.slow
def test_a_bundle_predicts_what_the_student_does(data, run, bundle, tmp_path):
    rows = list(csv.DictReader(io.StringIO(predicted(bundle, data, tmp_path))))
    assert list(rows[0]) == ["file", *NAMES, "error"]
    values = [[float(row[name]) for name in NAMES] for row in rows[:2]]
    np.testing.assert_allclose(values, values_of_student(data, run), rtol=1e-5)
    assert [rows[2][name] for name in NAMES] == ["", ""]
    assert "not an array" in rows[2]["error"]


@pytest.mark.slow
def test_a_row_of_json_has_the_values_by_name(data, run, bundle, tmp_path):
    lines = predicted(bundle, data, tmp_path, table_format="jsonl").splitlines()
    rows = [json.loads(line) for line in lines]
    values = [[row["values"][name] for name in NAMES] for row in rows[:2]]
    np.testing.assert_allclose(values, values_of_student(data, run), rtol=1e-5)
    assert rows[2]["values"] is None


@pytest.mark.slow
def test_verify_measures_differences_in_standard_deviations(bundle):
    assert "standardised values differ by at most" in "\n".join(verify(bundle))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"top": 2}, {"abstain": "0.9"}])
def test_options_of_classes_are_refused(data, bundle, tmp_path, options):
    with pytest.raises(RuntimeFailure, match="this model predicts values"):
        predicted(bundle, data, tmp_path, **options)


@pytest.mark.slow
def test_a_scale_that_does_not_fit_is_refused(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    metadata = json.loads((tmp_path / METADATA).read_text())
    for scale in (None, [1.0], [1.0, 0.0], "x"):
        (tmp_path / METADATA).write_text(json.dumps({**metadata, "scale": scale}))
        write_sums(tmp_path)
        with pytest.raises(BundleError, match="scale should be a number"):
            Bundle(tmp_path)


@pytest.mark.slow
def test_the_model_card_describes_a_regression(bundle):
    card = (bundle / CARD).read_text(encoding="utf-8")
    assert "A regression of 2 targets (length, width)" in card
    assert "| arm | learns from | squared error | R² |" in card
    assert "Confidence" not in card


def test_outputs_that_differ_are_not_exported():
    labels = np.array([[1.0], [2.0], [4.0]], np.float32)
    gate = ValueGate(labels, [2.0], share=0.001)
    reference = labels + 0.5
    assert gate.check_same("onnx fp32", reference + 1e-5, reference).passed
    assert not gate.check_same("onnx fp32", reference + 1e-2, reference).passed
    assert gate.check_similar("onnx int8", reference + 1e-3, reference).passed
    stage = gate.check_similar("onnx int8", reference + 0.1, reference)
    assert stage.max_difference == pytest.approx(0.05, rel=1e-3)
    with pytest.raises(ExportError, match="the squared error grows from"):
        check_stages([stage], 3)
