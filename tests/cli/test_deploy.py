"""export, verify, predict, cost and demo as a user has them: in processes of their own, on a real
run.
"""

import json
import signal
import subprocess
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from support.commands import QUICK, run, start

from limbeck.cli.main import main
from limbeck.data import digits


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    code, _, err = run("run", *QUICK, "out=run", cwd=place)
    assert code == 0, err
    return place / "run"


@pytest.fixture(scope="module")
def bundle(finished):
    code, out, err = run("export", "run", cwd=finished.parent)
    assert code == 0, err
    assert "onnx int8" in out
    assert "run.py verify" in out
    return finished / "bundle"


def test_export_verify_and_predict(bundle, tmp_path):
    code, out, _ = run("verify", str(bundle), cwd=tmp_path)
    assert code == 0
    assert "7 files are unchanged" in out
    test = digits().open_test()
    for row in range(3):
        Image.fromarray(test.inputs[row, 0].numpy()).save(tmp_path / f"{row}.png")
    code, out, err = run(
        "predict",
        str(bundle),
        *(f"{row}.png" for row in range(3)),
        "--format",
        "jsonl",
        cwd=tmp_path,
    )
    assert (code, err) == (0, "")
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["0.png", "1.png", "2.png"]
    assert all(json.loads(line)["label"] in list("0123456789") for line in out.splitlines())
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
        (["arm=sof"], "Did you mean soft"),
        (["to="], "to= has no value"),
        (["seed=1", "seed=0"], "seed is given twice"),
        (["int8_share=2"], "should be between 0 and 1"),
        (["int8_share=much"], "should be a number"),
        ([], "already exists"),
    ],
)
def test_wrong_settings(finished, bundle, settings, message, capsys):
    assert main(["export", str(finished), *settings]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_no_finished_run(tmp_path, capsys):
    for verb in ("export", "cost", "demo"):
        assert main([verb, str(tmp_path)]) == 2
        assert "is missing" in capsys.readouterr().err


def test_a_run_of_python_says_how(tmp_path, finished, capsys):
    import shutil

    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"overrides": None}))
    assert main(["export", str(copy), "to=x"]) == 2
    assert "limbeck.deploy in Python" in " ".join(capsys.readouterr().err.split())


def test_costs_go_into_the_report(finished):
    code, out, err = run("cost", "run", cwd=finished.parent)
    assert code == 0, err
    assert out.splitlines()[0].startswith("Model")
    assert sum(line.startswith("teacher") for line in out.splitlines()) == 3
    assert 'id="cost"' in (finished / "report.html").read_text(encoding="utf-8")


def test_the_demo_serves_until_it_is_interrupted(finished):
    process = start("demo", "run", cwd=finished.parent)
    line = process.stdout.readline()
    assert line.startswith("Open http://127.0.0.1:"), process.stderr.read()
    with urllib.request.urlopen(line.split()[1] + "facts", timeout=30) as reply:
        assert json.load(reply)["data"] == "digits"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(timeout=30) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert "Traceback" not in process.stderr.read()


def test_images_of_the_test_split_stay_out_on_demand(tmp_path):
    code, _, err = run("run", *QUICK, "examples=0", "out=run", cwd=tmp_path)
    assert code == 0, err
    assert not (tmp_path / "run" / "examples.npz").exists()
    assert "Images on which the arms differ" not in (tmp_path / "run" / "report.html").read_text(
        encoding="utf-8"
    )


def test_images_of_the_test_split_are_in_the_report(finished):
    assert (finished / "examples.npz").is_file()
    html = (finished / "report.html").read_text(encoding="utf-8")
    assert "Images on which the arms differ" in html
    assert html.count('class="example"') in range(1, 9)
