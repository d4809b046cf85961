"""Students as C source code: compiled, and compared with the students themselves."""

import ctypes
import shutil
import subprocess
from functools import partial

import numpy as np
import pytest
import torch
from support.deploy_runs import dataset, labels_dataset, study, values_dataset
from support.tables import table_dataset
from torch import nn

from limbeck import Objective
from limbeck._base.errors import ConfigError, ExportError
from limbeck.cli.main import main
from limbeck.data.dataset import as_float
from limbeck.deploy.c_code import export as export_module
from limbeck.deploy.c_code import export_c
from limbeck.deploy.export import ExportOptions
from limbeck.models import MLP, ConvNet, load_model
from limbeck.models.normalized import Normalized

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


DATASETS = {
    "images": dataset,
    "table": partial(table_dataset, train=120, val=40, test=60),
    "labels": labels_dataset,
    "values": values_dataset,
}


@pytest.fixture(scope="module", params=DATASETS)
def case(request, tmp_path_factory):
    """A dataset and a run on it."""
    data, out = DATASETS[request.param](), tmp_path_factory.mktemp("run") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        objective = None if data.kind.has_classes else Objective()
        study(data, out, partial(MLP, hidden=[6]), seeds=1, objective=objective)
    return data, out


@pytest.fixture(scope="module")
def images_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("images") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        study(dataset(), out, partial(MLP, hidden=[6, 5]), seeds=1)
    return out


def run_in_c(folder, inputs, outputs):
    """Compile the code as a library and run it on inputs ``[N, ...]``."""
    library = folder.parent / f"{folder.name}.so"
    command = ["cc", "-O2", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared"]
    subprocess.run([*command, "-fPIC", "-o", library, folder / "model.c"], check=True)
    model = ctypes.CDLL(str(library))
    rows = np.ascontiguousarray(inputs.reshape(len(inputs), -1))
    results = np.empty((len(inputs), outputs), np.float32)
    for row, result in zip(rows, results, strict=True):
        model.model_run(row.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p))
    return results


@needs_compiler
def test_the_compiled_code_has_the_outputs_of_the_student(case, tmp_path):
    data, run = case
    result = export_c(run, data, ExportOptions(to=tmp_path / "code", arm="soft", seed=0))
    inputs = data.open_test().inputs
    student = load_model(run / "students" / "soft" / "seed0").model
    with torch.no_grad():
        expected = student(as_float(inputs)).numpy()

    outputs = run_in_c(result.folder, inputs.numpy(), expected.shape[1])

    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    assert result.output.startswith("0 of 16 inputs differ")
    assert [stage.name for stage in result.stages] == ["student", "C float"]


@needs_compiler
def test_weights_in_8_bits_take_a_quarter_of_the_memory(images_run, tmp_path):
    data = dataset()
    floats = export_c(images_run, data, ExportOptions(to=tmp_path / "float"))
    options = ExportOptions(to=tmp_path / "int8", int8=True, int8_share=0.05)
    small = export_c(images_run, data, options)
    assert small.stages[-1].name == "C int8"
    assert floats.weight_bytes == 4 * (120 * 6 + 6 + 6 * 5 + 5 + 5 * 3 + 3)
    assert small.weight_bytes == floats.weight_bytes - 3 * (120 * 6 + 6 * 5 + 5 * 3) + 4 * 14
    assert small.buffer_bytes == floats.buffer_bytes == 4 * 11
    outputs = run_in_c(small.folder, data.open_test().inputs.numpy(), 3)
    labels = data.open_test().labels.numpy()
    assert (outputs.argmax(1) != labels).sum() == small.stages[-1].errors


@pytest.mark.slow
@needs_compiler
def test_names_of_classes_are_safe_in_source_code(tmp_path):
    names = ['a"b\\', "*/ int x; /*", "été ??/ %s\n"]
    data, run = dataset(class_names=names), tmp_path / "run"
    study(data, run, partial(MLP, hidden=[4]), seeds=1)
    folder = export_c(run, data, ExportOptions(arm="soft")).folder
    run_in_c(folder, data.open_test().inputs[:1].numpy(), 3)
    library = ctypes.CDLL(str(folder.parent / "c.so"))
    texts = (ctypes.c_char_p * 3).in_dll(library, "model_names")
    assert [text.decode() for text in texts] == names


@needs_compiler
def test_code_that_differs_is_not_written(images_run, tmp_path, monkeypatch):
    """A wrong sign in the code is seen by its test program."""
    source = export_module.SourceCode
    monkeypatch.setattr(
        source,
        "model",
        lambda self, model=source.model: model(self).replace("y[o] + bias", "y[o] - bias"),
    )
    with pytest.raises(ExportError, match=r"failed its test .* nothing was written: \d+ of 16"):
        export_c(images_run, dataset(), ExportOptions(to=tmp_path / "code"))
    assert not (tmp_path / "code").exists()


@pytest.mark.slow
def test_an_earlier_export_is_replaced_only_if_asked_for(images_run, tmp_path):
    options = ExportOptions(to=tmp_path / "code")
    export_c(images_run, dataset(), options)
    with pytest.raises(ConfigError, match="overwrite=true"):
        export_c(images_run, dataset(), options)
    export_c(images_run, dataset(), ExportOptions(to=tmp_path / "code", overwrite=True))


def test_a_folder_with_sources_of_the_user_is_never_replaced(images_run, tmp_path):
    options = ExportOptions(to=tmp_path / "firmware", overwrite=True)
    export_c(images_run, dataset(), options)
    (tmp_path / "firmware" / "main.c").write_text("int main(void) { return 0; }")
    with pytest.raises(ConfigError, match="is not a bundle"):
        export_c(images_run, dataset(), options)
    assert (tmp_path / "firmware" / "main.c").is_file()


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "true"])
def test_code_that_cannot_be_compiled_here_is_written_untested(
    images_run, tmp_path, monkeypatch, compiler
):
    """``true`` compiles nothing, so that there is no program to run."""
    monkeypatch.setattr(export_module, "COMPILER", compiler)
    result = export_c(images_run, dataset(), ExportOptions(to=tmp_path / "code"))
    assert result.output is None
    assert sorted(file.name for file in result.folder.iterdir()) == [
        "README.md",
        "model.c",
        "model.h",
        "test.c",
    ]


class Net(nn.Module):
    """A network whose class limbeck does not know."""

    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(120, classes)

    def forward(self, x):
        return self.layer(x.flatten(1)).tanh()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "message"),
    [(partial(ConvNet, channels=[4], strides=[2]), "dense layers"), (Net, "the student has Net")],
)
def test_other_students_are_refused(student, message, tmp_path):
    run = study(dataset(), tmp_path / "run", student, seeds=1)
    build = (lambda arm: Normalized(Net((1, 12, 10), 3), [0.0], [1.0])) if student is Net else None
    with pytest.raises(ConfigError, match=message):
        export_c(run, dataset(), build=build)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["format=cpp"], "format='cpp' is unknown. Choose one of bundle, c, executorch"),
        (["format=c", "zipped=false"], "zipped= is for bundles, not for format=c. Leave it out."),
    ],
)
def test_settings_that_do_not_apply_are_one_message(settings, message, tmp_path, capsys):
    assert main(["export", str(tmp_path), *settings]) == 2
    assert message in capsys.readouterr().err
