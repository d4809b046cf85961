"""Batches of users' loaders: the forms that are read, and messages about the others."""

import warnings
from collections import UserDict

import pytest
import torch
from torch import nn

from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.batch_forms import BatchNames
from limbeck.data.batch_reader import BatchReader
from limbeck.data.inputs import Inputs

X, Y = torch.rand(4, 3), torch.tensor([0, 1, 2, 1])
IDS = torch.arange(20).view(4, 5)
MASK = torch.ones(4, 5, dtype=torch.long)


class Two(nn.Module):
    """A model with two inputs, one of them optional."""

    def forward(self, first, second=None):
        return first


class Text(nn.Module):
    """A model with the arguments of transformers."""

    def forward(self, input_ids=None, attention_mask=None, labels=None, **options):
        return input_ids


class Anything(nn.Module):
    def forward(self, *values, **options):
        return values


def read(batch, model=None, teacher=None, **names):
    return BatchReader(BatchNames(**names), model, teacher).read(batch)


def same(inputs, expected):
    """Whether two sets of inputs are equal."""
    if isinstance(expected, torch.Tensor):
        return torch.equal(inputs, expected)
    values, by_name = expected
    return (
        len(inputs.by_position) == len(values)
        and inputs.by_name.keys() == by_name.keys()
        and all(map(torch.equal, inputs.by_position, values))
        and all(torch.equal(inputs.by_name[name], by_name[name]) for name in by_name)
    )


@pytest.mark.parametrize(
    "batch",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.tolist()),
        (X, Y.int()),
        (X, Y.byte().numpy()),
        (X, Y[:, None]),
        (X, Y, ["a", "b", "c", "d"]),
        (X, Y, torch.rand(4)),
        {"pixel_values": X, "labels": Y},
        UserDict(label=Y, image=X),
        {"image": X, "label": Y, "path": ["a", "b", "c", "d"], "number": 3},
        {"x": X, "target": Y, "weight": torch.rand(4)},
        ({"image": X}, Y),
    ],
    ids=range(13),
)
def test_one_input_is_recognised(batch):
    result = read(batch)
    assert torch.equal(result.x[0], X)
    assert torch.equal(result.y[0], Y)
    assert result.y.dtype == torch.int64
    assert result.inputs is None
    assert result.teacher_inputs is None
    assert BatchReader().read(result) is result


def test_a_second_vector_of_numbers_is_left_out_with_one_warning():
    reader = BatchReader()
    with pytest.warns(LimbeckWarning, match=r"Part 1 is used as the labels, and 2 is left out"):
        assert torch.equal(reader.read((X, Y, torch.arange(4))).y[0], Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.read((X, Y, torch.arange(4)))
        assert torch.equal(read((X, Y, Y + 1), inputs=0, labels=2).y[0], Y + 1)
        assert torch.equal(read((X, Y, Y + 1), labels=-1, inputs=0).y[0], Y + 1)


@pytest.mark.parametrize(
    ("batch", "names", "expected"),
    [
        ((X, X + 1, Y), {}, ((X, X + 1), {})),
        ((X, X + 1, Y, ["a"] * 4), {}, ((X, X + 1), {})),
        (((X, X + 1), Y), {}, ((X, X + 1), {})),
        ({"second": X, "first": X + 1, "y": Y}, {}, ((), {"first": X + 1, "second": X})),
        (({"second": X, "first": X + 1}, Y), {}, ((), {"first": X + 1, "second": X})),
        ({"second": X, "y": Y}, {}, ((), {"second": X})),
        ({"first": X, "other": X, "y": Y}, {}, X),
        ({"a": X, "b": X + 1, "y": Y}, {"inputs": {"second": "a"}}, ((), {"second": X})),
        ({"a": X, "b": X + 1, "y": Y}, {"inputs": "b"}, X + 1),
        ((X, Y, X + 1), {"inputs": [0, 2], "labels": 1}, ((X, X + 1), {})),
        ((X, Y, X + 1), {"inputs": [2], "labels": 1}, X + 1),
        ((Y, X, X + 1), {"labels": 0}, ((X, X + 1), {})),
    ],
)
def test_several_inputs_are_passed_by_position_or_name(batch, names, expected):
    result = read(batch, Two(), **names)
    if isinstance(expected, torch.Tensor):
        assert result.inputs is None
        assert torch.equal(result.x[0], expected)
        return
    assert same(result.inputs, expected)
    assert torch.equal(result.y[0], Y)


def test_a_text_is_passed_by_the_names_of_transformers():
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": Y, "idx": torch.arange(4)}
    assert same(read(batch, Text()).inputs, ((), {"input_ids": IDS, "attention_mask": MASK}))
    assert read(batch, nn.Linear(5, 2)).inputs is None, "a model that reads ids alone gets ids"
    names = {"inputs": ["input_ids", "attention_mask"]}
    expected = (), {"input_ids": IDS, "attention_mask": MASK}
    assert same(read(batch, Anything(), **names).inputs, expected)
    del batch["idx"]
    assert same(read(batch, Anything()).inputs, expected), "a model after torch.compile"


def test_the_teacher_gets_the_arguments_of_its_own_forward():
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": Y}
    result = read(batch, nn.Linear(5, 2), Text())
    assert same(result.teacher_inputs, ((), {"input_ids": IDS, "attention_mask": MASK}))
    result = read(batch, Text(), Text())
    assert result.teacher_inputs is None
    assert same(read(batch, Text(), nn.Linear(5, 2)).teacher_inputs, IDS)


@pytest.mark.parametrize(
    ("batch", "names"),
    [
        ({"small": X, "large": X + 1, "y": Y}, {"teacher_inputs": "large"}),
        ((X, X + 1, Y), {"teacher_inputs": 1}),
        ((X, Y, X + 1), {"inputs": 0, "labels": 1, "teacher_inputs": 2}),
    ],
)
def test_the_teacher_may_have_an_input_of_its_own(batch, names):
    result = read(batch, nn.Linear(3, 2), nn.Linear(3, 2), **names)
    assert torch.equal(result.x[0], X)
    assert torch.equal(result.teacher_inputs, X + 1)
    assert result.inputs is None


def test_labels_that_repeat_the_tokens_are_shifted_from_the_first_batch_on():
    labels = IDS.clone()
    labels[:, :2] = -100
    reader = BatchReader()
    result = reader.read({"input_ids": IDS, "labels": labels}).y[0]
    assert torch.equal(result[:, :-1], labels[:, 1:])
    assert (result[:, -1] == -100).all()
    other = reader.read({"input_ids": IDS, "labels": IDS + 1}).y[0]
    assert torch.equal(other[:, :-1], IDS[:, 1:] + 1)
    shifted = read({"input_ids": IDS, "labels": IDS + 1}).y[0]
    assert torch.equal(shifted, IDS + 1), "labels that are the next tokens already"
    assert torch.equal(read((IDS, IDS)).y[0], IDS)


def test_labels_of_a_text_of_one_token_keep_their_shape():
    tokens = torch.tensor([[3], [4]])
    assert read((tokens, tokens)).y[0].shape == (2, 1)


def test_inputs_without_labels_are_read():
    reader = BatchReader(student=Two())
    assert torch.equal(reader.read_inputs(X), X)
    assert torch.equal(reader.read_inputs((X,)), X)
    assert torch.equal(reader.read_inputs([X, Y]), X)
    assert torch.equal(reader.read_inputs({"image": X}), X)
    assert torch.equal(reader.read_inputs({"image": X, "label": Y}), X)
    assert same(reader.read_inputs({"first": X, "second": X}), ((), {"first": X, "second": X}))
    assert same(reader.read_inputs((X, X + 1, Y)), ((X, X + 1), {}))
    assert same(reader.read_inputs([(X, X + 1)]), ((X, X + 1), {}))
    reader = BatchReader(BatchNames(inputs=1, labels=0))
    assert torch.equal(reader.read_inputs((Y, X)), X)


def test_float64_becomes_float32_for_all_inputs():
    batch = {"first": X.double(), "second": X.double().numpy(), "y": Y}
    model = nn.ModuleList([nn.Linear(2, 2)])
    model.forward = Two().forward
    inputs = read(batch, model).inputs
    assert {value.dtype for value in inputs.by_name.values()} == {torch.float32}
    assert read((X.double(), Y), nn.Linear(3, 2)).x.dtype == torch.float32
    assert read((X.double(), Y), nn.Linear(3, 2).double()).x.dtype == torch.float64


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (X, r"should be a pair \(x, y\) or a dictionary, got Tensor"),
        (None, "got NoneType"),
        ((X,), r"got a tuple of 1 \(Tensor \[4, 3\]\)"),
        ((Y, Y, Y), r"tuple of 3 \(Tensor \[4\], .*as in inputs=0, labels=2"),
        ((X, X, X), r"tuple of 3 .*as in inputs=0, labels=2"),
        ((X, X, Y), r"2 parts besides its labels, .* but the model takes 1 by position.*inputs=0"),
        ({"x": X, "z": Y}, "keys x, z, of which none may be the labels.*labels='z'"),
        ({"x": X, "y": Y, "label": Y}, "of which y, label may be the labels"),
        ({"y": Y}, "has labels but no inputs"),
        ({None: "a", ("b", 1): "c", "y": Y}, r"keys None, \('b', 1\), of which none is an arg"),
        ({"a": X, "b": X, "y": Y}, "keys a, b, of which none is an argument.*inputs='a'"),
        ((X, list("abca")), "labels of a batch should be one tensor .* got list"),
        ((X, None), "labels of a batch should be one tensor"),
        ((X, Y[:-1]), r"inputs of shape \[4, 3\] and labels of shape \[3\]"),
        ((1, [2]), r"inputs of shape \[\] and labels"),
        ((X[0], Y[0]), r"has a single label.*wrap it: DataLoader"),
        ((X[:0], Y[:0]), "A batch of the loader is empty"),
        ((X, Y.float()), r"labels of a batch are torch\.float32 of shape \[4\].*y\.long\(\)"),
        ((X, Y > 1), r"torch\.bool"),
        ((X, torch.eye(3)[Y]), r"of shape \[4, 3\].*y\.argmax\(-1\)"),
        (([X, list("abcd")], Y), "inputs of a batch should be one tensor .* got list"),
    ],
    ids=range(21),
)
def test_other_forms_are_explained(batch, message):
    with pytest.raises(DataError, match=message):
        read(batch)


def test_a_name_that_a_batch_lacks_is_an_error():
    with pytest.raises(DataError, match=r"no part 'img', which inputs= names; it has x"):
        read({"x": X, "y": Y}, inputs="img")
    with pytest.raises(DataError, match=r"no part 7, which labels= names; it has 0, 1"):
        read((X, Y), labels=7)


@pytest.mark.parametrize(
    "names", [{"inputs": []}, {"inputs": 1.5}, {"labels": True}, {"teacher_inputs": [None]}]
)
def test_names_of_another_type_are_refused(names):
    with pytest.raises(ConfigError, match="should be a key or position in a batch"):
        BatchNames(**names)


def test_data_parallel_and_unknown_models_are_read_too():
    batch = {"first": X, "second": X, "y": Y}
    assert isinstance(read(batch, nn.DataParallel(Two())).inputs, Inputs)
