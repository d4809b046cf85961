"""The runtime that every bundle holds: what it reads, what it refuses, and that it needs neither
torch nor limbeck.
"""

import csv
import hashlib
import io
import json
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support.deploy_runs import images

from limbeck._base import bundle_runtime as runtime
from limbeck._base.bundle_runtime import Bundle, BundleError, PictureError, RuntimeFailure
from limbeck.data.images.decoding import read_images

BLOCKED = "torch", "torchvision", "lightning", "scipy", "onnx", "limbeck", "hydra", "rich"


def copied(bundle, place):
    return Path(shutil.copytree(bundle, place / "copy"))


def with_sums(folder):
    """Sums that fit, as somebody who changes a bundle on purpose would write."""
    names = sorted(
        file.name for file in folder.iterdir() if file.name not in ("SHA256SUMS", "model_card.md")
    )
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def edited(folder, name, **changes):
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | changes))
    return with_sums(folder)


def run_py(bundle, *words, python="-c", cwd=None):
    """``run.py`` of a bundle, where nothing but NumPy, Pillow and ONNX Runtime can be imported."""
    guard = (
        "import runpy, sys\n"
        "class Guard:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {BLOCKED}: raise ImportError(f'{{name}} is not on "
        "this device')\n"
        "sys.meta_path.insert(0, Guard())\n"
        f"sys.argv = [{str(bundle / 'run.py')!r}, *{list(map(str, words))!r}]\n"
        f"runpy.run_path({str(bundle / 'run.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", guard], capture_output=True, text=True, cwd=cwd, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def bundle(mlp_bundle, tmp_path):
    return copied(mlp_bundle, tmp_path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Test images of the grey data set as files, named by number."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(images(200, 1)[0][:6]):
        Image.fromarray(image[0]).save(folder / f"{number}.png")
    return folder


# A device --------------------------------------------------------------------------------


def test_a_device_without_torch_verifies_and_predicts(bundle, pictures, data, mlp_run):
    code, out, err = run_py(bundle, "verify")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 3
    code, out, err = run_py(bundle, "predict", pictures, "--model", "fp32", "--top", "3")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    with np.load(mlp_run / "predictions.npz") as kept:
        logits = kept["students/soft/seed0"], kept["students/soft/seed1"]
    temperature = json.loads((bundle / "bundle.json").read_text())["temperature"]
    seed = int("seed 1" in json.loads((bundle / "bundle.json").read_text())["name"])
    scores = logits[seed][:6].astype(np.float64) / temperature
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for row, share in zip(rows, shares, strict=True):
        order = np.argsort(-share)
        assert [row["label"], row["label_2"], row["label_3"]] == [
            data.class_names[k] for k in order
        ]
        told = [float(row[name]) for name in ("confidence", "confidence_2", "confidence_3")]
        assert told == pytest.approx(share[order], abs=1e-4)


def test_the_runtime_in_a_bundle_is_the_one_here(bundle):
    assert (bundle / "run.py").read_bytes() == Path(runtime.__file__).read_bytes()


def test_a_missing_onnx_runtime_is_said(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(runtime.MissingLibraryError, match="pip install onnxruntime"):
        runtime.verify(bundle)


# Damage and malice --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "model.onnx",
        "model.int8.onnx",
        "labels.json",
        "preprocess.json",
        "bundle.json",
        "golden.npz",
        "run.py",
    ],
)
def test_a_changed_byte_is_found(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is damaged or was changed"):
        runtime.verify(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "labels.json", "preprocess.json", "golden.npz"])
def test_a_missing_file_is_found(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing; the bundle is not whole"):
        runtime.verify(bundle)


@pytest.mark.parametrize("line", ["../../etc/passwd", "a/b", "/etc/passwd", "", ".", "SHA256SUMS"])
def test_sums_name_no_other_place(bundle, line):
    with (bundle / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {line}\n")
    with pytest.raises(BundleError, match="SHA256SUMS is damaged"):
        runtime.verify(bundle)


def test_a_model_card_may_be_filled_in(bundle):
    card = bundle / "model_card.md"
    card.write_text(card.read_text().replace("TODO", "Nobody's images."))
    assert len(runtime.verify(bundle)) == 3
    card.unlink()
    assert len(runtime.verify(bundle)) == 3


def test_files_that_are_not_of_the_bundle_are_neither_imported_nor_unseen(bundle):
    (bundle / "csv.py").write_text("print('HIJACKED')")
    for cwd in (None, bundle):
        done = subprocess.run(
            [sys.executable, "run.py" if cwd else bundle / "run.py", "verify"],
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        assert "HIJACKED" not in done.stdout
        assert done.returncode == 7
        assert "csv.py: not of this bundle" in done.stderr


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="does not exist; name a bundle"):
        runtime.verify(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="SHA256SUMS is missing; it is no bundle"):
        runtime.verify(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(BundleError, match="a folder or a zip file was expected"):
        runtime.verify(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bundle.json", {"format": 99}, "format 99; 1 was expected"),
        ("bundle.json", {"temperature": 0}, "temperature"),
        ("bundle.json", {"temperature": True}, "temperature"),
        ("bundle.json", {"tolerances": {}}, "fp32 should be"),
        ("labels.json", {"labels": "abc"}, "should list the names"),
        ("labels.json", {"labels": [1, 2, 3]}, "the names"),
        ("labels.json", {"labels": ["a", "b"]}, "for 16 inputs and 2 classes"),
        ("preprocess.json", {"kind": "code"}, "does not say how"),
        ("preprocess.json", {"shape": [1, 12]}, "does not say"),
        ("preprocess.json", {"shape": [2, 12, 10]}, "does not say"),
        ("preprocess.json", {"shape": [1, 12, 11]}, "golden"),
        ("preprocess.json", {"shape": [1, -12, 10]}, "does not say"),
        ("preprocess.json", {"crop_border": "yes"}, "does not say how"),
    ],
)
def test_facts_that_do_not_fit_are_refused(bundle, name, changes, message):
    with pytest.raises(BundleError, match=message):
        runtime.verify(edited(bundle, name, **changes))


@pytest.mark.parametrize("name", ["bundle.json", "labels.json", "preprocess.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_none_is_refused(bundle, name, content):
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        runtime.verify(with_sums(bundle))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 nothing", b"\x80\x04N.", b"\x93NUMPY\x01\x00\x06\x00hello"]
)
def test_golden_arrays_that_are_none_are_refused(bundle, content):
    (bundle / "golden.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"golden\.npz"):
        runtime.verify(with_sums(bundle))


def test_golden_arrays_of_a_strange_kind_are_refused(bundle):
    golden = runtime.Bundle(bundle).golden()
    for change in (
        {"fp32": golden["fp32"].astype(str)},
        {"inputs": golden["inputs"][:0]},
        {"fp32": golden["fp32"][:3]},
        {"inputs": golden["inputs"].astype(str)},
    ):
        np.savez(bundle / "golden.npz", **(golden | change))
        with pytest.raises(BundleError):
            runtime.verify(with_sums(bundle))
    np.save(bundle / "golden.npy", golden["inputs"])
    (bundle / "golden.npy").rename(bundle / "golden.npz")
    with pytest.raises(BundleError, match=r"golden\.npz is damaged"):
        runtime.verify(with_sums(bundle))


def test_a_link_to_what_has_no_end_is_refused(bundle):
    (bundle / "labels.json").unlink()
    (bundle / "labels.json").symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=r"labels\.json is no file"):
        runtime.verify(bundle)


def test_a_pickle_among_the_golden_arrays_is_not_read(bundle):
    np.savez(
        bundle / "golden.npz",
        inputs=np.array([{"a": 1}], dtype=object),
        fp32=np.zeros(1),
        int8=np.zeros(1),
    )
    with pytest.raises(BundleError, match=r"golden\.npz is damaged"):
        runtime.verify(with_sums(bundle))


def test_a_model_that_answers_otherwise_is_refused(bundle):
    model = onnx.load(bundle / "model.onnx")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 2:
            tensor.CopyFrom(numpy_helper.from_array(values * np.float32(1.01), tensor.name))
    onnx.save(model, bundle / "model.onnx")
    with pytest.raises(
        runtime.DifferentAnswersError,
        match=r"model\.onnx: 16 golden inputs, logits differ by at most",
    ):
        runtime.verify(with_sums(bundle))
    code, _, err = run_py(bundle, "verify")
    assert code == 8
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    "content", [b"", b"no model", b"\x0a", b"\x08\x01" * 10, b"\x3a\xff\xff\xff\x7f"]
)
def test_what_is_no_model_is_refused(bundle, content):
    (bundle / "model.onnx").write_bytes(content)
    with pytest.raises(
        BundleError, match=r"model\.onnx (is no ONNX model|cannot be loaded|cannot be run)"
    ):
        runtime.verify(with_sums(bundle))


def external(location="../../secret", where="graph"):
    """A model of which one tensor lies in another file."""
    tensor = helper.make_tensor(
        "w", TensorProto.FLOAT, [3], np.zeros(3, np.float32).tobytes(), raw=True
    )
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    inner = helper.make_graph([], "inner", [], [], initializer=[tensor])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    graphs = {
        "graph": helper.make_graph([], "g", [], [], initializer=[tensor]),
        "branch": helper.make_graph([node], "g", [], []),
        "constant": helper.make_graph([constant], "g", [], []),
    }
    model = helper.make_model(graphs.get(where, helper.make_graph([], "g", [], [])))
    if where == "function":
        model.functions.add(name="f", node=[constant])
    if where == "sparse":
        model.graph.sparse_initializer.add(values=tensor)
    return model.SerializeToString()


@pytest.mark.parametrize("where", ["graph", "branch", "constant", "function", "sparse"])
def test_data_in_other_files_is_refused_wherever_it_is(bundle, where):
    found = runtime.external_files(external(where=where))
    assert any("../../secret" in said for said in found)
    (bundle / "model.onnx").write_bytes(external(where=where))
    with pytest.raises(BundleError, match=r"would read other files.*secret"):
        runtime.verify(with_sums(bundle))


def test_a_field_number_that_others_cut_off_hides_nothing(bundle):
    tensor = external()
    hidden = tensor.replace(b"\x6a", _overlong(13), 1)  # the tag of external_data
    assert hidden != tensor
    with pytest.raises(BundleError, match="is no ONNX model"):
        runtime.external_files(hidden)


def _overlong(field):
    number, out = (field << 3 | 2) + (1 << 32), b""
    while True:
        number, low = number >> 7, number & 0x7F
        out += bytes([low | (0x80 if number else 0)])
        if not number:
            return out


def test_own_models_have_no_data_in_other_files(mlp_bundle, conv_bundle):
    for folder in (mlp_bundle, conv_bundle):
        for name in ("model.onnx", "model.int8.onnx"):
            assert runtime.external_files((folder / name).read_bytes()) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_none(content):
    with suppress(BundleError):
        assert isinstance(runtime.external_files(content), list)


def test_nesting_without_end_is_refused():
    content = b""
    for _ in range(100):
        graph = b"\x0a" + _length(_attribute(content)) + _attribute(content)
        content = graph
    with pytest.raises(BundleError, match="is no ONNX model"):
        runtime.external_files(b"\x3a" + _length(content) + content)


def _attribute(graph):
    """A node with an attribute that holds a graph."""
    inside = b"\x32" + _length(graph) + graph
    return b"\x2a" + _length(inside) + inside


def _length(content):
    number, out = len(content), b""
    while True:
        number, low = number >> 7, number & 0x7F
        out += bytes([low | (0x80 if number else 0)])
        if not number:
            return out


# Zip files --------------------------------------------------------------------------------


def test_a_zip_file_is_a_bundle_too(mlp_bundle, pictures):
    archive = mlp_bundle.with_name("out.zip")
    assert runtime.verify(archive) == runtime.verify(mlp_bundle)
    out = io.StringIO()
    assert runtime.predict(archive, [pictures / "0.png"], out=out) == 0
    assert out.getvalue().count("\n") == 2


def test_zip_files_that_are_none_are_refused(mlp_bundle, tmp_path):
    whole = mlp_bundle.with_name("out.zip").read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError):
        runtime.verify(cut)
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as packed:
        for folder in ("a", "b"):
            packed.writestr(f"{folder}/SHA256SUMS", "x")
    with pytest.raises(BundleError, match="SHA256SUMS is there twice"):
        runtime.verify(twice)


@pytest.mark.parametrize("part", range(10))
def test_a_changed_byte_of_a_zip_file_is_a_message(mlp_bundle, tmp_path, part):
    whole = mlp_bundle.with_name("out.zip").read_bytes()
    rng = np.random.default_rng(part)
    for at in rng.integers(0, len(whole), 12):
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(0, 8))
        (tmp_path / "a.zip").write_bytes(changed)
        with suppress(
            BundleError, runtime.DifferentAnswersError
        ):  # some bytes of a zip file mean nothing
            runtime.verify(tmp_path / "a.zip")


# Images --------------------------------------------------------------------------------


def png_header(width, height):
    """A PNG file that announces a size and holds next to nothing."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_images_of_any_kind_become_the_same_pixels(mlp_bundle, tmp_path):
    grey = images(1, 7)[0][0, 0]
    image = Image.fromarray(grey)
    kinds = {
        "grey.png": image,
        "rgb.png": image.convert("RGB"),
        "rgba.png": image.convert("RGBA"),
        "la.png": image.convert("LA"),
        "palette.png": image.convert("P"),
        "bmp.bmp": image,
        "tiff.tif": image,
        "sixteen.png": Image.fromarray(grey.astype(np.uint16) * 257),
    }
    bundle = Bundle(mlp_bundle)
    for name, picture in kinds.items():
        picture.save(tmp_path / name)
        found = bundle.array(tmp_path / name)
        assert found.dtype == np.uint8
        assert np.abs(found[0].astype(int) - grey).max() <= (0 if name != "palette.png" else 1), (
            name
        )
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise to be upright
    image.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(bundle.array(tmp_path / "turned.png")[0], grey)


def test_another_size_is_made_the_right_one(mlp_bundle, tmp_path):
    ramp = (np.arange(48)[:, None] * 2 + np.arange(40) * 3).astype(np.uint8)  # 4 pixels for each
    Image.fromarray(np.pad(ramp, ((0, 0), (17, 17)))).save(tmp_path / "large.png")
    found = Bundle(mlp_bundle).array(tmp_path / "large.png")[0].astype(int)
    assert found.shape == (12, 10)
    inside = slice(1, -1), slice(1, -1)
    assert np.abs(found - ramp.reshape(12, 4, 10, 4).mean((1, 3)))[inside].max() <= 1
    Image.new("L", (1, 1), 7).save(tmp_path / "dot.png")
    assert (Bundle(mlp_bundle).array(tmp_path / "dot.png") == 7).all()


def test_images_are_what_training_saw(mlp_bundle, tmp_path):
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (37, 53, 3), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    own = runtime.decode(tmp_path / "a.png", size=(16, 16), channels=3, crop_border=True)
    assert np.array_equal(
        own, read_images([tmp_path / "a.png"], size=16, channels=3, crop_border=True)[0].numpy()
    )


def test_inverted_images(mlp_bundle, tmp_path):
    grey = images(1, 7)[0][0, 0]
    Image.fromarray(255 - grey).save(tmp_path / "dark.png")
    assert np.array_equal(Bundle(mlp_bundle).array(tmp_path / "dark.png", invert=True)[0], grey)


def test_bad_images_are_rows_of_the_table_and_not_the_end(bundle, pictures, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "huge.png").write_bytes(png_header(30_000, 30_000))
    (tmp_path / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:60])
    files = [
        pictures / "0.png",
        *(tmp_path / f"{name}.png" for name in ("text", "empty", "huge", "cut", "missing")),
    ]
    code, out, err = run_py(bundle, "predict", *files, pictures / "1.png")
    assert code == 3
    assert err == "error: 5 of the files could not be read; the column error says why.\n"
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [bool(row["label"]) for row in rows] == [True, False, False, False, False, False, True]
    for row, said in zip(
        rows[1:6], ("no image of", "no image of", "134,217,728 pixels", "", "missing"), strict=True
    ):
        assert said in row["error"]
        assert row["confidence"] == ""


def test_json_lines(bundle, pictures, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    target = tmp_path / "out.jsonl"
    code, out, _ = run_py(
        bundle,
        "predict",
        pictures / "0.png",
        tmp_path / "text.png",
        "--format",
        "jsonl",
        "--top",
        "2",
        "--out",
        target,
    )
    assert (code, out) == (3, "")
    first, second = (json.loads(line) for line in target.read_text().splitlines())
    assert first["label"] == first["top"][0]["label"]
    assert first["confidence"] >= first["top"][1]["confidence"]
    assert (second["label"], second["confidence"]) == (None, None)
    assert "no image" in second["error"]


def test_a_table_is_written_whole_or_not_at_all(bundle, pictures, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("precious")
    assert run_py(bundle, "predict", pictures, "--top", "99", "--out", target)[0] == 2
    assert target.read_text() == "precious"
    image = Path(shutil.copy(pictures / "0.png", tmp_path / "a.png"))
    code, _, err = run_py(bundle, "predict", image, "--out", image)
    assert (code, "is one of the files to classify" in err) == (2, True)
    assert image.read_bytes() == (pictures / "0.png").read_bytes()
    code, _, err = run_py(bundle, "predict", image, "--out", "/dev/full")
    assert code == 2
    assert "No space left" in err
    assert run_py(bundle, "predict", pictures, "--out", target)[0] == 0
    assert target.read_text().startswith("file,label")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "copy", "out.csv"]


def test_names_that_no_terminal_can_show(bundle, pictures, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(pictures / "0.png", str(folder).encode() + b"/bad\xff.png")
    shutil.copy(pictures / "0.png", folder / "b\u00e9\u4e2d.png")
    for words in (["--out", tmp_path / "a.csv"], []):
        code, out, _ = run_py(bundle, "predict", folder, *words)
        assert code == 0
    assert out.count("\n") == 3


def test_abstaining(mlp_bundle, pictures):
    out = io.StringIO()
    runtime.predict(mlp_bundle, [pictures], abstain=1.0, out=out)
    unsure = list(csv.DictReader(io.StringIO(out.getvalue())))
    out = io.StringIO()
    runtime.predict(mlp_bundle, [pictures], abstain=0.0, out=out)
    sure = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["confidence"] for row in sure] == [row["confidence"] for row in unsure]
    assert all(row["label"] for row in sure)
    assert not any(row["label"] for row in unsure if float(row["confidence"]) < 0.999999)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict", "{}", "--top", "4"], 2, "from 1 to 3"),
        (["predict", "{}", "--abstain", "2"], 2, "from 0 to 1"),
        (["predict", "{}/none"], 3, "could not be read"),
        (["predict"], 2, "required"),
        (["nonsense"], 2, "invalid choice"),
        (["predict", "{}", "--out", "/nowhere/x.csv"], 2, "/nowhere does not exist"),
        (["predict", "{}", "--format", "xml"], 2, "invalid choice"),
    ],
)
def test_wrong_words(bundle, pictures, words, code, message):
    found, _, err = run_py(bundle, *(word.format(pictures) for word in words))
    assert found == code
    assert message in err


def test_a_folder_without_images(bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeFailure, match="there is no image in this folder"):
        runtime.predict(bundle, [tmp_path / "empty"])


def test_a_picture_error_is_one_line(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(PictureError) as error:
        runtime.decode(tmp_path / "a.png", size=(4, 4), channels=1)
    assert "\n" not in str(error.value)
