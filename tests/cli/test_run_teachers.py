"""Teachers of other libraries on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.commands import call
from support.onnx_files import content

from limbeck.models import MLP

TINY = ("quick=true", "logger=csv", "student.hidden=[4]", "examples=0")
WEIGHT = np.random.default_rng(3).normal(size=(64, 10)).astype(np.float32)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr("limbeck.study.study.write_report", lambda folder, final: None)


def test_an_onnx_model_is_used_and_copied(tmp_path):
    file = tmp_path / "digits.onnx"
    file.write_bytes(content(weight=WEIGHT, shape=("N", 1, 8, 8), end=["Softmax"]))
    code, _, err = call("distill", *TINY, "teacher.from=digits.onnx", "out=run", cwd=tmp_path)
    assert code == 0
    assert err.count("digits.onnx ends with a softmax: its logarithm gives the logits") == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["teacher"]["name"] == "digits.onnx"
    files = json.loads((tmp_path / "run" / "manifest.json").read_text())["files"]
    assert "teacher/model.onnx" in files
    assert (tmp_path / "run" / "teacher" / "model.onnx").read_bytes() == file.read_bytes()
    (tmp_path / "run" / "teacher" / "model.onnx").write_bytes(content())
    code, _, err = call("distill", *TINY, "teacher.from=run", "out=next", cwd=tmp_path)
    assert code == 7
    assert "model.onnx is damaged, or not the file that this run wrote" in err


@pytest.mark.parametrize(
    ("write", "code", "message"),
    [
        (lambda file: file.write_bytes(b"nonsense"), 7, "is damaged, or not an ONNX model"),
        (
            lambda file: file.write_bytes(content(shape=("N", 7), weight=WEIGHT[:7])),
            4,
            "takes inputs of shape",
        ),
        (lambda file: file.mkdir(), 7, "cannot be read"),
        (lambda file: None, 4, "does not exist. Choose an ONNX model"),
    ],
)
def test_bad_onnx_files_are_one_message(write, code, message, tmp_path):
    write(tmp_path / "bad.onnx")
    result = call("run", *TINY, "teacher.from=bad.onnx", "out=run", cwd=tmp_path)
    assert result[0] == code
    assert message in result[2]
    assert "Traceback" not in result[2]
    assert not (tmp_path / "run").exists()


def test_a_program_needs_the_word_of_the_user(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"not read")
    code, _, err = call("run", *TINY, "teacher.from=model.pt2", "out=run", cwd=tmp_path)
    assert code == 7
    assert "add teacher.trust_pickle=true" in err
    assert not Path(tmp_path / "run").exists()


@pytest.mark.slow
def test_members_in_braces_have_their_own_settings(tmp_path):
    torch.manual_seed(0)
    torch.save(MLP((1, 12, 12), 10, hidden=[5]).state_dict(), tmp_path / "large.pt")
    (tmp_path / "small.onnx").write_bytes(content(weight=WEIGHT, shape=("N", 1, 8, 8)))
    model = "model:{_target_:limbeck.models.MLP,hidden:[5]}"
    member = f"{{from:large.pt,size:12,normalization:symmetric,{model}}}"
    sources = f"teacher.from=[small.onnx,{member}]"
    code, _, err = call("run", *TINY, sources, "teacher.check=false", "out=run", cwd=tmp_path)
    assert code == 0, err
    saved = json.loads((tmp_path / "run" / "teacher" / "member1" / "model.json").read_text())
    assert saved["normalize"] == {"mean": [0.5], "std": [0.5], "size": [12, 12]}


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("{from:x.pt,sise:3}", "Unknown key `teacher.from[0].sise`. Did you mean"),
        ("{size:3}", "teacher.from[0].from=None should be the path of a model"),
        ("{from:x.pt,model:mlp}", "teacher.from[0].model='mlp' should be a group of settings"),
        ("{from:x.pt,trust_pickle:1}", "teacher.from[0].trust_pickle=1 should be true or false"),
        ("{from:x.onnx,size:0}", "size=0 should be a side in pixels"),
    ],
)
def test_bad_members_are_one_message(member, message, tmp_path):
    code, _, err = call("run", *TINY, f"teacher.from=[{member}]", "out=run", cwd=tmp_path)
    assert code == 2
    assert message in err


def test_boosted_trees_are_fitted_in_the_run_and_their_answers_serve_others(tmp_path):
    trees = ("teacher=boosting", "teacher.folds=null", "teacher.estimator.max_iter=1", *TINY[:2])
    assert call("train", *trees, "views=none", "out=run", cwd=tmp_path)[0] == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["teacher"]["name"] == "HistGradientBoostingClassifier"
    code, _, _ = call("answers", "run", "to=answers.npz", cwd=tmp_path)
    assert code == 0
    with np.load(tmp_path / "answers.npz") as answers:
        is_test = answers["splits"] == "test"
        logits = answers["logits"][is_test]
    with np.load(tmp_path / "run" / "predictions.npz") as predictions:
        assert np.array_equal(logits, predictions["teacher"])
    code, _, err = call("run", *trees, "views=shift", "out=next", cwd=tmp_path)
    assert code == 2
    assert "Set views=none" in err


def test_unlike_members_are_trained_in_one_command(tmp_path):
    out = tmp_path / "run"
    members = "{model: {hidden: [12]}, members: 2}, {model: {hidden: [9]}, views: shift, epochs: 1}"
    command = ["run", *TINY, "teacher=mlp", f"teacher.members=[{members}]", f"out={out}"]
    assert call(*command)[0] == 0
    widths = []
    for file in sorted(out.glob("teacher/member*/model.safetensors")):
        weights = load_file(file).values()
        widths += [len(tensor) for tensor in weights if tensor.shape[1:] == (64,)]
    assert widths == [12, 9]  # a quick run trains one of each
    (out / "summary.json").unlink()
    assert call("resume", out)[0] == 0


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("12", "teacher.members[0]=12 should list the differences"),
        ("{hidden: [3]}", "Unknown key `teacher.members[0].hidden`"),
        ("{model: 3}", "teacher.members[0].model=3 should be a group"),
        ("{epochs: 0}", "teacher.members[0].epochs"),
        ("{views: nowhere}", "nowhere"),
    ],
)
def test_bad_members_to_train_are_one_message(member, message, tmp_path):
    command = ["run", *TINY, "teacher=mlp", f"teacher.members=[{member}]", "out=run"]
    code, _, err = call(*command, cwd=tmp_path)
    assert code == 2
    assert message in err
