"""``limbeck run`` and wrong input: one message, an exit code, and no file written."""

import gzip
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limbeck.cli.main import main
from limbeck.models import MLP, save_model


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    """Runs a command that must fail; returns its message."""
    monkeypatch.chdir(tmp_path)

    def run(code, *arguments, verb="run", out="run"):
        before = sorted(tmp_path.rglob("*"))
        own = [] if out is None else ["quick=true", "logger=csv", f"out={out}"]
        assert main([verb, *own, *arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in lines[0]
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("objective.temprature=8", "Did you mean `objective.temperature` (default 4.0)?"),
        ("epoch=3", "Unknown key `epoch`. Did you mean `epochs`"),
        ("optimizer.nam=sgd", "Did you mean `optimizer.name` (default adam)?"),
        ("nonsense=3", "Unknown key `nonsense`"),
        (
            "student=convnt",
            "student=convnt is unknown. Did you mean convnet? Choose one of bag, convnet, encoder, "
            "gpt, huggingface, huggingface_classifier, mlp, sentence_encoder, text_cnn, timm, "
            "torchvision.",
        ),
        ("recipe=mnst", "Did you mean mnist?"),
        ("logger=none", "logger=none is unknown"),
        ("recipe=null", "recipe=null is unknown"),
        ("data=5", "data=5 is unknown"),
        ("trainer=null", "trainer=null is unknown"),
        (
            "arms.soft.objetive.temperature=3",
            "Unknown key `arms.soft.objetive`. Did you mean `arms.soft.objective`?",
        ),
        ("arms.soft.objective.temprature=3", "Did you mean `arms.soft.objective.temperature`?"),
        ("arms.soft.transfer.label=3", "Did you mean `arms.soft.transfer.labelled`?"),
        ("arms.soft.student.depth=3", "Unknown key `arms.soft.student.depth`"),
        (
            "arms.soft.views=sift",
            "views: 'sift' is unknown. Choose one of affine, crop, crop_flip, elastic,",
        ),
        ("arms.soft.control=nope", "arms.soft.control='nope' is not another arm"),
        (
            "arms.soft.student=torchvision/resnet18",
            "should be a group of settings, as in {dropout: 0.1}, or {_target_:",
        ),
        (
            "arms.soft.objective=logits",
            "arms.soft.objective='logits' should be a group of settings, as in {temp",
        ),
        ("arms.soft.transfer=[]", "arms.soft.transfer=[] should be a group of settings"),
        ("arms.soft=5", "should list the arm's differences"),
        ("arms=5", "should list arms by name"),
        ("trainer.max_epoch=3", "Did you mean `trainer.max_epochs`?"),
        ("trainer.callbacks=[]", "set by limbeck itself"),
        ("trainer.precision=7", "Precision 7 is invalid"),
        ("trainer.accelerator=abacus", "invalid accelerator"),
        ("trainer.max_epochs=0", "epochs=0"),
        ("trainer.gradient_clip_val=-1", "not negative"),
        ("trainer.precision=16-mixed trainer.accelerator=cpu", "needs a GPU"),
        ("trainer.devices=999 trainer.accelerator=cpu", "would start 999 processes"),
        ("trainer.num_nodes=1000 trainer.accelerator=cpu", "was not started by torchrun"),
        ("trainer.limit_train_batches=0", "leaves nothing to train on"),
        ("objective.temperature=0", "should be at least 0.001"),
        ("objective.temperature=-1", "should be at least 0.001"),
        ("objective.temperature=1e-30", "should be at least 0.001"),
        ("objective.temperature=nan", "objective.temperature=nan should be a finite number"),
        ("objective.temperature=abc", "objective.temperature='abc' should be a finite number"),
        (
            "objective.hard_weight=0 objective.soft_weight=0",
            "both 0: there is nothing to learn from",
        ),
        ("objective.soft=mse", "Choose one of kl, cross_entropy"),
        ("epochs=0", "epochs=0 should be a whole number of at least 1"),
        ("epochs=-1", "epochs=-1"),
        ("epochs=1.5", "epochs=1.5"),
        ("epochs=???", "epochs="),
        ("epochs=${nope}", "'nope' not found"),
        ("seeds=0", "seeds=0"),
        ("seeds=[]", "seeds=[] is empty"),
        ("seeds=[1,1]", "contains a seed twice"),
        ("seeds=abc", "seeds='abc' should be a number of seeds"),
        ("seeds=null", "seeds=None"),
        ("batch_size=0", "batch_size=0"),
        ("batch_size=1e3", "batch_size=1000.0"),
        ("data.val=0", "data.val=0"),
        ("transfer.samples=0", "transfer.samples=0"),
        ("transfer.seed=abc", "transfer.seed='abc'"),
        ("transfer=5", "transfer=5 should be a group of settings"),
        ("optimizer=sgd", "optimizer='sgd' should be a group of settings, as in optimizer.lr=0.01"),
        ("optimizer.lr=0", "optimizer.lr=0 learns nothing"),
        ("student.hidden=[0]", "hidden=[0] should be a list of whole numbers"),
        ("student.hidden=5", "hidden=5 should be a list of whole numbers"),
        ("student._target_=nowhere.Nothing", "nowhere.Nothing could not be built"),
        ("teacher.members=0", "teacher.members=0"),
        ("teacher.seed=abc", "teacher.seed='abc'"),
        ("teacher.combine=mean", "choose one of probabilities, logits"),
        ("views=shift views.pixels=0", "views.pixels=0"),
        ("store=maybe", "store=maybe is unknown. Choose one of auto, off"),
        ("quick=maybe", "quick='maybe' should be true or false"),
        ("epochs", "'epochs' should be KEY=VALUE"),
        ("=3", "'=3' should be KEY=VALUE"),
        ("objective.temperature=[1", "cannot be read"),
        ("+arms.x/y.objective.temperature=2", "cannot be read"),
        ("arms.sotf.objective.temperature=2", "Unknown arm `arms.sotf`. Did you mean `arms.soft`?"),
        ("~arms.hto", "Unknown arm `arms.hto`"),
    ],
)
def test_settings(fails, overrides, message):
    assert message in fails(2, *overrides.split())


def test_an_arm_needs_a_teacher(fails):
    assert "arms.soft learns from a teacher, but the study has none" in fails(4, "teacher=none")


def test_the_folder(fails, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep", encoding="utf-8")
    assert "is not empty (it contains thesis.txt)" in fails(2, out="mine")
    assert "is not a run folder" in fails(2, "overwrite=true", out="mine")
    assert "is a file. Choose a folder" in fails(2, out="mine/thesis.txt")


def test_other_verbs(fails, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "contains no run to resume" in fails(2, "nowhere", verb="resume", out=None)
    assert "contains no run to resume" in fails(2, "empty", verb="resume", out=None)
    assert "nowhere is not a folder" in fails(2, "nowhere", verb="report", out=None)
    assert "summary.json is missing" in fails(2, "empty", verb="report", out=None)
    (tmp_path / "empty" / "summary.json").write_text("{", encoding="utf-8")
    assert "summary.json is damaged" in fails(7, "empty", verb="report", out=None)
    (tmp_path / "empty" / "manifest.json").write_text("[]", encoding="utf-8")
    assert "manifest.json is damaged" in fails(7, "empty", verb="resume", out=None)
    (tmp_path / "empty" / "manifest.json").write_text('{"state": "failed"}', encoding="utf-8")
    assert "RunOptions(resume=True)" in fails(2, "empty", verb="resume", out=None)
    (tmp_path / "empty" / "manifest.json").write_text('{"state": "finished"}', encoding="utf-8")
    assert "config.yaml is missing" in fails(2, "empty", verb="resume", out=None)


# Data ---------------------------------------------------------------------------------------------


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    """Tiny idx files under the names of MNIST's."""
    folder = tmp_path / "idx"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for stem, count in (("train", 60), ("t10k", 20)):
        images, labels = draw.integers(256, size=(count, 28, 28)), np.arange(count) % 10
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("train-images-idx3-ubyte.gz", lambda c: c[: len(c) // 2], "is damaged"),
        ("train-images-idx3-ubyte.gz", lambda c: c[:40] + b"\0\1\2" + c[43:], "is damaged"),
        ("train-images-idx3-ubyte.gz", lambda c: b"", "is not the expected idx file"),
        (
            "train-labels-idx1-ubyte",
            lambda c: b"\0\0\x0d\1" + c[4:],
            "is not the expected idx file",
        ),
        ("train-labels-idx1-ubyte", lambda c: c[:-1], "is damaged: its header specifies 60"),
        (
            "t10k-labels-idx1-ubyte",
            lambda c: c[:-1] + b"\x0b",
            "contains the label 11, but mnist has labels from 0 to 9",
        ),
        ("t10k-labels-idx1-ubyte", lambda c: idx(np.zeros(19)), "has 20 images"),
    ],
    ids=["truncated", "garbled", "empty", "magic", "short", "range", "count"],
)
def test_damaged_data(fails, mnist, name, spoil, message):
    (mnist / name).write_bytes(spoil((mnist / name).read_bytes()))
    error = fails(3, "data=mnist", f"data.root={mnist}", "data.val=10")
    assert message in error
    assert name in error


def test_missing_data(fails, mnist):
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    assert "t10k-labels-idx1-ubyte (plain or .gz) not found" in fails(
        3, "data=mnist", f"data.root={mnist}"
    )
    assert "data.download=true" in fails(3, "data=mnist", "data.root=nowhere")


# The teacher --------------------------------------------------------------------------------------


@pytest.fixture
def teacher(tmp_path):
    folder = tmp_path / "teacher"
    save_model(MLP((1, 8, 8), 10, hidden=[4]), folder, class_names=list("0123456789"))
    return folder


def test_a_missing_teacher(fails, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "nowhere does not exist" in fails(4, "teacher.from=nowhere")
    assert "empty has no model.safetensors" in fails(4, "teacher.from=empty")
    assert "5 does not exist" in fails(4, "teacher.from=5")
    assert "names no model" in fails(4, "teacher.from=[]")


def test_a_damaged_teacher(fails, teacher):
    file = teacher / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"\1")
    assert "was changed" in fails(7, f"teacher.from={teacher}")
    (teacher / "model.json").unlink()
    file.write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in fails(7, f"teacher.from={file}")


def test_a_teacher_that_is_a_pickle(fails, tmp_path):
    torch.save(os.uname(), tmp_path / "whole.pt", _use_new_zipfile_serialization=False)
    error = fails(7, "teacher.from=whole.pt")
    assert "whole.pt contains an object of posix.uname_result without a state dict" in error
    assert "reading it could run code" in error
    (tmp_path / "short.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:100])
    assert "short.pt is damaged" in fails(7, "teacher.from=short.pt")
    assert "should be true or false" in fails(
        2, "teacher.from=whole.pt", "teacher.trust_pickle=maybe"
    )


@pytest.mark.slow
def test_a_teacher_that_is_a_strange_state_dict(fails, tmp_path):
    mlp = (
        "teacher=mlp",
        "teacher.model.hidden=[4]",
        "teacher.model.dropout=0",
        "teacher.model.input_dropout=0",
    )
    state = MLP((1, 8, 8), 10, hidden=[4]).state_dict()
    torch.save({"model": state, "ema": state, "epoch": 3}, tmp_path / "two.pt")
    error = fails(4, *mlp, "teacher.from=two.pt")
    assert "two.pt contains several models: model, ema. Choose one" in error
    assert "teacher.key=ema" in error
    error = fails(4, *mlp, "teacher.from=two.pt", "teacher.key=average")
    assert "contains no model of that key" in error
    assert "Set teacher.from=FILE" in fails(2, *mlp, "teacher.key=ema")
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "none.pt")
    assert "contains a dictionary of epoch, lr; expected a state dict" in fails(
        4, *mlp, "teacher.from=none.pt"
    )
    torch.save(state, tmp_path / "own.pt")
    assert "own.pt does not fit the model convnet" in fails(
        4, "teacher=convnet", "teacher.from=own.pt"
    )
    assert "own.pt: it contains only weights, so limbeck" in fails(
        4, "teacher=none", "teacher.from=own.pt"
    )
    torch.save(
        {**state, "layers.1.bias": torch.tensor([0.0, torch.nan, 0, torch.inf])},
        tmp_path / "nan.pt",
    )
    assert "2 of 4 values of layers.1.bias are infinite or not a number" in fails(
        4, *mlp, "teacher.from=nan.pt"
    )


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            "student=torchvision/resnet81",
            "torchvision has no classification model 'resnet81'. Did you mean torchvision/",
        ),
        (
            "teacher=torchvision/fcn_resnet50",
            "torchvision/fcn_resnet50 is a model for segmentation, but limbeck trains classifiers",
        ),
        ("student=torchvision/", "torchvision has no classification model ''"),
        ("student=torchvison/resnet18", "is unknown. Did you mean torchvision?"),
        (
            "student=torchvision/mobilenet_v2 student.stem=small",
            "torchvision/mobilenet_v2 is not a ResNet",
        ),
        ("student=torchvision/resnet18 student.stem=tiny", "choose one of auto, small, imagenet"),
        ("student=torchvision/inception_v3", "cannot read inputs of shape [1, 8, 8]"),
        ("student=torchvision/vit_b_16", "cannot be built for images of [1, 8, 8]"),
    ],
)
@pytest.mark.filterwarnings("ignore::limbeck._base.errors.LimbeckWarning")
def test_models_by_name(fails, choice, message):
    assert message in fails(2, *choice.split())


def test_a_teacher_of_other_classes(fails, tmp_path):
    save_model(MLP((1, 8, 8), 7, hidden=[4]), tmp_path / "seven", class_names=list("0123456"))
    assert "the teacher outputs 7 classes, but the dataset has 10" in fails(4, "teacher.from=seven")
    save_model(MLP((1, 8, 8), 10, hidden=[4]), tmp_path / "other", class_names=list("x123456789"))
    assert "the teacher's class 0 is 'x'" in fails(4, "teacher.from=other")
    save_model(MLP((1, 9, 9), 10, hidden=[4]), tmp_path / "big", class_names=list("0123456789"))
    assert "cannot read inputs of shape [1, 8, 8]" in fails(4, "teacher.from=big")


def test_a_teacher_that_cannot_be_rebuilt(fails, tmp_path):
    save_file(MLP((1, 8, 8), 10, hidden=[4]).state_dict(), tmp_path / "bare.safetensors")
    assert "does not fit the model" in fails(4, "teacher.from=bare.safetensors")
    assert "model.json is missing" in fails(4, "teacher=none", "teacher.from=bare.safetensors")


@pytest.mark.slow
def test_a_teacher_whose_logits_overflow_is_blamed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = MLP((1, 8, 8), 10, hidden=[8])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1e30)
    save_model(model, tmp_path / "huge", class_names=[str(digit) for digit in range(10)])
    settings = ["quick=true", "logger=csv", "out=run", "student.hidden=[8]", "teacher.from=huge"]
    assert main(["run", *settings]) == 4
    assert "The logits of the teacher are not finite" in capsys.readouterr().err
    settings.append("teacher.check=false")
    for store in ("store=off", "store.folder=store"):
        assert main(["run", *settings, store, "overwrite=true"]) == 4
        assert "The teacher's logits of training sample" in capsys.readouterr().err
