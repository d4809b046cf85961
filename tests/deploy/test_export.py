"""From a run to a bundle: the same answers, nothing of this machine, and nothing at all where an
answer differs.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from support.deploy_runs import dataset, images, study
from torch import nn

from limbeck._base import bundle_runtime as runtime
from limbeck._base.errors import ConfigError, DataError, ExportError, UntrustedFileError
from limbeck.data import Dataset, TransferSet
from limbeck.data.dataset import as_float
from limbeck.deploy import onnx_export
from limbeck.deploy.bundle import golden_inputs
from limbeck.deploy.calibration import coverage, fit_temperature
from limbeck.deploy.choose import choose_student
from limbeck.deploy.export import export
from limbeck.models import MLP, ConvNet, Graded, Normalized, TorchvisionModel, load_model

PLACES = [str(Path.home()), "site-packages", "/tmp", str(Path(__file__).parents[2]), ".py"]
PLACES += [socket.gethostname()] * (len(socket.gethostname()) > 5)  # a short name is in any bytes


def onnx_answers(model, inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"inputs": inputs})[0]


def torch_answers(model, inputs):
    with torch.no_grad():
        return model.eval()(as_float(torch.from_numpy(inputs))).numpy()


# Models --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        lambda: MLP((3, 16, 16), 5, hidden=[20, 10], dropout=0.5, input_dropout=0.2, max_norm=2.0),
        lambda: Normalized(
            ConvNet((3, 16, 16), 5, channels=[4, 6], strides=[1, 2]),
            [0.4, 0.5, 0.6],
            [0.2, 0.3, 0.1],
        ),
        lambda: TorchvisionModel((3, 16, 16), 5, name="mobilenet_v3_small"),
        lambda: Graded(MLP((3, 16, 16), 1, hidden=[8]), 5),
    ],
    ids=["mlp", "convnet", "mobilenet", "graded"],
)
def test_models_answer_as_in_pytorch_for_any_number_of_inputs(model):
    torch.manual_seed(1)
    net = model()
    inputs = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    exported = onnx_export.to_onnx(net, torch.from_numpy(inputs))
    for count in (1, 2, 9):
        found = onnx_answers(exported, inputs[:count])
        assert found.shape == (count, 5)
        assert np.abs(found - torch_answers(net, inputs[:count])).max() < 1e-4


def test_floats_go_in_as_they_are():
    net = MLP((7,), 3, hidden=[5])
    inputs = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    exported = onnx_export.to_onnx(net, torch.from_numpy(inputs))
    assert np.abs(onnx_answers(exported, inputs) - torch_answers(net, inputs)).max() < 1e-5


def test_what_onnx_cannot_express_is_said():
    class Odd(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * (1 if x.sum() > 0 else 2)

    with pytest.raises(ConfigError, match="cannot be exported to ONNX: "):
        onnx_export.to_onnx(Odd(), torch.zeros(2, 1, 4, 4))


def test_quantisation_is_static_for_convolutions_and_dynamic_without(mlp_bundle, conv_bundle):
    kinds = [
        {node.op_type for node in onnx.load(b / "model.int8.onnx").graph.node}
        for b in (mlp_bundle, conv_bundle)
    ]
    assert "DynamicQuantizeLinear" in kinds[0]
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds[1]
    assert "DynamicQuantizeLinear" not in kinds[1]


def test_large_models_shrink(tmp_path):
    net = MLP((1, 28, 28), 10, hidden=[200])
    inputs = np.random.default_rng(0).integers(0, 256, (32, 1, 28, 28), dtype=np.uint8)
    exported = onnx_export.to_onnx(net, torch.from_numpy(inputs))
    small = onnx_export.quantize(exported, inputs, tmp_path)
    assert small.ByteSize() < 0.3 * exported.ByteSize()


# Bundles --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_the_bundle_answers_as_the_run_has_recorded(kind, request):
    run, folder = request.getfixturevalue(f"{kind}_run"), request.getfixturevalue(f"{kind}_bundle")
    data = request.getfixturevalue("data" if kind == "mlp" else "conv_data")
    bundle = runtime.Bundle(folder)
    seed = re.search(r"soft, seed (\d)", bundle.name)[1]
    with np.load(run / "predictions.npz") as kept:
        logits, labels = kept[f"students/soft/seed{seed}"], kept["labels"]
    found = bundle.load("fp32").logits(data.open_test().inputs.numpy())
    assert np.abs(found - logits).max() < 1e-4
    assert (found.argmax(1) != labels).sum() == (logits.argmax(1) != labels).sum()
    eight = bundle.load("int8").logits(data.open_test().inputs.numpy())
    assert np.abs(eight - logits).max() > 0
    assert (
        abs(int((eight.argmax(1) != labels).sum()) - int((logits.argmax(1) != labels).sum())) <= 5
    )


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_bundle_tells_nothing_of_this_machine(kind, request, tmp_path):
    folder = request.getfixturevalue(f"{kind}_bundle")
    for file in folder.iterdir():
        if file.name == "run.py":
            continue
        content = file.read_bytes()
        places = [place for place in PLACES if place != ".py" or file.suffix == ".onnx"]
        assert not [place for place in places if place.encode() in content], file.name
    assert all(
        "limbeck-" not in entry for entry in zipfile.ZipFile(folder.with_name("out.zip")).namelist()
    )


def test_sums_are_what_sha256sum_reads(mlp_bundle):
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=mlp_bundle, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.count("OK") == 7


def test_the_same_student_gives_the_same_zip_file(data, mlp_run, tmp_path):
    first, second = (
        export(mlp_run, data, to=tmp_path / n / "out", progress=False).zipped for n in ("a", "b")
    )
    assert first.read_bytes() == second.read_bytes()


def test_no_image_of_the_data_is_in_a_bundle(mlp_bundle, data):
    golden = runtime.Bundle(mlp_bundle).golden()["inputs"]
    own = {
        row.numpy().tobytes()
        for split in (data.train, data.val, data.open_test())
        for row in split.inputs
    }
    assert golden.shape == (16, 1, 12, 10)
    assert len({row.tobytes() for row in golden}) == 16
    assert not own & {row.tobytes() for row in golden}


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 6, 6)])
def test_golden_inputs_of_any_kind(shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (60, *shape)).astype(np.float32), np.arange(60) % 2
    found = golden_inputs(Dataset.from_arrays(x, y, x, y))
    assert found.shape == (16, *shape)
    assert found.dtype == np.float32
    assert abs(found.mean() - 3) < 1.5


def test_arrays_that_are_no_images(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(0, 2, 300)
    x[:, 0] += 4 * y
    data = Dataset.from_arrays(x[:200], y[:200], x[200:], y[200:], name="numbers")
    run = study(data, tmp_path / "run", lambda **shape: MLP(**shape, hidden=[4]), seeds=1)
    bundle = export(run, data, to=tmp_path / "out", progress=False).folder
    assert len(runtime.verify(bundle)) == 3
    np.save(tmp_path / "a.npy", x[250])
    np.save(tmp_path / "b.npy", x[250][:5])
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object))
    with (tmp_path / "out.csv").open("w") as out:
        assert runtime.predict(bundle, [tmp_path / f"{n}.npy" for n in "abc"], out=out) == 2
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[1].split(",")[1] in "01"
    assert "shape (5,); (6,) was expected" in rows[2]
    assert "no array in NumPy's format" in rows[3]


def test_the_model_card_is_filled_in(mlp_bundle, mlp_run):
    card = (mlp_bundle / "model_card.md").read_text()
    summary = json.loads((mlp_run / "summary.json").read_text())
    for said in (
        "# Model card: study, soft",
        "square, cross, bar",
        "120-12-3",
        "temperature 3",
        "| onnx int8 |",
        "TODO",
    ):
        assert said in card, said
    assert summary["teacher"]["name"] in card
    assert f"{summary['data']['train']:,} samples to train" in card
    assert "**soft**" in card


# The gate on the way ------------------------------------------------------------------------------


@pytest.fixture
def spoilt(monkeypatch):
    """An exporter that loses something on the way."""
    plain = onnx_export.to_onnx

    def spoil(model, example):
        exported = plain(model, example)
        for tensor in exported.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.ndim == 2:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.round(values, 1), tensor.name))
        return exported

    monkeypatch.setattr("limbeck.deploy.export.to_onnx", spoil)


def test_a_model_that_differs_is_not_written(data, mlp_run, tmp_path, spoilt):
    with pytest.raises(
        ExportError, match="at the stage 'onnx fp32', so nothing was written"
    ) as error:
        export(mlp_run, data, to=tmp_path / "out", progress=False)
    assert error.value.exit_code == 8
    assert "onnx int8" not in str(error.value)
    assert re.search(r"student .* ok\n", str(error.value))
    assert list(tmp_path.iterdir()) == []


def test_eight_bits_that_cost_too_much_are_not_written(data, mlp_run, tmp_path, monkeypatch):
    def noisy(exported, calibration, folder):
        coarse = onnx.ModelProto()
        coarse.CopyFrom(exported)
        for tensor in coarse.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.ndim == 2:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.sign(values), tensor.name))
        return coarse

    def broken(*args, **settings):
        raise ValueError("no such operator")

    with monkeypatch.context() as patch:
        patch.setattr("limbeck.deploy.onnx_export._quantize", broken)
        with pytest.raises(
            ConfigError, match=r"cannot be brought to 8 bits: ValueError: no such.*int8=false"
        ):
            export(mlp_run, data, to=tmp_path / "out", progress=False)
    monkeypatch.setattr("limbeck.deploy.export.quantize", noisy)
    with pytest.raises(ExportError, match=r"stage 'onnx int8'.*Leave it out with int8=false"):
        export(mlp_run, data, to=tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []
    made = export(mlp_run, data, to=tmp_path / "out", int8=False, progress=False)
    assert runtime.Bundle(made.folder).kinds == ["fp32"]


def test_predictions_that_are_not_the_students_stop_the_export(data, mlp_run, tmp_path):
    run = Path(shutil.copytree(mlp_run, tmp_path / "run"))
    with np.load(run / "predictions.npz") as kept:
        arrays = dict(kept)
    arrays = {
        name: value + (0.5 if name.startswith("students") else 0) for name, value in arrays.items()
    }
    np.savez(run / "predictions.npz", **arrays)
    with pytest.raises(ExportError, match="at the stage 'student'"):
        export(run, data, to=tmp_path / "out", progress=False)
    (run / "predictions.npz").unlink()
    with pytest.raises(UntrustedFileError, match="is missing, damaged or lacks"):
        export(run, data, to=tmp_path / "out", progress=False)


# What is refused --------------------------------------------------------------------------------


def test_other_data_is_refused(mlp_run, tmp_path):
    x, y = images(400, 5)
    other = Dataset.from_arrays(x, y, x, y, class_names=["square", "cross", "bar"])
    with pytest.raises(DataError, match="the data is not that of the run"):
        export(mlp_run, other, to=tmp_path / "out", progress=False)


def test_a_taken_folder_is_refused_and_a_bundle_replaced_on_demand(data, mlp_run, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        export(mlp_run, data, to=target, progress=False)
    with pytest.raises(ConfigError, match="is no bundle, so overwrite=true will not replace it"):
        export(mlp_run, data, to=target, overwrite=True, progress=False)
    assert (target / "thesis.txt").read_text() == "mine"
    (target / "thesis.txt").unlink()
    (tmp_path / "out.zip").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is no bundle, so overwrite=true will not replace it"):
        export(mlp_run, data, to=target, overwrite=True, progress=False)
    assert (tmp_path / "out.zip").read_bytes() == b"mine"
    (tmp_path / "out.zip").unlink()
    export(mlp_run, data, to=target, progress=False)
    with pytest.raises(ConfigError, match="is there already"):
        export(mlp_run, data, to=target, progress=False)
    made = export(mlp_run, data, to=target, overwrite=True, arm="hard", seed=1, progress=False)
    assert (made.arm, made.seed) == ("hard", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.zip"]


def test_a_user_class_is_exported_from_python(data, tmp_path):
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(120, 3)

        def forward(self, x):
            return self.layer(x.flatten(1))

    run = study(data, tmp_path / "run", Mine, seeds=1)
    made = export(
        run,
        data,
        to=tmp_path / "out",
        progress=False,
        build=lambda arm: Normalized(Mine(), *data.statistics),
    )
    assert len(runtime.verify(made.folder)) == 3


# Choices --------------------------------------------------------------------------------


def entry(name, errors, *, control=False, nll=1.0):
    seeds = [{"seed": k, "val": {"errors": e, "nll": nll}} for k, e in enumerate(errors)]
    return {"name": name, "control": control, "seeds": seeds}


def test_validation_chooses_and_controls_stay_home():
    summary = {
        "arms": [
            entry("hard", [1, 1], control=True),
            entry("a", [5, 9]),
            entry("b", [8, 4]),
            entry("c", [9, 9]),
        ]
    }
    assert choose_student(summary) == ("b", 1)
    assert choose_student(summary, "a") == ("a", 0)
    assert choose_student(summary, "hard", 1) == ("hard", 1)
    summary["arms"].append(entry("d", [6, 6], nll=0.5))
    assert choose_student(summary) == ("d", 0)
    assert choose_student({"arms": [entry("hard", [3, 2], control=True)]}) == ("hard", 1)


@pytest.mark.parametrize(
    ("arm", "seed", "message"),
    [
        ("sof", None, "did you mean soft"),
        (None, 7, "seed=7 is no seed of arm soft, which has 0, 1"),
    ],
)
def test_students_that_are_not_there(arm, seed, message):
    with pytest.raises(ConfigError, match=message):
        choose_student({"arms": [entry("soft", [1, 2])]}, arm, seed)
    with pytest.raises(ConfigError, match="no students"):
        choose_student({"arms": []}, arm, seed)


# Confidence --------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20_000, 4)) * 2
    odds = np.exp(true)
    labels = (
        (rng.random((20_000, 1)) > np.cumsum(odds / odds.sum(1, keepdims=True), 1))
        .sum(1)
        .clip(max=3)
    )
    assert fit_temperature(true * temperature, labels) == pytest.approx(temperature, rel=0.03)


@settings(max_examples=50)
@given(
    nps.arrays(np.float64, (20, 3), elements=st.floats(-50, 50)),
    st.lists(st.integers(0, 2), min_size=20, max_size=20),
)
def test_a_temperature_is_always_found(logits, labels):
    found = fit_temperature(logits, np.array(labels))
    assert 0.05 <= found <= 20.0001
    rows = coverage(logits, np.array(labels), found)
    assert rows[0][1] == 1
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert rows[0][2] == pytest.approx((logits.argmax(1) != labels).mean())


def test_students_with_constants_are_exported_with_them(tmp_path):
    data = dataset(name="adjusted")
    run = study(
        data,
        tmp_path / "run",
        lambda **shape: MLP(**shape, hidden=[12]),
        seeds=1,
        bias="prior",
        transfer=TransferSet(without=["bar"]),
    )
    made = export(run, data, to=tmp_path / "out", adjusted="prior", int8=False, progress=False)
    own = load_model(run / "students" / made.arm / "seed0" / "prior").model
    inputs = data.open_test().inputs.numpy()
    found = runtime.Bundle(made.folder).load().logits(inputs)
    assert np.abs(found - torch_answers(own, inputs)).max() < 1e-4
    card = (made.folder / "model_card.md").read_text()
    wrong = int((found.argmax(1) != data.open_test().labels.numpy()).sum())
    assert f"test samples it gets {wrong:,} wrong" in " ".join(card.split())
    assert "Constants are added to its logits" in card
    with pytest.raises(ConfigError, match="no students with constants of adjusted=kappa"):
        export(run, data, to=tmp_path / "other", adjusted="kappa", progress=False)
    with pytest.raises(ConfigError, match=r"adjusted='\.\./\.\./hard/seed0' is unknown"):
        export(run, data, to=tmp_path / "other", adjusted="../../hard/seed0", progress=False)


def test_the_card_of_a_control_says_what_it_is(data, mlp_run, tmp_path):
    made = export(mlp_run, data, to=tmp_path / "out", arm="hard", int8=False, progress=False)
    card = (made.folder / "model_card.md").read_text()
    assert "trained on labels" in card
    assert "made by knowledge distillation" not in card
    assert "teacher's mistakes" not in card
    assert "named by whoever exported it" in card


def test_names_in_a_card_are_only_names(tmp_path):
    plain = dataset(name="/home/somebody/secret")
    plain.class_names[0] = "a\n\n# Approved\n| x"
    run = study(plain, tmp_path / "run", lambda **shape: MLP(**shape, hidden=[4]), seeds=1)
    card = (
        export(run, plain, to=tmp_path / "out", int8=False, progress=False).folder / "model_card.md"
    ).read_text()
    assert "/home" not in card
    assert "\n# Approved" not in card
    assert "secret: " in card


def test_an_interrupted_export_leaves_the_earlier_bundle(data, mlp_run, tmp_path, monkeypatch):
    target = tmp_path / "out"
    export(mlp_run, data, to=target, arm="hard", int8=False, progress=False)
    before = {file.name: file.read_bytes() for file in target.iterdir()}
    plain = os.replace

    def stop(source, place):
        if Path(place) == target and Path(source).name == "out":
            raise KeyboardInterrupt
        plain(source, place)

    with monkeypatch.context() as patch:
        patch.setattr("limbeck.deploy.export.os.replace", stop)
        with pytest.raises(KeyboardInterrupt):
            export(mlp_run, data, to=target, int8=False, overwrite=True, progress=False)
    assert {file.name: file.read_bytes() for file in target.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.zip"]
    export(mlp_run, data, to=target, int8=False, overwrite=True, progress=False)
    assert len(runtime.verify(target)) == 2


def test_the_slower_of_two_exports_is_told(data, mlp_run, tmp_path, monkeypatch):
    from limbeck.deploy import export as module

    plain = module._check_free
    calls = []

    def check(target, archive, *, overwrite):
        calls.append(target)
        if len(calls) == 2:
            target.mkdir()
            (target / "theirs").write_text("x")
        plain(target, archive, overwrite=overwrite)

    monkeypatch.setattr(module, "_check_free", check)
    with pytest.raises(ConfigError, match="is there already"):
        export(mlp_run, data, to=tmp_path / "out", int8=False, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("/", "should name a folder"),
        ("x.zip", "a zip file is written beside it"),
        ("/proc/nothing/x", "cannot be made"),
        ("link", "leads nowhere"),
        ("file", "is a file"),
    ],
)
def test_places_that_hold_no_bundle(data, mlp_run, tmp_path, to, message):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=message):
        export(mlp_run, data, to=tmp_path / to, progress=False)
    assert (tmp_path / "file").read_text() == "mine"
