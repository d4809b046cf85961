"""Answers to samples, looked up by input."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.teacher.files import load_member, save_teacher
from limbeck.teacher.lookup import LookupTeacher, input_keys

X = torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(0))
LOGITS = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))


def teacher_of(x=X, logits=LOGITS):
    keys = input_keys(x)
    order = keys.argsort()
    return LookupTeacher("Trees", keys[order], logits[order])


def test_each_input_has_its_own_answer_in_any_order():
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    assert torch.equal(teacher_of()(X[order]), LOGITS[order])


def test_equal_numbers_are_the_same_input():
    x = torch.tensor([[0.0, 1.0], [float("nan"), 2.0]])
    other_nan = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)
    same = torch.stack([torch.tensor([-0.0, 1.0]), torch.cat([other_nan, torch.tensor([2.0])])])
    assert torch.equal(input_keys(x), input_keys(same))
    assert torch.equal(input_keys(x), input_keys(x.double()))
    assert len(input_keys(X).unique()) == len(X)


def test_a_new_input_has_no_answer():
    with pytest.raises(TeacherError, match="Trees is known by its answers to the samples"):
        teacher_of()(X + 1e-6)


def test_rounded_inputs_are_named():
    with pytest.raises(TeacherError, match="rounded to 16 bits"):
        teacher_of()(X.bfloat16())


def test_a_saved_one_gives_the_same_answers(tmp_path):
    save_teacher(teacher_of(), tmp_path, class_names=list("abcd"))
    loaded = load_member(tmp_path / "model.safetensors")
    assert loaded.description["class_names"] == list("abcd")
    assert torch.equal(loaded.model(X), LOGITS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: w.pop("keys"),
        lambda w: w.update(keys=w["keys"].flip(0)),
        lambda w: w.update(keys=w["keys"][1:]),
        lambda w: w.update(logits=w["logits"].double()),
        lambda w: w.update(logits=w["logits"][:, 0].clone()),
    ],
    ids=["missing", "order", "length", "type", "shape"],
)
def test_damaged_answers_are_refused(damage, tmp_path):
    save_teacher(teacher_of(), tmp_path, class_names=list("abcd"))
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    damage(weights)
    save_file(weights, file)
    description = (tmp_path / "model.json").read_text().replace("sha256", "digest")
    (tmp_path / "model.json").write_text(description)
    with pytest.raises(UntrustedFileError, match=r"is damaged: expected ascending keys"):
        load_member(file)
