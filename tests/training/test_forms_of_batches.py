"""Training on batches of any form: the same student as from pairs of tensors."""

import pytest
import torch
from support.plain_loop import far, same, trainer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel
from transformers.modeling_outputs import SequenceClassifierOutput

import limbeck
from limbeck import DistillationModule
from limbeck._base.errors import ConfigError, DataError, LimbeckWarning
from limbeck.data.batches import Batch
from limbeck.data.inputs import Inputs
from limbeck.training import single_samples
from limbeck.training.cohort.stack import Cohort


class Sum(nn.Module):
    """A student with two inputs, whose logits are in an output of a given kind."""

    def __init__(self, wrap=lambda logits: logits, dropped=False):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.wrap = nn.Linear(3, 3), wrap
        self.norm = nn.BatchNorm1d(3) if dropped else nn.Identity()

    def forward(self, a, b):
        return self.wrap(self.norm(self.layer(a + 2 * b)))


def large():
    torch.manual_seed(1)
    return nn.Linear(3, 3)


A, B = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(2))
Y = (A + 2 * B).argmax(1)
FORMS = {
    "tuple": lambda a, b, y: (a, b, y),
    "nested tuple": lambda a, b, y: ((a, b), y),
    "dictionary": lambda a, b, y: {"b": b, "labels": y, "a": a, "name": ["s"] * len(y)},
    "nested dictionary": lambda a, b, y: ({"a": a, "b": b}, y),
}


def batches(form, size=8):
    parts = zip(A.split(size), B.split(size), Y.split(size), strict=True)
    return [form(*part) for part in parts]


def trained(form, student=None, size=8, **options):
    student = student or Sum()
    return limbeck.train(student, batches(form, size), epochs=2, lr=0.1, progress=False, **options)


@pytest.fixture(scope="module")
def expected():
    """The student trained with torch alone."""
    student = Sum()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.1)
    for _ in range(2):
        for a, b, y in batches(lambda *parts: parts):
            optimizer.zero_grad()
            nn.functional.cross_entropy(student(a, b), y).backward()
            optimizer.step()
    return student


@pytest.mark.parametrize("form", FORMS)
def test_several_inputs_train_the_student_of_a_plain_loop(form, expected):
    assert far(trained(FORMS[form]), expected) < 1e-5
    assert far(expected, Sum()) > 0.1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: (logits, logits.mean(1)),
        lambda logits: (logits.mean(), logits),
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: SequenceClassifierOutput(logits=logits),
    ],
    ids=["tuple", "loss first", "dictionary", "ModelOutput"],
)
def test_any_output_trains_the_same_student(wrap, expected):
    assert far(trained(FORMS["tuple"], Sum(wrap)), expected) < 1e-5


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_a_teacher_has_inputs_and_a_precision_of_its_own(precision):
    x, large_x, y = A, B, Y
    teacher = large().to(precision)
    options = {"epochs": 2, "progress": False, "optimizer": "sgd", "lr": 0.1}

    def distilled(batch, **names):
        return limbeck.distill(large(), teacher, [batch], **options, **names)

    by_key = distilled({"x": x, "z": large_x, "y": y}, inputs="x", teacher_inputs="z")
    by_position = distilled((x, large_x, y), teacher_inputs=1)
    assert same(by_key, by_position)
    with torch.no_grad():
        answers = teacher(large_x.to(precision)).float()
    student = large()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(2):
        optimizer.zero_grad()
        logits = student(x)
        soft = nn.functional.kl_div(
            (logits / 4).log_softmax(1), (answers / 4).softmax(1), reduction="batchmean"
        )
        (0.1 * nn.functional.cross_entropy(logits, y) + 0.9 * 16 * soft).backward()
        optimizer.step()
    assert far(by_key, student) < 1e-5
    assert {p.dtype for p in teacher.parameters()} == {precision}


def test_a_trainer_takes_dictionaries_of_several_inputs(expected):
    student = Sum()
    module = DistillationModule(student, optimizer=limbeck.Optimizer(lr=0.1))
    dataset = [{"a": a, "b": b, "y": y, "name": "s"} for a, b, y in zip(A, B, Y, strict=True)]
    loader = DataLoader(dataset, batch_size=8)
    fitter = trainer(max_epochs=2)
    fitter.fit(module, loader, loader)
    assert far(student, expected) < 1e-5
    with torch.no_grad():
        right = (student(A, B).argmax(1) == Y).float().mean()
    assert float(fitter.callback_metrics["val_acc"]) == pytest.approx(float(right))
    logits = torch.cat(fitter.predict(module, loader))
    torch.testing.assert_close(logits, student(A, B))
    torch.testing.assert_close(module(Inputs((A, B), {})), student(A, B))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_several_inputs_get_the_precision_of_the_training(precision):
    options = {"trainer": {"precision": precision}}
    student = trained(FORMS["dictionary"], **options)
    assert same(student, trained(FORMS["tuple"], **options))
    batch = {"a": A, "b": B, "z": A, "y": Y}
    teacher_inputs = {"epochs": 1, "teacher_inputs": "z", "progress": False, **options}
    student = limbeck.distill(Sum(), large().half(), [batch], **teacher_inputs)
    assert 1e-4 < far(student, Sum()) < 0.1


class Stream(IterableDataset):
    def __iter__(self):
        return iter([{"a": a, "b": b, "y": y} for a, b, y in zip(A, B, Y, strict=True)])


def test_a_dataset_without_length_yields_dictionaries(expected):
    student = Sum()
    loader = DataLoader(Stream(), batch_size=8)
    limbeck.train(student, loader, epochs=2, lr=0.1, progress=False, val_loader=loader)
    assert far(student, expected) < 1e-5
    schedule = limbeck.Optimizer(schedule="cosine")
    with pytest.raises(ConfigError, match="needs a loader that has a length"):
        limbeck.train(Sum(), loader, epochs=1, optimizer=schedule, progress=False)
    limit = {"max_steps": 3}
    limbeck.train(Sum(), loader, epochs=9, optimizer=schedule, progress=False, trainer=limit)


def test_a_last_sample_of_several_inputs_is_left_out_under_batchnorm():
    single_samples._warn.cache_clear()

    def student(count):
        rows = [(A[:count], B[:count], Y[:count]), (A[-1:], B[-1:], Y[-1:])]
        model = Sum(dropped=True)
        loader = [FORMS["dictionary"](*part) for part in rows[: 1 + (count == 15)]]
        return limbeck.train(model, loader, epochs=1, progress=False)

    with pytest.warns(LimbeckWarning, match="a single sample is left out"):
        result = student(15)
    alone = Sum(dropped=True)
    limbeck.train(alone, [(A[:15], B[:15], Y[:15])], epochs=1, progress=False)
    assert same(result, alone)


def test_features_guide_students_with_several_inputs():
    feature = {"kind": "hint", "student": "layer", "teacher": "layer"}
    student = limbeck.distill(
        Sum(),
        Sum().half(),
        batches(FORMS["dictionary"]),
        epochs=1,
        features=[feature],
        progress=False,
    )
    assert far(student, Sum()) > 1e-6


def test_students_with_several_inputs_cannot_be_stacked():
    module = DistillationModule(Cohort([[Sum(), Sum()]]))
    with pytest.raises(ConfigError, match="several inputs cannot be stacked"):
        module.task(Batch(A[None], Y[None], inputs=Inputs((A, B), {})))


def test_bad_values_in_any_input_are_named():
    broken = B.clone()
    broken[9, 1] = torch.nan
    loader = [{"a": A, "b": broken, "y": Y}]
    with pytest.raises(DataError, match="Sample 9 of batch 0 of the loader contains nan"):
        limbeck.train(Sum(), loader, epochs=1, progress=False)
    labels = Y.clone()
    labels[4] = 7
    with pytest.raises(DataError, match=r"Sample 4 of batch 0 .* label 7, but the model has 3"):
        limbeck.train(Sum(), [{"a": A, "b": B, "y": labels}], epochs=1, progress=False)


def tokens():
    draw = torch.Generator().manual_seed(5)
    return torch.randint(3, 20, (6, 7), generator=draw)


def test_a_classifier_of_transformers_learns_from_batches_of_a_collator():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=20, intermediate_size=8, num_labels=3, **sizes)
    torch.manual_seed(0)
    student, teacher = (BertForSequenceClassification(config) for _ in range(2))
    mask = torch.ones(6, 7, dtype=torch.long)
    mask[:, 5:] = 0
    batch = {"input_ids": tokens(), "attention_mask": mask, "labels": torch.arange(6) % 3}
    loader = [{**batch, "idx": torch.arange(6), "sentence": ["a"] * 6}]
    limbeck.distill(student, teacher.half(), loader, epochs=2, progress=False)
    result = limbeck.evaluate(student, loader, teacher=teacher)
    with torch.no_grad():
        output = student.eval()(**batch)
    assert result["nll"] == pytest.approx(float(output.loss), rel=1e-5)
    assert result["total"] == 6
    assert 0 <= result["agreement"] <= 1


def test_a_language_model_of_transformers_learns_to_predict_the_next_token():
    torch.manual_seed(0)
    student = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2))
    labels = tokens()
    labels[:, 6:] = -100
    batch = {"input_ids": tokens(), "attention_mask": torch.ones(6, 7), "labels": labels}
    result = limbeck.evaluate(student, [batch])
    with torch.no_grad():
        loss = float(student.eval()(**batch).loss)
    assert result["nll"] == pytest.approx(loss, rel=1e-5)
    assert result["total"] == 30
    limbeck.train(student, [batch], epochs=20, lr=1e-2, progress=False)
    assert limbeck.evaluate(student, [batch])["nll"] < loss - 0.1
