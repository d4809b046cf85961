"""The runtime of bundles: tables of predictions."""

import csv
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.bundles import images, write_bundle, write_sums
from support.image_files import png_file

from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError, RuntimeFailure
from limbeck._base.runtime.file_names import METADATA
from limbeck._base.runtime.images import decode
from limbeck._base.runtime.model import Model
from limbeck._base.runtime.predict import predict


def rows_of(table):
    return list(csv.DictReader(io.StringIO(table)))


def test_bad_images_are_rows_of_the_table(run, shared_bundle, pictures, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "huge.png").write_bytes(png_file(30_000, 30_000))
    (tmp_path / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:60])
    bad = [tmp_path / f"{name}.png" for name in ("text", "empty", "huge", "cut", "missing")]
    files = [pictures / "0.png", *bad, pictures / "1.png"]
    code, out, err = run("predict", shared_bundle, *files)
    assert code == 3
    assert err == "error: 5 of the inputs cannot be read. See the column error.\n"
    rows = rows_of(out)
    assert [bool(row["label"]) for row in rows] == [True, False, False, False, False, False, True]
    reasons = ("not an image of", "not an image of", "134,217,728 pixels", "", "missing")
    for row, reason in zip(rows[1:6], reasons, strict=True):
        assert reason in row["error"]
        assert row["confidence"] == ""


def test_one_file_twice_is_two_rows(run, shared_bundle, pictures):
    code, out, _ = run("predict", shared_bundle, pictures / "0.png", pictures / "0.png")
    assert code == 0
    first, second = rows_of(out)
    assert first == second


def test_json_lines(run, shared_bundle, pictures, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    target = tmp_path / "out.jsonl"
    files = pictures / "0.png", tmp_path / "text.png"
    options = "--format", "jsonl", "--top", "2", "--out", target
    code, out, _ = run("predict", shared_bundle, *files, *options)
    assert (code, out) == (3, "")
    first, second = (json.loads(line) for line in target.read_text().splitlines())
    assert first["label"] == first["top"][0]["label"]
    assert first["confidence"] >= first["top"][1]["confidence"]
    assert (second["label"], second["confidence"]) == (None, None)
    assert "not an image" in second["error"]


def test_a_table_is_written_whole_or_not_at_all(run, shared_bundle, pictures, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("precious")
    assert run("predict", shared_bundle, pictures, "--top", "99", "--out", target)[0] == 2
    assert target.read_text() == "precious"
    image = Path(shutil.copy(pictures / "0.png", tmp_path / "a.png"))
    code, _, err = run("predict", shared_bundle, image, "--out", image)
    assert (code, "is one of the files to classify" in err) == (2, True)
    assert image.read_bytes() == (pictures / "0.png").read_bytes()
    code, _, err = run("predict", shared_bundle, image, "--out", "/dev/full")
    assert code == 6
    assert err == "error: /dev/full: No space left on device.\n"
    assert run("predict", shared_bundle, pictures, "--out", target)[0] == 0
    assert target.read_text().startswith("file,label")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out.csv"]


def test_what_a_killed_process_left_beside_the_table_is_removed(
    run, shared_bundle, pictures, tmp_path
):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {
        f".a.csv.{ended.pid}-0a1b2c3d.tmp": 60,
        f".a.csv.{ended.pid}-1a1b2c3d.tmp": 0,  # perhaps of another machine
        f".a.csv.{os.getpid()}-0a1b2c3d.tmp": 60,
        f".b.csv.{ended.pid}-0a1b2c3d.tmp": 60,
        ".a.csv.tmp": 60,
    }
    for name, age in names.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert run("predict", shared_bundle, pictures, "--out", tmp_path / "a.csv")[0] == 0
    first, *others = names
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", *others}
    assert first not in others


@contextmanager
def soft_limit(kind, value):
    """Lower a limit of this process."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_limits_of_the_system_are_no_fault_of_the_files(run, shared_bundle, pictures, tmp_path):
    """Neither the bundle nor an image is called damaged when too many files are open."""
    free = os.dup(0)
    os.close(free)
    with soft_limit(resource.RLIMIT_NOFILE, free):
        code, _, err = run("predict", shared_bundle, pictures)
    assert (code, "Too many open files" in err) == (6, True)
    with (
        soft_limit(resource.RLIMIT_NOFILE, free),
        pytest.raises(OSError, match="Too many open files"),
    ):
        decode(pictures / "0.png", size=(8, 8), channels=3)
    target = tmp_path / "table.csv"
    with soft_limit(resource.RLIMIT_FSIZE, 10):
        code, _, err = run("predict", shared_bundle, pictures, "--out", target)
    assert (code, err) == (6, f"error: {target}: File too large.\n")
    assert list(tmp_path.iterdir()) == []


def test_names_that_no_terminal_can_show(run, shared_bundle, pictures, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(pictures / "0.png", str(folder).encode() + b"/bad\xff.png")
    shutil.copy(pictures / "0.png", folder / "b\u00e9\u4e2d.png")
    assert run("predict", shared_bundle, folder, "--out", tmp_path / "a.csv")[0] == 0
    assert (tmp_path / "a.csv").read_text().count("\n") == 3


def test_abstaining(shared_bundle, pictures):
    tables = []
    for abstain in (1.0, 0.0):
        out = io.StringIO()
        predict(shared_bundle, [pictures], abstain=abstain, out=out)
        tables.append(rows_of(out.getvalue()))
    unsure, sure = tables
    assert [row["confidence"] for row in sure] == [row["confidence"] for row in unsure]
    assert all(row["label"] for row in sure)
    assert not any(row["label"] for row in unsure if float(row["confidence"]) < 0.999999)


def change_metadata(bundle, **changes):
    file = bundle / METADATA
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return write_sums(bundle)


def test_abstaining_for_an_error_rate(run, bundle, pictures):
    change_metadata(bundle, thresholds={"int8": {"1%": 1.0, "5%": 0.0}})
    for rate, is_answered in (("1%", False), ("5%", True)):
        _, table, _ = run("predict", bundle, pictures, "--abstain", rate)
        assert all(bool(row["label"]) == is_answered for row in rows_of(table)), table
    code, _, message = run("predict", bundle, pictures, "--abstain", "2%")
    assert code == 2
    assert "an error rate that the bundle guarantees: 1%, 5%." in message


@pytest.mark.parametrize(
    "changes",
    [
        {"default": "fp16"},
        {"default": ["fp32"]},
        {"default": None},
        {"thresholds": [1]},
        {"thresholds": {"fp32": 0.5}},
        {"thresholds": {"fp32": {"1%": "0.5"}}},
        {"thresholds": {"fp32": {"1%": True}}},
        {"thresholds": {"fp32": {"1%": 1.5}}},
        {"thresholds": {"fp32": {"1%": float("nan")}}},
    ],
)
def test_wrong_defaults_and_thresholds_are_damage(bundle, changes):
    change_metadata(bundle, **changes)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Bundle(bundle)


def test_arrays_are_inputs_too(tmp_path):
    bundle = write_bundle(tmp_path / "arrays", preprocess={"kind": "array", "dtype": "uint8"})
    for number, image in enumerate(images(2)):
        np.save(tmp_path / f"{number}.npy", image)
    np.save(tmp_path / "half.npy", images(1)[0] + 0.5)
    np.save(tmp_path / "large.npy", images(2))
    names = ["0", "1", "half", "large", "none"]
    out = io.StringIO()
    files = [tmp_path / f"{name}.npy" for name in names]
    assert predict(bundle, files, out=out) == 3
    rows = rows_of(out.getvalue())
    assert [bool(row["label"]) for row in rows] == [True, True, False, False, False]
    reasons = ("expected whole numbers from 0 to 255", "expected (1, 12, 10)", "missing")
    assert all(reason in row["error"] for reason, row in zip(reasons, rows[2:], strict=True))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict", "{}", "--top", "4"], 2, "from 1 to 3"),
        (["predict", "{}", "--abstain", "2"], 2, "from 0 to 1"),
        (["predict", "{}/none"], 3, "cannot be read"),
        (["predict"], 2, "Pass at least one file or folder"),
        (["nonsense"], 2, "invalid choice"),
        (["predict", "{}", "--out", "/nowhere/x.csv"], 2, "/nowhere does not exist"),
        (["predict", "{}", "--format", "xml"], 2, "invalid choice"),
    ],
)
def test_wrong_arguments(run, shared_bundle, pictures, words, code, message):
    verb, *rest = words
    result, _, err = run(verb, shared_bundle, *(word.format(pictures) for word in rest))
    assert result == code
    assert message in err


def test_a_link_planted_beside_the_table_is_not_followed(run, shared_bundle, pictures, tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".out.csv.{os.getpid()}").symlink_to(tmp_path / "victim")
    (tmp_path / "out.csv").symlink_to(tmp_path / "victim")
    assert run("predict", shared_bundle, pictures, "--out", tmp_path / "out.csv")[0] == 0
    assert (tmp_path / "victim").read_text() == "precious"
    assert rows_of((tmp_path / "out.csv").read_text())


def test_a_folder_without_files(shared_bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeFailure, match="the folder contains no files"):
        predict(shared_bundle, [tmp_path / "empty"])


def test_every_file_of_a_folder_has_a_row(run, shared_bundle, pictures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(pictures / "0.png", folder / "0.png")
    shutil.copy(pictures / "0.png", folder / "photo.jfif")
    shutil.copy(pictures / "0.png", folder / "no suffix")
    (folder / "notes.txt").write_text("hello")
    (folder / "link.png").symlink_to("nowhere.png")
    (folder / "more").symlink_to(pictures)
    (folder / ".hidden.png").touch()
    code, out, _ = run("predict", shared_bundle, folder)
    assert code == 3
    errors = {row["file"].removeprefix(f"{folder}/"): row["error"] for row in rows_of(out)}
    assert set(errors) == {
        *("0.png", "photo.jfif", "no suffix", "notes.txt", "link.png"),
        *(f"more/{number}.png" for number in range(6)),
    }
    assert "a link to a missing file" in errors.pop("link.png")
    assert "not an image of a known format" in errors.pop("notes.txt")
    assert not any(errors.values())


def test_the_table_in_the_folder_is_no_input(run, shared_bundle, pictures, tmp_path):
    folder = shutil.copytree(pictures, tmp_path / "in")
    for _ in range(2):
        assert run("predict", shared_bundle, folder, "--out", folder / "table.csv")[0] == 0
        assert len(rows_of((folder / "table.csv").read_text())) == 6


def test_a_folder_without_access_is_named(run, shared_bundle, open_folder):
    (open_folder / "locked").mkdir(mode=0)
    code, _, err = run("predict", shared_bundle, open_folder)
    assert code == 3
    assert f"{open_folder}/locked (the folder cannot be read: Permission denied)" in err


def deep_files(folder, highest):
    """Two images of 16 bits with these highest values."""
    folder.mkdir()
    for name, high in zip("ab", highest, strict=True):
        values = np.linspace(0, high, 120).reshape(12, 10).astype(np.uint16)
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def test_deep_images_are_scaled_by_their_set_or_by_that_of_training(run, tmp_path):
    folder = deep_files(tmp_path / "in", [4000, 1000])
    tables = []
    for name, value_range in (("none", None), ("same", [0, 4095]), ("full", [0, 65_535])):
        preprocess = {"kind": "image", "crop_border": False, "value_range": value_range}
        bundle = write_bundle(tmp_path / name, preprocess=preprocess)
        code, out, err = run("predict", bundle, folder)
        assert code == 0
        assert ("note: Images with more than 8 bits: values from 0 to 4095" in err) == (
            name == "none"
        )
        tables.append(out)
    assert tables[0] == tables[1] != tables[2]


def test_models_whose_outputs_are_nan(run, tmp_path, pictures, monkeypatch):
    """No class is named for them, and the bundle does not pass."""
    bundle = write_bundle(tmp_path / "bundle")
    logits = Model.logits

    def broken(model, inputs):
        result = logits(model, inputs).copy()
        result[0, 0] = np.nan
        return result

    monkeypatch.setattr(Model, "logits", broken)
    code, out, err = run("predict", bundle, pictures)
    first, second = rows_of(out)[:2]
    assert (code, first["label"], first["confidence"]) == (3, "", "")
    assert "the model's outputs for it are NaN or infinite" in first["error"]
    assert (bool(second["label"]), second["error"]) == (True, "")
    code, out, err = run("verify", bundle)
    assert (code, "golden inputs are NaN or infinite" in err) == (8, True)


def test_memory_that_runs_out_in_the_model_is_no_damage(run, shared_bundle, pictures, monkeypatch):
    class Session:
        def run(self, *arguments):
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for 8 bytes")

    load = Model.__init__

    def load_and_replace(model, *arguments, **settings):
        load(model, *arguments, **settings)
        model._session = Session()

    monkeypatch.setattr(Model, "__init__", load_and_replace)
    assert run("predict", shared_bundle, pictures)[::2] == (6, "error: out of memory.\n")
