"""Students as programs of ExecuTorch: the gate, the files and the command line."""

import hashlib
import json

import numpy as np
import pytest
import torch
from support.deploy_runs import labels_dataset, small_mlp, study, values_dataset
from support.executorch_mark import needs_executorch

from limbeck import Objective
from limbeck._base.errors import ConfigError, ExportError
from limbeck.cli.main import main
from limbeck.data.dataset import as_float
from limbeck.deploy.executorch import export as export_module
from limbeck.deploy.executorch.export import export_executorch
from limbeck.deploy.executorch.lowering import Lowering
from limbeck.deploy.export import ExportOptions
from limbeck.models import load_model

FILES = [
    "README.md",
    "SHA256SUMS",
    "executorch.json",
    "golden.npz",
    "labels.json",
    "model.pte",
    "preprocess.json",
]


def student_of(run):
    return load_model(run / "students" / "soft" / "seed0").model.eval()


def outputs_of(model, inputs):
    with torch.no_grad():
        return model(as_float(inputs)).numpy()


@pytest.fixture
def fake(monkeypatch):
    """Replace ExecuTorch by PyTorch, with changes to the outputs of both groups of inputs."""

    def replace(run, change=lambda test, golden: None):
        def run_program(file, *groups):
            assert file.read_bytes() == b"program"
            outputs = [outputs_of(student_of(run), inputs) for inputs in groups]
            change(*outputs)
            return outputs

        monkeypatch.setattr(export_module, "check_executorch_is_installed", lambda: None)
        monkeypatch.setattr(export_module, "lower", lambda *_: Lowering(b"program", ("aten.x",)))
        monkeypatch.setattr(export_module, "run_program", run_program)
        monkeypatch.setattr(export_module, "version", lambda name: "1.2.3")

    return replace


def export(run, data, **options):
    settings = ExportOptions(arm="soft", seed=0, **options)
    return export_executorch(run, data, settings, progress=False)


def test_the_files_describe_the_program(mlp_run, data, tmp_path, fake):
    fake(mlp_run)
    result = export(mlp_run, data, to=tmp_path / "out")
    assert sorted(file.name for file in result.folder.iterdir()) == FILES
    assert [stage.name for stage in result.stages] == ["student", "executorch fp32"]
    assert (result.bytes, result.other_operators) == (7, ("aten.x",))

    lines = (result.folder / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((result.folder / name).read_bytes()).hexdigest() == digest
    assert {line.split("  ")[1] for line in lines} == set(FILES) - {"README.md", "SHA256SUMS"}

    facts = json.loads((result.folder / "executorch.json").read_text())
    assert facts["input"] == {"shape": [1, 1, 12, 10], "dtype": "uint8"}
    assert facts["output"] == {"shape": [1, 3], "dtype": "float32"}
    labels = json.loads((result.folder / "labels.json").read_text())
    assert labels == {"labels": ["square", "cross", "bar"]}
    with np.load(result.folder / "golden.npz") as golden:
        expected = outputs_of(student_of(mlp_run), torch.from_numpy(golden["inputs"]))
        np.testing.assert_allclose(golden["fp32"], expected, rtol=1e-6, atol=1e-6)
    assert 0 < facts["tolerance"] == pytest.approx(1e-4 * max(1, np.abs(expected).max()))
    errors = (outputs_of(student_of(mlp_run), data.open_test().inputs).argmax(1)) != (
        data.open_test().labels.numpy()
    )
    assert (
        f"On the 200 test samples: {errors.sum()} errors."
        in (result.folder / "README.md").read_text()
    )


@pytest.mark.parametrize(
    ("build", "names", "keys"),
    [
        (labels_dataset, "several_labels", {"label_thresholds"}),
        (values_dataset, "targets", {"scale"}),
    ],
)
def test_tasks_other_than_classes_say_what_their_outputs_are(
    build, names, keys, tmp_path, fake, monkeypatch
):
    monkeypatch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
    data = build()
    run = study(data, tmp_path / "run", small_mlp, seeds=1, objective=Objective())
    fake(run)
    folder = export(run, data).folder
    assert folder == run / "executorch"
    assert list(json.loads((folder / "labels.json").read_text())) == [names]
    facts = json.loads((folder / "executorch.json").read_text())
    assert {"label_thresholds", "scale", "temperature"} & set(facts) == keys
    fake(run, shift_golden)
    with pytest.raises(ExportError, match="1 of 16 golden inputs"):
        export(run, data, overwrite=True)


def shift_test(test, golden):
    test[3, 0] += 0.01 * np.abs(test[3]).max() + 0.01


def shift_golden(test, golden):
    golden[2] += 0.01 * (golden.max() - golden.min()) + 0.01


def spoil_golden(test, golden):
    golden[2, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shift_test, "differs at the stage 'executorch fp32', so nothing was written"),
        (shift_golden, "differs on 1 of 16 golden inputs, .*so nothing was written"),
        (spoil_golden, "differs on 1 of 16 golden inputs, by up to nan"),
    ],
)
def test_a_program_with_other_outputs_is_not_written(
    mlp_run, data, tmp_path, fake, change, message
):
    fake(mlp_run, change)
    with pytest.raises(ExportError, match=message):
        export(mlp_run, data, to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_an_earlier_export_as_it_is(mlp_run, data, tmp_path, fake):
    fake(mlp_run)
    folder = export(mlp_run, data, to=tmp_path / "out").folder
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ConfigError, match="overwrite=true"):
        export(mlp_run, data, to=tmp_path / "out")
    fake(mlp_run, shift_test)
    with pytest.raises(ExportError):
        export(mlp_run, data, to=tmp_path / "out", overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    fake(mlp_run)
    export(mlp_run, data, to=tmp_path / "out", overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@needs_executorch
def test_a_damaged_program_is_not_written(mlp_run, data, tmp_path, monkeypatch):
    """Zeros among the weights are no error for the runtime."""
    lower = export_module.lower

    def damage(model, example):
        content = bytearray(lower(model, example).content)
        content[-2000:-1000] = bytes(1000)
        return Lowering(bytes(content), ())

    monkeypatch.setattr(export_module, "lower", damage)
    with pytest.raises(ExportError, match="so nothing was written"):
        export(mlp_run, data, to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_names_a_missing_executorch(mlp_run, monkeypatch, capsys):
    monkeypatch.setattr("limbeck.deploy.executorch.lowering.find_spec", lambda name: None)
    assert main(["export", str(mlp_run), "format=executorch"]) == 6
    message = "error: format=executorch needs the package executorch, which is not installed: "
    assert capsys.readouterr().err.strip() == f"{message}pip install executorch."


def test_settings_of_bundles_do_not_apply(tmp_path, capsys):
    assert main(["export", str(tmp_path), "format=executorch", "zipped=false"]) == 2
    assert "zipped= is for bundles, not for format=executorch." in capsys.readouterr().err
