"""The export writes a bundle only if it answers like the student of the run."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from support.deploy_runs import dataset, export, images, small_mlp, study
from support.run_files import manifest
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput

from limbeck._base.errors import (
    ConfigError,
    DataError,
    ExportError,
    TeacherError,
    UntrustedFileError,
)
from limbeck._base.files import write_json
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.predict import predict
from limbeck._base.runtime.verify import verify
from limbeck.data import Dataset, TransferSet
from limbeck.data.dataset import as_float
from limbeck.deploy.guarantees import find_thresholds
from limbeck.deploy.onnx_export import to_onnx
from limbeck.models import MLP, Normalized, load_model
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary


def test_the_stages_are_reported(mlp_export):
    assert (mlp_export.arm, mlp_export.samples) == ("soft", 200)
    assert [stage.name for stage in mlp_export.stages] == ["student", "onnx fp32", "onnx int8"]
    assert "errors of 200" in str(mlp_export)


def test_a_named_student_replaces_an_earlier_bundle_on_demand(data, mlp_run, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "SHA256SUMS").write_text("")
    with pytest.raises(ConfigError, match="already exists"):
        export(mlp_run, data, to=target)
    result = export(mlp_run, data, to=target, overwrite=True, arm="hard", seed=1, int8=False)
    assert (result.arm, result.seed) == ("hard", 1)
    assert len(verify(target)) == 2


@pytest.mark.slow
def test_arrays_that_are_not_images_are_exported(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(0, 2, 300)
    x[:, 0] += 4 * y
    data = Dataset.from_arrays(x[:200], y[:200], x[200:], y[200:], name="numbers")
    run = study(data, tmp_path / "run", lambda **shape: MLP(**shape, hidden=[4]), seeds=1)
    bundle = export(run, data, to=tmp_path / "out").folder
    assert len(verify(bundle)) == 3
    np.save(tmp_path / "a.npy", x[250])
    np.save(tmp_path / "b.npy", x[250][:5])
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object))
    with (tmp_path / "out.csv").open("w") as out:
        assert predict(bundle, [tmp_path / f"{n}.npy" for n in "abc"], out=out) == 2
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[1].split(",")[1] in "01"
    assert "shape (5,)" in rows[2]


@pytest.mark.slow
def test_a_class_of_the_user_is_exported(data, tmp_path):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(120, 3)

        def forward(self, x):
            return ImageClassifierOutput(logits=self.layer(x.flatten(1)))

    def build(arm):
        return Normalized(Linear(), *data.statistics)

    run = study(data, tmp_path / "run", Linear, seeds=1)
    result = export(run, data, to=tmp_path / "out", build=build, int8=False)
    assert len(verify(result.folder)) == 2
    with pytest.raises(ConfigError, match="build should take the name of an arm"):
        export(run, data, to=tmp_path / "other", build=Linear)
    with pytest.raises(TeacherError, match=r"names your own class.*pass build="):
        export(run, data, to=tmp_path / "other")


def test_constants_fitted_on_the_validation_split_leave_no_guarantee(data, mlp_run, mlp_export):
    summary = read_summary(RunFolder(mlp_run))
    models = {"fp32": (mlp_export.folder / "model.onnx").read_bytes()}
    inputs = data.train.inputs
    answers = Bundle(mlp_export.folder).load("fp32").logits(inputs.numpy()).argmax(1)
    val = SimpleNamespace(inputs=inputs, labels=torch.tensor(answers))
    perfect = SimpleNamespace(val=val, class_names=data.class_names, padding=None)
    plain = find_thresholds(models, perfect, 1.0, summary)
    assert plain["fp32"]["5%"] == 0.0
    assert find_thresholds(models, perfect, 1.0, summary, "kappa") == {"fp32": {}}


def test_the_guarantee_is_corrected_for_all_students_of_the_run(
    data, mlp_run, tmp_path, monkeypatch
):
    """A student that the user names may have been suggested by the validation split."""
    candidates = []

    def record(*arguments, **options):
        candidates.append(options["candidates"])

    monkeypatch.setattr("limbeck.deploy.guarantees.safe_threshold", record)
    export(mlp_run, data, to=tmp_path / "out", arm="hard", seed=1, int8=False)
    summary = read_summary(RunFolder(mlp_run))
    assert set(candidates) == {sum(len(arm.seeds) for arm in summary.arms)}


@pytest.mark.slow
def test_constants_of_a_student_are_exported(tmp_path):
    data = dataset(name="adjusted")
    transfer = TransferSet(without=["bar"])
    run = study(data, tmp_path / "run", small_mlp, seeds=1, bias="prior", transfer=transfer)
    result = export(run, data, to=tmp_path / "out", adjusted="prior", int8=False)
    student = load_model(run / "students" / result.arm / "seed0" / "prior").model.eval()
    test = data.open_test()
    expected = student(as_float(test.inputs)).detach().numpy()
    logits = Bundle(result.folder).load().logits(test.inputs.numpy())
    assert np.abs(logits - expected).max() < 1e-4
    errors = int((logits.argmax(1) != test.labels.numpy()).sum())
    card = (result.folder / "model_card.md").read_text()
    assert f"makes {errors:,} errors on" in card
    assert "Constants fitted after training" in card
    with pytest.raises(ConfigError, match="no students with adjusted=kappa"):
        export(run, data, to=tmp_path / "other", adjusted="kappa")
    with pytest.raises(ConfigError, match=r"adjusted='\.\./\.\./hard/seed0' is unknown"):
        export(run, data, to=tmp_path / "other", adjusted="../../hard/seed0")


def round_weights(model, rounding):
    """Apply a function to the weight matrices of an ONNX model."""
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 2:
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounding(values), tensor.name))
    return model


def test_a_model_that_differs_is_not_written(data, mlp_run, tmp_path, monkeypatch):
    def imprecise(model, example):
        return round_weights(to_onnx(model, example), lambda values: np.round(values, 1))

    monkeypatch.setattr("limbeck.deploy.export.to_onnx", imprecise)
    with pytest.raises(
        ExportError, match="at the stage 'onnx fp32', so nothing was written"
    ) as error:
        export(mlp_run, data, to=tmp_path / "out")
    assert error.value.exit_code == 8
    assert "onnx int8" not in str(error.value)
    assert re.search(r"student .* ok\n", str(error.value))
    assert list(tmp_path.iterdir()) == []


def coarse(model, calibration, folder, float_nodes=()):
    """Quantise to one bit."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return round_weights(copy, np.sign)


@pytest.mark.slow
def test_a_bundle_names_the_layers_that_stay_in_float32(data, mlp_run, tmp_path, monkeypatch):
    numbers = []

    def record(answers, rate, *, candidates):
        numbers.append(candidates)

    monkeypatch.setattr("limbeck.deploy.guarantees.safe_threshold", record)
    monkeypatch.setattr("limbeck.deploy.int8.quantize", coarse)  # of the whole model alone
    monkeypatch.setattr("limbeck.deploy.int8.MAX_GAIN", 100.0)  # as the model is tiny
    result = export(mlp_run, data, to=tmp_path / "out")
    assert [stage.name for stage in result.stages] == ["student", "onnx fp32", "onnx int8"]
    assert "1 of 2 layers stay in float32 (net.layers." in result.note
    assert len(verify(result.folder)) == 3
    (name,) = json.loads((result.folder / "bundle.json").read_text())["float_layers"]
    card = (result.folder / "model_card.md").read_text()
    assert f"1 of 2 layers stay in float32: {name}." in card
    assert "| 8 bits with float32 layers |" in card
    assert set(numbers) == {4}  # students; one 8-bit model was compared on validation


def test_the_guarantee_is_corrected_for_all_8_bit_models_that_were_compared(
    data, mlp_run, mlp_export, monkeypatch
):
    numbers = []

    def record(answers, rate, *, candidates):
        numbers.append(candidates)

    monkeypatch.setattr("limbeck.deploy.guarantees.safe_threshold", record)
    content = (mlp_export.folder / "model.onnx").read_bytes()
    summary = read_summary(RunFolder(mlp_run))
    find_thresholds({"fp32": content}, data, 1.0, summary, int8_models=3)
    find_thresholds({"int8": content}, data, 1.0, summary, int8_models=3)
    assert sorted(set(numbers)) == [4, 12]


@pytest.mark.slow
def test_an_8_bit_model_with_too_many_errors_is_not_written(data, mlp_run, tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.deploy.int8.quantize", coarse)
    monkeypatch.setattr("limbeck.deploy.mixed_precision.quantize", coarse)
    with pytest.raises(ExportError, match=r"stage 'onnx int8'.*Leave it out with int8=false"):
        export(mlp_run, data, to=tmp_path / "out", int8=True)
    assert list(tmp_path.iterdir()) == []
    result = export(mlp_run, data, to=tmp_path / "out")
    assert "8-bit model makes too many additional errors" in result.note
    assert [stage.name for stage in result.stages] == ["student", "onnx fp32"]
    bundle = Bundle(result.folder)
    assert bundle.kinds == ["fp32"]
    assert bundle.default_kind == "fp32"


def test_a_student_that_differs_from_its_predictions_is_not_exported(data, mlp_run, tmp_path):
    run = Path(shutil.copytree(mlp_run, tmp_path / "run"))
    without_list = {**manifest(run)}
    del without_list["files"]  # as of an earlier version, so that the predictions may differ
    write_json(run / "manifest.json", without_list)
    with np.load(run / "predictions.npz") as arrays:
        shifted = {
            name: values + 0.5 if name.startswith("students") else values
            for name, values in arrays.items()
        }
    np.savez(run / "predictions.npz", **shifted)
    with pytest.raises(ExportError, match="at the stage 'student'"):
        export(run, data, to=tmp_path / "out")
    (run / "predictions.npz").unlink()
    with pytest.raises(UntrustedFileError, match="is missing, damaged or lacks"):
        export(run, data, to=tmp_path / "out")


def test_another_dataset_is_refused(mlp_run, tmp_path):
    x, y = images(400, 5)
    other = Dataset.from_arrays(x, y, x, y, class_names=["square", "cross", "bar"])
    with pytest.raises(DataError, match=r"the dataset differs from the one the run used.*data\.$"):
        export(mlp_run, other, to=tmp_path / "out")
    other.class_names = ["1", "2", "10"]
    with pytest.raises(DataError, match=r"the dataset differs.*class_order='text'"):
        export(mlp_run, other, to=tmp_path / "out")


def test_a_share_above_1_is_refused(mlp_run, data):
    with pytest.raises(ConfigError, match="int8_share=2 should be between 0 and 1"):
        export(mlp_run, data, int8_share=2)
