"""``limbeck export``, and ``verify`` and ``predict`` on its bundle."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import call, run
from support.executorch_mark import needs_executorch
from support.run_files import copy_run

from limbeck.cli.export import folder_size
from limbeck.cli.main import main
from limbeck.data import digits
from limbeck.deploy.bundle import files_in


@pytest.fixture(scope="module")
def bundle(quick_run):
    code, out, err = call("export", "run", cwd=quick_run.parent)
    assert code == 0, err
    assert "0.0 MB" not in out
    assert "onnx int8" in out
    assert "run.py verify" in out
    return quick_run / "bundle"


def test_an_exported_student_can_be_verified_and_used(bundle, tmp_path):
    code, out, _ = run("verify", str(bundle), cwd=tmp_path)
    assert code == 0
    files = len(files_in(bundle)) - 2  # without the card and the checksums
    assert f"{files} files are unchanged" in out
    test = digits().open_test()
    images = ["0.png", "1.png", "2.png"]
    for row, name in enumerate(images):
        Image.fromarray(test.inputs[row, 0].numpy()).save(tmp_path / name)
    code, out, err = run("predict", str(bundle), *images, "--format", "jsonl", cwd=tmp_path)
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in rows] == images
    assert {row["label"] for row in rows} <= set("0123456789")
    code, _, err = run("predict", str(bundle), "missing.png", cwd=tmp_path)
    assert code == 3


@needs_executorch
def test_a_program_of_executorch_has_the_outputs_of_the_student(quick_run):
    from executorch.runtime import Runtime

    settings = ("format=executorch", "arm=soft", "seed=1", "overwrite=true")
    code, out, err = run("export", "run", *settings, cwd=quick_run.parent)
    assert code == 0, err
    assert "executorch fp32" in out
    program = Runtime.get().load_program(quick_run / "executorch" / "model.pte")
    method, inputs = program.load_method("forward"), digits().open_test().inputs
    outputs = torch.cat([method.execute([row])[0] for row in inputs.split(1)]).numpy()
    with np.load(quick_run / "predictions.npz") as arrays:
        expected = arrays["students/soft/seed1"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_the_zip_file_holds_the_bundle(bundle):
    names = zipfile.ZipFile(bundle.with_name("bundle.zip")).namelist()
    assert sorted(names) == sorted(
        file.relative_to(bundle.parent).as_posix() for file in files_in(bundle)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["arn=soft"], "Unknown setting arn=soft. Did you mean arm=soft?"),
        (["seed=x"], "seed=x should be a whole number"),
        (["int8=maybe"], "int8=maybe should be true or false"),
        (["seed=true"], "should be a whole number"),
        (["soft"], "Unknown setting soft"),
        (["to="], "to= has no value"),
        (["seed=1", "seed=0"], "seed is given twice"),
        (["int8_share=much"], "should be a number"),
    ],
)
def test_wrong_settings_are_refused(settings, message, capsys):
    assert main(["export", "run", *settings]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_bundle_is_not_replaced_by_accident(quick_run, bundle, capsys):
    assert main(["export", str(quick_run)]) == 2
    assert "already exists" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("verb", ["export", "cost", "demo"])
def test_an_unquick_run_run_is_refused(tmp_path, capsys, verb):
    assert main([verb, str(tmp_path)]) == 2
    assert "is missing" in capsys.readouterr().err


def test_a_run_made_in_python_is_exported_in_python(tmp_path, quick_run, capsys):
    copy = copy_run(quick_run, tmp_path / "run")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"overrides": None}))
    assert main(["export", str(copy), "to=x"]) == 2
    assert "such as limbeck.deploy.export.export." in " ".join(capsys.readouterr().err.split())


def test_the_size_of_a_bundle_is_that_of_all_its_files(tmp_path):
    (tmp_path / "runtime").mkdir()
    (tmp_path / "model.onnx").write_bytes(bytes(1000))
    (tmp_path / "runtime" / "bench.py").write_bytes(bytes(234))
    assert folder_size(tmp_path) == 1234
