"""A bundle holds what a device needs, and nothing of this machine or of the data."""

import io
import re
import socket
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bundles import LABELS, images, linear_model, table_model
from support.deploy_runs import dataset, export

from limbeck._base import runtime
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.predict import predict
from limbeck.data import Dataset, TableColumns
from limbeck.deploy.bundle import BundleContents, files_in, golden_inputs, write_bundle
from limbeck.deploy.preprocess import describe_inputs
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary

LOCAL_NAMES = [str(Path.home()), "site-packages", "/tmp", str(Path(__file__).parents[2])]
if len(socket.gethostname()) > 5:  # a shorter name occurs in arbitrary bytes
    LOCAL_NAMES.append(socket.gethostname())


@pytest.mark.parametrize("kind", ["mlp", pytest.param("conv", marks=pytest.mark.slow)])
def test_the_bundle_reproduces_the_recorded_predictions(kind, request):
    run = request.getfixturevalue(f"{kind}_run")
    bundle = Bundle(request.getfixturevalue(f"{kind}_bundle"))
    data = request.getfixturevalue("data" if kind == "mlp" else "conv_data")
    inputs = data.open_test().inputs.numpy()
    arm, seed = re.search(r"(hard|soft), seed (\d)", bundle.name).groups()
    with np.load(run / "predictions.npz") as arrays:
        recorded, labels = arrays[f"students/{arm}/seed{seed}"], arrays["labels"]
    errors = int((recorded.argmax(1) != labels).sum())
    fp32 = bundle.load("fp32").logits(inputs)
    assert np.abs(fp32 - recorded).max() < 1e-4
    assert (fp32.argmax(1) != labels).sum() == errors
    int8 = bundle.load("int8").logits(inputs)
    assert np.abs(int8 - recorded).max() > 0
    assert abs(int((int8.argmax(1) != labels).sum()) - errors) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_the_bundle_holds_the_best_arm_on_validation_also_if_it_is_the_control(kind, request):
    summary = read_summary(RunFolder(request.getfixturevalue(f"{kind}_run")))
    errors = {arm.name: sum(seed.val.errors for seed in arm.seeds) for arm in summary.arms}
    bundle = Bundle(request.getfixturevalue(f"{kind}_bundle"))
    arm = re.search(r"(hard|soft), seed", bundle.name)[1]
    assert errors[arm] == min(errors.values())
    card = (request.getfixturevalue(f"{kind}_bundle") / "model_card.md").read_text()
    assert ("Arm hard learned from labels alone" in card) == (arm == "hard")


def test_the_range_of_deep_training_images_is_kept(tmp_path):
    data = dataset()
    data.value_range = (0.0, 4095.0)
    contents = BundleContents(
        name="deep",
        models={"fp32": linear_model().SerializeToString()},
        class_names=LABELS,
        golden=images(2),
        temperature=1.0,
        preprocess=describe_inputs(data),
        default="fp32",
        thresholds={"fp32": {"1%": 0.9}},
        card="",
    )
    (tmp_path / "bundle").mkdir()
    bundle = Bundle(write_bundle(tmp_path / "bundle", contents))
    assert bundle.value_range == [0, 4095]
    pixels = np.arange(120, dtype=np.uint16).reshape(12, 10) * 16
    Image.fromarray(pixels).save(tmp_path / "a.png")
    result = bundle.array(tmp_path / "a.png")[0]
    np.testing.assert_array_equal(result, np.rint(pixels / 4095 * 255))


def test_the_column_of_the_names_of_rows_is_kept(tmp_path):
    x, y, columns = np.zeros((8, 1), np.float32), np.arange(8) % 3, TableColumns(("age",), (None,))
    data = Dataset.from_arrays(x, y, x, y, columns=columns)
    data.id_column = "customer"
    contents = BundleContents(
        name="rows",
        models={"fp32": table_model(np.ones((1, 3), np.float32)).SerializeToString()},
        class_names=LABELS,
        golden=np.zeros((2, 1), np.float32),
        temperature=1.0,
        preprocess=describe_inputs(data),
        default="fp32",
        thresholds={},
        card="",
    )
    assert Bundle(write_bundle(tmp_path / "bundle", contents)).id_column == "customer"
    (tmp_path / "rows.csv").write_text("age,customer\n1,Ann\n")
    out = io.StringIO()
    assert predict(tmp_path / "bundle", [tmp_path / "rows.csv"], out=out) == 0
    assert ",Ann," in out.getvalue()


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_bundle_contains_nothing_about_this_machine(kind, request):
    folder = request.getfixturevalue(f"{kind}_bundle")
    for file in files_in(folder):
        names = [*LOCAL_NAMES, ".py"] if file.suffix == ".onnx" else LOCAL_NAMES
        content = file.read_bytes()
        assert not [name for name in names if name.encode() in content], file.name
    archive = zipfile.ZipFile(folder.with_name("out.zip"))
    assert all("limbeck-" not in name for name in archive.namelist())


def test_sha256sum_can_check_a_bundle(mlp_bundle):
    process = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=mlp_bundle, capture_output=True, text=True
    )
    assert process.returncode == 0
    modules = len(list(Path(runtime.__file__).parent.glob("*.py")))
    assert process.stdout.count("OK") == 8 + modules


def test_the_same_student_gives_the_same_zip_file(data, mlp_run, mlp_export, tmp_path):
    again = export(mlp_run, data, to=tmp_path / "out")
    assert again.archive.read_bytes() == mlp_export.archive.read_bytes()


def test_golden_inputs_are_not_samples_of_the_dataset(mlp_bundle, data):
    golden = Bundle(mlp_bundle).golden()["inputs"]
    samples = set()
    for split in (data.train, data.val, data.open_test()):
        samples |= {row.numpy().tobytes() for row in split.inputs}
    assert golden.shape == (16, 1, 12, 10)
    assert len({row.tobytes() for row in golden}) == 16
    assert not samples & {row.tobytes() for row in golden}


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 6, 6)])
def test_golden_inputs_of_floats_have_the_statistics_of_the_training_inputs(shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (60, *shape)).astype(np.float32), np.arange(60) % 2
    golden = golden_inputs(Dataset.from_arrays(x, y, x, y))
    assert golden.shape == (16, *shape)
    assert golden.dtype == np.float32
    assert abs(golden.mean() - 3) < 1.5
