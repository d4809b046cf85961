import pytest
import torch
from torch import nn

from limbeck._base.errors import TeacherError
from limbeck.models import MLP, ConvNet, LoadedModel, Normalized
from limbeck.teacher.checks import check_teacher, probe

NAMES = ["cat", "dog", "fox"]
SHAPE = (1, 4, 4)


def check(model, *, theirs=None, names=NAMES, shape=SHAPE):
    description = {} if theirs is None else {"class_names": theirs}
    loaded = LoadedModel(model, description)
    check_teacher(loaded, torch.zeros(1, *shape), (len(names),), class_names=names, where="runs/a")


def mlp(classes=3):
    return MLP(SHAPE, classes, hidden=[5])


class Answer(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def raiser(error):
    def answer(x):
        raise error

    return answer


@pytest.mark.parametrize("theirs", [None, NAMES, tuple(NAMES)])
def test_a_teacher_that_fits(theirs):
    check(mlp(), theirs=theirs)
    check(Normalized(ConvNet(SHAPE, 3, channels=[4], strides=[1]), [0.5], [1.0]), theirs=theirs)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_number_of_classes(classes):
    with pytest.raises(
        TeacherError, match=rf"runs/a: the teacher outputs {classes} classes, but the dataset has 3"
    ):
        check(mlp(classes))


def test_order_of_classes():
    with pytest.raises(
        TeacherError,
        match=r"runs/a: the classes .* the teacher's class 1 is 'fox', but the dataset's is 'dog'",
    ):
        check(mlp(), theirs=["cat", "fox", "dog"])


def test_classes_sorted_as_text_are_told_the_setting():
    names = ["class1", "class2", "class10"]
    message = r"the classes are the same, but in another order.*1 is 'class10'.*class_order=text"
    with pytest.raises(TeacherError, match=message):
        check(mlp(), theirs=sorted(names), names=names)
    message = r"class 0 is 'class10'.*order: data\.class_names=\[class10,class2,class1\]"
    with pytest.raises(TeacherError, match=message):
        check(mlp(), theirs=names[::-1], names=names)


def test_names_in_the_form_of_an_earlier_version_fit():
    check(mlp(), theirs=["0.0", "1.0", "2.0"], names=["0", "1", "2"])
    check(mlp(), theirs=["cafe\u0301", "b", "c"], names=["caf\u00e9", "b", "c"])


@pytest.mark.parametrize("theirs", [["cat", "dog"], [*NAMES, "owl"], []])
def test_names_that_are_too_few_or_too_many(theirs):
    with pytest.raises(
        TeacherError, match=rf"the teacher has {len(theirs)} classes, but the dataset has 3"
    ):
        check(mlp(), theirs=theirs)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (mlp(), (1, 5, 5)),
        (ConvNet(SHAPE, 3, channels=[4], strides=[1]), (3, 4, 4)),
        (Normalized(mlp(), [0.1, 0.2, 0.3], [1.0, 1.0, 1.0]), SHAPE),
        (nn.Conv2d(3, 3, 3), SHAPE),
        (Answer(raiser(ValueError("wrong size"))), SHAPE),
        (Answer(raiser(AssertionError())), SHAPE),
        (Answer(raiser(RuntimeError())), SHAPE),
        (Answer(raiser(RuntimeError("\nsecond line"))), SHAPE),
        (Answer(lambda x: x[:, 7]), SHAPE),
        (Answer(lambda x, y: x), SHAPE),
    ],
    ids=lambda v: type(v).__name__,
)
def test_inputs_that_it_cannot_read(model, shape):
    with pytest.raises(TeacherError, match=r"runs/a: .* cannot read inputs of shape \[") as caught:
        check(model, shape=shape)
    assert str(list(shape)) in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x, r"outputs shape \[1, 1, 4, 4\] for one input; expected logits of shape"),
        (lambda x: x.sum(), r"outputs shape \[\]"),
        (lambda x: torch.zeros(3), r"outputs shape \[3\]"),
        (lambda x: torch.zeros(3, 3), r"outputs shape \[3, 3\]"),
        (lambda x: (x.sum(), [x]), "outputs tuple for one input"),
        (lambda x: {"features": torch.zeros(1, 3)}, "outputs dict for one input"),
        (lambda x: None, "outputs NoneType for one input"),
    ],
)
def test_answers_that_are_no_logits(answer, message):
    with pytest.raises(TeacherError, match=message):
        check(Answer(answer))


@pytest.mark.parametrize("training", [True, False])
def test_probing_changes_nothing(training):
    model = ConvNet(SHAPE, 3, channels=[4], strides=[1]).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert probe(model, torch.zeros(1, *SHAPE), (3,), where="here") == 3
    assert model.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_that_fails_keeps_its_mode():
    model = Answer(raiser(RuntimeError("no"))).train()
    with pytest.raises(TeacherError):
        probe(model, torch.zeros(1, *SHAPE), (3,), where="here")
    assert model.training


class Language(nn.Module):
    def __init__(self, vocabulary, *, cut=0):
        super().__init__()
        self.embedding, self.cut = nn.Embedding(vocabulary, vocabulary), cut

    def forward(self, ids):
        return self.embedding(ids)[:, self.cut :]


def check_language(model, *, theirs=None):
    description = {} if theirs is None else {"class_names": theirs}
    blank = torch.zeros(1, 5, dtype=torch.int64)
    check_teacher(
        LoadedModel(model, description), blank, (5, 3), class_names=["a", "b", "c"], where="runs/a"
    )


def test_a_language_model_that_fits():
    check_language(Language(3), theirs=["a", "b", "c"])


@pytest.mark.parametrize(
    ("model", "theirs", "message"),
    [
        (Language(4), None, "the teacher outputs 4 tokens, but the dataset has 3"),
        (
            Language(3),
            ["a", "c", "b"],
            r"the teacher's token 1 is 'c', but the dataset's is 'b'.*data.tokenizer=FOLDER",
        ),
        (Language(3), ["a", "b", "c", "d"], "the teacher has 4 tokens, but the dataset has 3"),
        (
            Language(3, cut=1),
            None,
            r"outputs shape \[1, 4, 3\] for one input; expected logits of shape \[1, 5, classes\]",
        ),
        (mlp(), None, r"cannot read inputs of shape \[5\]"),
    ],
)
def test_language_models_that_do_not_fit(model, theirs, message):
    with pytest.raises(TeacherError, match=message):
        check_language(model, theirs=theirs)
