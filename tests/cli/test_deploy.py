"""export, verify, predict, cost, demo and sample on a run of the command line."""

import json
import shutil
import signal
import subprocess
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from support.commands import QUICK, call, killed_at_the_end, run, start

from limbeck.cli.cost import cost_table
from limbeck.cli.main import main
from limbeck.data import digits


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    code, _, err = call("run", *QUICK, "out=run", cwd=place)
    assert code == 0, err
    return place / "run"


@pytest.fixture(scope="module")
def bundle(finished):
    code, out, err = call("export", "run", cwd=finished.parent)
    assert code == 0, err
    assert "0.0 MB" not in out
    assert "onnx int8" in out
    assert "run.py verify" in out
    return finished / "bundle"


def test_an_exported_student_can_be_verified_and_used(bundle, tmp_path):
    code, out, _ = run("verify", str(bundle), cwd=tmp_path)
    assert code == 0
    assert "7 files are unchanged" in out
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


def test_the_zip_file_holds_the_bundle(bundle):
    names = zipfile.ZipFile(bundle.with_name("bundle.zip")).namelist()
    assert sorted(names) == sorted(f"bundle/{file.name}" for file in bundle.iterdir())


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


def test_a_bundle_is_not_replaced_by_accident(finished, bundle, capsys):
    assert main(["export", str(finished)]) == 2
    assert "already exists" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("verb", ["export", "cost", "demo"])
def test_an_unfinished_run_is_refused(tmp_path, capsys, verb):
    assert main([verb, str(tmp_path)]) == 2
    assert "is missing" in capsys.readouterr().err


def test_a_run_made_in_python_is_exported_in_python(tmp_path, finished, capsys):
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"overrides": None}))
    assert main(["export", str(copy), "to=x"]) == 2
    assert "limbeck.deploy in Python" in " ".join(capsys.readouterr().err.split())


def test_costs_are_printed_as_a_table():
    timing = {"latency_ms": {"median": 0.5, "quartiles": [0.4, 0.6], "runs": 33}}
    row = {
        "model": "teacher",
        "kind": "mlp",
        "params": 9,
        "runtime": "torch",
        "precision": "fp32",
        "bytes": 1300,
        "macs": 2560,
        "memory": None,
        "errors": 7,
        "threads": {"1": {**timing, "per_second": 2000.0}},
    }
    heading, cells, *_ = cost_table({"schema": 1, "rows": [row], "batch": 64}).splitlines()
    assert heading.startswith("Model")
    assert cells.split()[:3] == ["teacher", "PyTorch", "7"]


@pytest.mark.slow
def test_costs_are_added_to_the_report(finished):
    code, out, err = run("cost", "run", cwd=finished.parent)
    assert code == 0, err
    assert out.splitlines()[0].startswith("Model")
    assert sum(line.startswith("teacher") for line in out.splitlines()) == 3
    assert 'id="cost"' in (finished / "report.html").read_text(encoding="utf-8")


def test_the_demo_prints_its_address_and_stops_at_an_interrupt(finished, monkeypatch):
    def interrupt(demo):
        demo.server.server_close()
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.deploy.demo.Demo.serve", interrupt)
    code, out, _ = call("demo", "run", cwd=finished.parent)
    assert code == 0
    assert out.startswith("Open http://127.0.0.1:")


@pytest.mark.slow
def test_the_demo_serves_until_it_is_interrupted(finished):
    process = start("demo", "run", cwd=finished.parent)
    with killed_at_the_end(process):
        line = process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:"), process.stderr.read()
        with urllib.request.urlopen(line.split()[1] + "facts", timeout=30) as reply:
            assert json.load(reply)["data"] == "digits"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 0
        except subprocess.TimeoutExpired:
            pytest.fail("the demo did not stop")
    assert "Traceback" not in process.stderr.read()


def test_test_images_can_be_kept_out_of_the_report(tmp_path):
    code, _, err = call("run", *QUICK, "epochs=1", "examples=0", "out=run", cwd=tmp_path)
    assert code == 0, err
    assert not (tmp_path / "run" / "examples.npz").exists()
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Images on which the arms differ" not in html


def test_test_images_are_in_the_report(finished):
    assert (finished / "examples.npz").is_file()
    html = (finished / "report.html").read_text(encoding="utf-8")
    assert "Images on which the arms differ" in html
    assert html.count('class="example"') in range(1, 9)
