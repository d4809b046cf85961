"""``limbeck check``, and the stop of a run whose teacher does not fit."""

import re
import shlex

import numpy as np
import pytest
import torch
from support.commands import call
from support.examined import linear_teacher
from torch import nn

from limbeck.data import digits
from limbeck.models import MLP

SETTINGS = ("teacher=mlp", "teacher.model.hidden=[]", "teacher.model.input_dropout=0")
RUN = ("logger=csv", "student.hidden=[4]", "seeds=1", "epochs=1", "out=run")


@pytest.fixture(scope="module")
def data():
    return digits()


def write_teacher(data, file, *, outputs=10, **settings):
    layer = linear_teacher(data, outputs=outputs, **settings)[1]
    model = MLP((1, 8, 8), outputs, hidden=[], input_dropout=0)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    last.load_state_dict(layer.state_dict())
    torch.save(model.state_dict(), file)


def remedy_in(text):
    """The words of the command line that a message names."""
    return shlex.split(re.search(r"(?:To mend it|To use them): (.+)$", text, re.MULTILINE)[1])


def mistakes():
    shuffled = np.random.default_rng(5).permutation(10)
    among_more = [3, 1, 11, 7, 0, 4, 10, 2, 9, 5]
    yield pytest.param({"columns": shuffled}, "in another order", id="shuffled")
    reverse = {"columns": range(9, -1, -1)}
    yield pytest.param(reverse, "reversed", id="reversed", marks=pytest.mark.slow)
    shift = {"columns": [*range(1, 10), 0]}
    yield pytest.param(shift, "shifted by one", id="shifted", marks=pytest.mark.slow)
    imagenet = {"mean": 0.449, "std": 0.226}
    diagnosis = "the mean and standard deviation of ImageNet"
    yield pytest.param(imagenet, diagnosis, id="imagenet", marks=pytest.mark.slow)
    more = {"columns": among_more, "outputs": 12}
    yield pytest.param(more, "outputs 12 classes, but the dataset has 10", id="12 outputs")


@pytest.mark.parametrize(("settings", "diagnosis"), mistakes())
def test_a_mistake_is_named_and_the_line_mends_it(data, tmp_path, settings, diagnosis):
    write_teacher(data, tmp_path / "teacher.pt", **settings)
    words = (*SETTINGS, "teacher.from=teacher.pt")
    code, out, _ = call("check", *words, cwd=tmp_path)
    assert code == 4
    assert diagnosis in out
    remedy = remedy_in(out)
    code, out, _ = call("check", *words, *remedy, cwd=tmp_path)
    assert code == 0, out
    assert "the teacher errs on" in out.lower()


@pytest.mark.slow
def test_a_run_is_stopped_before_anything_is_written(data, tmp_path):
    write_teacher(data, tmp_path / "teacher.pt", columns=range(9, -1, -1))
    words = (*SETTINGS, "teacher.from=teacher.pt")
    code, _, err = call("run", *words, *RUN, cwd=tmp_path)
    assert code == 4
    assert "reversed" in err
    assert "teacher.check=false" in err
    assert not (tmp_path / "run").exists()
    assert remedy_in(err) == remedy_in(call("check", *words, cwd=tmp_path)[1])


@pytest.mark.slow
def test_a_file_names_the_classes_of_a_teacher(data, tmp_path):
    columns = np.random.default_rng(5).permutation(10)
    write_teacher(data, tmp_path / "teacher.pt", columns=columns)
    names = [str(np.flatnonzero(columns == output)[0]) for output in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    words = (*SETTINGS, "teacher.from=teacher.pt", "teacher.map=labels.txt")
    assert call("check", *words, cwd=tmp_path)[0] == 0
    assert call("run", *words, *RUN, cwd=tmp_path)[0] == 0
    code, out, _ = call("check", *SETTINGS, "teacher.from=run", "teacher.map=no.txt", cwd=tmp_path)
    assert code == 4
    assert "no.txt does not exist" in out


@pytest.mark.slow
def test_a_normalisation_can_be_given_in_numbers(data, tmp_path):
    write_teacher(data, tmp_path / "teacher.pt", mean=0.3, std=0.2)
    words = (*SETTINGS, "teacher.from=teacher.pt")
    setting = "teacher.normalization={mean: [0.3], std: [0.2]}"
    assert call("check", *words, setting, cwd=tmp_path)[0] == 0


@pytest.mark.slow
def test_who_knows_better_goes_on(data, tmp_path):
    write_teacher(data, tmp_path / "teacher.pt", columns=range(9, -1, -1))
    words = (*SETTINGS, "teacher.from=teacher.pt", "teacher.check=false")
    assert call("run", *words, *RUN, cwd=tmp_path)[0] == 0
    code, _, err = call("check", *words[:-1], "teacher.check=maybe", cwd=tmp_path)
    assert code == 2
    assert "teacher.check='maybe' should be true or false" in err


def test_check_without_a_teacher_examines_the_data(tmp_path):
    code, out, _ = call("check", cwd=tmp_path)
    assert code == 0
    assert "data: digits has" in out
    assert "will be trained by the run" in out
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked(tmp_path):
    assert call("check", "teacher.classes=[a,b]", cwd=tmp_path)[0] == 2
    code, _, err = call("check", "data=image_folder", "data.root=no", cwd=tmp_path)
    assert code == 3
    assert "no is missing" in err


def test_a_broken_image_is_named(tmp_path):
    from PIL import Image

    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(256, size=(8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    words = ("data=image_folder", "data.root=photos", "data.size=8")
    code, _, err = call("check", *words, cwd=tmp_path)
    assert code == 3, err
    assert "3.png" in err
