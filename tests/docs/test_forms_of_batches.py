"""Every row of the tables of batches and outputs is tried."""

import warnings

import pytest
import torch
from support.documented_forms import Cases
from support.plain_loop import far
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from transformers.modeling_outputs import SequenceClassifierOutput

import limbeck
from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.training import single_samples

CASES = Cases("## Batches of a loader", "## Outputs of a model")
case = CASES.of


def test_every_row_has_a_case():
    assert list(CASES) == CASES.rows


@pytest.mark.parametrize("row", CASES.rows)
def test_batches_and_outputs(row):
    CASES[row]()


X, Z = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
Y = (X - Z).argmax(1)


class Net(nn.Module):
    """A student of one or two inputs."""

    def __init__(self, wrap=None, norm=None):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3)
        self.wrap, self.norm = wrap, norm or nn.Identity()

    def forward(self, x1, x2=None):
        logits = self.norm(self.layer(x1 if x2 is None else x1 - x2))
        return self.wrap(logits) if self.wrap else logits


def wide():
    torch.manual_seed(1)
    return nn.Linear(3, 3)


def plain(inputs=(X,), teacher=None, teacher_input=X, model=None):
    """The student after one epoch of a loop in torch alone."""
    student = model or Net()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    logits = student(*inputs)
    loss = nn.functional.cross_entropy(logits, Y)
    if teacher is not None:
        with torch.no_grad():
            answers = teacher(teacher_input)
        soft = nn.functional.kl_div(
            (logits / 4).log_softmax(1), (answers / 4).softmax(1), reduction="batchmean"
        )
        loss = 0.1 * loss + 0.9 * 16 * soft
    loss.backward()
    optimizer.step()
    return student


OPTIONS = {"epochs": 1, "lr": 0.01, "progress": False}


def check(batch, arguments=(X,), **names):
    """Train, distil, evaluate and compute a step of the module on a batch of any form."""
    student = limbeck.train(Net(), [batch], **OPTIONS, **names)
    assert far(student, plain(arguments)) < 1e-6
    teacher = Net()
    with torch.no_grad():
        teacher.layer.weight.neg_()
        answers = teacher(*arguments)
    student = limbeck.distill(Net(), teacher, [batch], **OPTIONS, **names)
    assert far(student, plain(arguments, lambda _: answers)) < 1e-5
    result = limbeck.evaluate(Net(), [batch], teacher=teacher, **names)
    logits = Net()(*arguments)
    assert result["errors"] == int((logits.argmax(1) != Y).sum())
    assert result["nll"] == pytest.approx(float(nn.functional.cross_entropy(logits, Y)), rel=1e-5)
    module = limbeck.DistillationModule(Net(), **names)
    torch.testing.assert_close(
        module.training_step(batch, 0), nn.functional.cross_entropy(logits, Y)
    )


@case("`(x, y)`")
def _pair():
    check((X, Y))
    check((X.double().numpy(), Y.tolist()))


@case("`(x, y, index)`")
def _triple():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        check((X, Y, torch.arange(8)))
    check((X, Y, [str(number) for number in range(8)]))


@case("`(x1, x2, y)`")
def _two_inputs():
    check((X, Z, Y), (X, Z))


@case("`((x1, x2), y)`")
def _nested():
    check(((X, Z), Y), (X, Z))


@case('`({"x1": x1, "x2": x2}, y)`')
def _nested_names():
    check(({"x2": Z, "x1": X}, Y), (X, Z))


@case('`{"image": x, "label": y}`')
def _image():
    check({"image": X, "label": Y})
    expected = limbeck.evaluate(Net(), [(X, Y)])
    for key in ("labels", "label_ids", "target", "targets", "y"):
        assert limbeck.evaluate(Net(), [{"anything": X, key: Y}]) == expected


@case('`{"image": x, "label": y, "path": paths}`')
def _image_and_path():
    check({"path": ["a"] * 8, "image": X, "label": Y, "size": 3})


@case('`{"pixel_values": x, "labels": y}`')
def _pixel_values():
    check({"pixel_values": X, "labels": Y})


class Text(nn.Module):
    """A model with the arguments of transformers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(9, 9)

    def forward(self, input_ids, attention_mask=None, labels=None):
        assert labels is None
        logits = self.table(input_ids)
        return logits if attention_mask is None else logits * attention_mask[..., None]


IDS = torch.randint(9, (4, 5), generator=torch.Generator().manual_seed(0))


@case('`{"input_ids": ids, "attention_mask": mask, "labels": y}`')
def _text():
    mask = (IDS > 2).float()
    labels = IDS.roll(-1, 1)
    batch = {"input_ids": IDS, "attention_mask": mask, "labels": labels}
    result = limbeck.evaluate(Text(), [batch])
    logits = Text()(IDS, mask).flatten(0, 1)
    expected = nn.functional.cross_entropy(logits, labels.flatten())
    assert result["nll"] == pytest.approx(float(expected), rel=1e-5)
    assert far(limbeck.train(Text(), [batch], **OPTIONS), Text()) > 0


@case('`{"input_ids": ids, "labels": ids}`')
def _own_tokens():
    result = limbeck.evaluate(Text(), [{"input_ids": IDS, "labels": IDS}])
    expected = nn.functional.cross_entropy(Text()(IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    assert result["nll"] == pytest.approx(float(expected), rel=1e-5)


@case('`{"small": x, "large": z, "y": y}`')
def _teacher_inputs():
    batch = {"small": X, "large": Z, "y": Y}
    for names in ({"inputs": "small"}, {}):
        student = limbeck.distill(
            Net(), wide(), [batch], **OPTIONS, **names, teacher_inputs="large"
        )
        assert far(student, plain((X,), wide(), Z)) < 1e-5
    result = limbeck.evaluate(Net(), [batch], teacher=wide(), teacher_inputs="large")
    same = Net()(X).argmax(1) == wide()(Z).argmax(1)
    assert result["agreement"] == pytest.approx(float(same.float().mean()))


@case('`{"a": x, "b": y}`')
def _names():
    check({"a": X, "b": Y}, inputs="a", labels="b")
    check({"a": X, "b": Y, "c": Z}, (X, Z), inputs={"x1": "a", "x2": "c"}, labels="b")
    check({"x1": X, "b": Y, "x2": Z}, (X, Z), inputs=["x1", "x2"], labels="b")


@case("`(y, x)`")
def _positions():
    check((Y, X), inputs=1, labels=0)


@case("`x`")
def _unlabelled():
    teacher = wide()
    for batch in (X, (X,), {"image": X}):
        student = limbeck.distill(Net(), teacher, [batch], hard_weight=0, **OPTIONS)
        expected = limbeck.distill(Net(), teacher, [(X, Y)], hard_weight=0, **OPTIONS)
        assert far(student, expected) == 0
    with pytest.raises(DataError, match="without labels need a teacher and hard_weight=0"):
        limbeck.distill(Net(), teacher, [X], **OPTIONS)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@case("an iterable dataset")
def _stream():
    student = limbeck.train(Net(), DataLoader(Stream(), 8), **OPTIONS)
    assert far(student, plain()) < 1e-6
    limit = {"max_steps": 2}
    options = {"optimizer": limbeck.Optimizer(schedule="cosine"), "trainer": limit}
    limbeck.train(Net(), DataLoader(Stream(), 4), epochs=9, progress=False, **options)


@case("a last batch of one sample")
def _last_sample():
    single_samples._warn.cache_clear()
    batches = [(X, Y), (X[:1], Y[:1])]
    with pytest.warns(LimbeckWarning, match="a single sample is left out"):
        student = limbeck.train(Net(norm=nn.BatchNorm1d(3)), batches, **OPTIONS)
    assert far(student, plain(model=Net(norm=nn.BatchNorm1d(3)))) < 1e-6


# Outputs ------------------------------------------------------------------------------------------


def check_output(*wraps):
    for wrap in wraps:
        student = limbeck.train(Net(wrap), [(X, Y)], **OPTIONS)
        assert far(student, plain()) < 1e-6
        assert limbeck.evaluate(Net(wrap), [(X, Y)]) == limbeck.evaluate(Net(), [(X, Y)])


@case("a tensor")
def _tensor():
    check_output(lambda logits: logits)


@case("a `ModelOutput` of transformers")
def _model_output():
    check_output(lambda logits: SequenceClassifierOutput(logits=logits))


@case("a dictionary")
def _dictionary():
    for key in ("logits", "out", "output", "outputs", "pred", "prediction", "predictions", "y_hat"):
        check_output(lambda logits, key=key: {"features": logits * 2, key: logits})


@case("a tuple")
def _tuple():
    check_output(lambda z: (z.mean(), z), lambda z: (z, z * 2))


@case("a teacher of half precision")
def _half():
    teacher = wide().half()
    student = limbeck.distill(Net(), teacher, [(X, Y)], **OPTIONS)
    assert far(student, plain((X,), lambda x: teacher(x.half()).float())) < 1e-5
