"""Scoring a model on batches: what it counts, and that it leaves everything as it was."""

from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck._base.errors import ConfigError, DataError
from limbeck.evaluation import metrics
from limbeck.evaluation.evaluate import evaluate, predict
from limbeck.evaluation.text import score_tokens, token_metrics


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def flat_model(dropout=0.5):
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 4))


def image_model():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)
    )


@pytest.fixture(params=["flat", "image"])
def case(request):
    torch.manual_seed(0)
    if request.param == "flat":
        model, x = flat_model(), randn(23, 6)
    else:
        model, x = image_model(), randn(23, 3, 6, 6)
        model(x)
    return model, x, torch.arange(23) % 4


def test_a_list_and_a_loader_equal_the_metrics(case):
    model, x, y = case
    with torch.no_grad():
        logits = model.eval()(x)
    want = metrics.classification_metrics(logits, y)
    batches = [(x[:10], y[:10]), (x[10:20], y[10:20]), (x[20:], y[20:])]
    for loader in (batches, iter(batches), DataLoader(TensorDataset(x, y), batch_size=7)):
        result = evaluate(model, loader)
        assert list(result) == ["total", "correct", "errors", "accuracy", "nll", "ece"]
        assert (result["total"], result["correct"]) == (23, 23 - want.errors)
        for key in ("errors", "accuracy", "nll", "ece"):
            assert result[key] == pytest.approx(getattr(want, key), rel=1e-5)


def test_the_last_short_batch_weighs_by_its_samples():
    logits = torch.tensor([[5.0, 0.0]] * 5)
    y = torch.tensor([0, 0, 0, 0, 1])
    result = evaluate(nn.Identity(), [(logits[:4], y[:4]), (logits[4:], y[4:])])
    assert result["accuracy"] == 0.8
    assert result["nll"] == pytest.approx(metrics.nll(logits, y).item())


def test_labels_may_be_a_list():
    assert evaluate(nn.Identity(), [(torch.eye(3), [0, 1, 1])])["errors"] == 1


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_left_as_found(training):
    model = flat_model().train(training)
    evaluate(model, [(randn(5, 6), torch.zeros(5, dtype=torch.long))])
    assert {module.training for module in model.modules()} == {training}


def test_partly_frozen_mode_is_left_as_found():
    model = flat_model().train()
    model[1].eval()
    want = [module.training for module in model.modules()]
    evaluate(model, [(randn(5, 6), torch.zeros(5, dtype=torch.long))])
    assert [module.training for module in model.modules()] == want
    model.eval()
    model[2].train()
    want = [module.training for module in model.modules()]
    evaluate(model, [(randn(5, 6), torch.zeros(5, dtype=torch.long))])
    assert [module.training for module in model.modules()] == want


def test_batchnorm_statistics_are_not_touched():
    model = flat_model().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, [(randn(5, 6) + 3, torch.zeros(5, dtype=torch.long))])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = flat_model()

    def forward(self, x):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_a_failing_models_error_is_passed_on_and_its_mode_put_back():
    model = Failing().train()
    model.inner[1].eval()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        evaluate(model, [(randn(5, 6), torch.zeros(5, dtype=torch.long))])
    assert model.training
    assert not model.inner[1].training


def test_a_failing_loaders_error_is_passed_on():
    def loader():
        raise RuntimeError("worker 0 died")
        yield

    with pytest.raises(RuntimeError, match="worker 0 died"):
        evaluate(flat_model(), loader())


@pytest.mark.parametrize("loader", [[], iter(()), DataLoader([])])
def test_no_batch_is_refused(loader):
    model = flat_model().train()
    with pytest.raises(ConfigError, match="no batch"):
        evaluate(model, loader)
    assert model.training


class Odd(nn.Module):
    """A model whose logits are changed by a function of them and of the number of calls."""

    def __init__(self, change):
        super().__init__()
        self.change, self.calls = change, 0

    def forward(self, x):
        self.calls += 1
        return self.change(x, self.calls)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, calls: x[:, : calls + 1],
            r"shape \[5, 3\] for batch 1 but \[5, 2\] for the first",
        ),
        (lambda x, calls: x.to(torch.complex64), "complex numbers .*; expected real logits"),
    ],
)
def test_logits_should_be_real_and_of_one_number(change, message):
    batches = [(randn(5, 4), torch.zeros(5, dtype=torch.long))] * 2
    with pytest.raises(ConfigError, match=message):
        evaluate(Odd(change), batches)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"a": randn(2, 4), "b": randn(2, 4), "y": [0, 1]}, "with the keys a, b, of which none"),
        ((randn(2, 4), [0, 4]), "Sample 6 of the loader has the label 4, but the model has 4 out"),
        ((randn(2, 4) / 0, [0, 1]), "Sample 0 of batch 1 of the loader contains -?inf"),
    ],
)
def test_bad_batches_are_named(batch, message):
    good = (randn(5, 4), torch.arange(5) % 4)
    with pytest.raises(DataError, match=message):
        evaluate(nn.Identity(), [good, batch])


def test_labels_of_another_shape_are_refused():
    labels = torch.zeros(4, 3, dtype=torch.long)
    with pytest.raises(DataError, match=r"labels of shape \[4, 3\] for logits of shape \[4, 2\]"):
        evaluate(nn.Identity(), [(randn(4, 2), labels)])


def test_unlabelled_samples_are_not_counted():
    logits = torch.eye(3)
    assert evaluate(nn.Identity(), [(logits, [0, -100, 1])])["total"] == 2
    with pytest.raises(DataError, match="All labels of the loader are -100"):
        evaluate(nn.Identity(), [(logits, [-100] * 3)])


def test_predict_gives_float32_logits_in_order():
    model = flat_model().double()
    x = randn(9, 6).double()
    result = predict(model, [x[:4], x[4:]])
    assert result.shape == (9, 4)
    assert result.dtype == torch.float32
    assert not result.requires_grad
    torch.testing.assert_close(result, model.eval()(x).float())


def test_predictions_can_be_used_in_training():
    weight = torch.ones(4, requires_grad=True)
    (predict(flat_model(), [randn(5, 6)]) * weight).sum().backward()
    assert weight.grad is not None


def test_batches_that_a_loader_makes_once_and_keeps_can_be_trained_on():
    class Lazy:
        batches = None

        def __iter__(self):
            if self.batches is None:
                self.batches = [(randn(5, 6) + 1, torch.zeros(5, dtype=torch.long))]
            return iter(self.batches)

    model, loader = flat_model(), Lazy()
    evaluate(model, loader)
    for x, y in loader:
        nn.functional.cross_entropy(model(x), y).backward()
    assert model[0].weight.grad is not None


def test_a_language_model_is_scored_by_its_tokens():
    torch.manual_seed(3)
    model = torch.nn.Embedding(5, 5)
    x, y = torch.randint(5, (4, 6)), torch.randint(5, (4, 6))
    y[1, 3:] = -100
    result = evaluate(model, [(x[:2], y[:2]), (x[2:], y[2:])])
    logits, labels = model(x)[y != -100].detach(), y[y != -100]
    assert result["total"] == 21
    assert result["errors"] == int((logits.argmax(-1) != labels).sum())
    assert result["nll"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-6
    )


def test_all_metrics_of_a_report_are_there():
    teacher, model, x = flat_model(), flat_model(), randn(30, 6)
    y = torch.arange(30) % 4
    y[5] = -100
    with torch.no_grad():
        logits, other = model.eval()(x)[y >= 0], teacher.eval()(x)[y >= 0]
    want = metrics.classification_metrics(logits, y[y >= 0], other, ordinal=True)
    teacher.train()
    result = evaluate(model, [(x[:9], y[:9]), (x[9:], y[9:])], teacher=teacher, ordinal=True)
    assert teacher.training
    assert list(result) == ["total", "correct", *asdict(want)]
    for key, value in asdict(want).items():
        assert result[key] == pytest.approx(value, rel=1e-5), key


def test_a_teacher_of_other_classes_is_refused():
    with pytest.raises(DataError, match=r"teacher returned logits of shape \[5, 3\], the model of"):
        evaluate(nn.Linear(6, 2), [(randn(5, 6), [0] * 5)], teacher=nn.Linear(6, 3))


def test_what_is_no_module_is_named():
    batches = [(randn(4, 6), torch.arange(4) % 2)]
    with pytest.raises(ConfigError, match=r"The model should be a torch\.nn\.Module; got function"):
        evaluate(randn, batches)
    with pytest.raises(ConfigError, match=r"The teacher should be a torch\.nn\.Module; got str"):
        evaluate(nn.Linear(6, 2), batches, teacher="teacher.onnx")


def test_a_language_model_has_the_metrics_of_a_report():
    model, teacher = torch.nn.Embedding(5, 5), torch.nn.Embedding(5, 5)
    x, y = torch.randint(5, (4, 6)), torch.randint(5, (4, 6))
    scores = score_tokens([(x, y, teacher(x).detach())], model)
    want = asdict(token_metrics(scores, 40))
    result = evaluate(model, [(x[:1], y[:1]), (x[1:], y[1:])], teacher=teacher, text_bytes=40)
    assert list(result) == ["total", "correct", *want]
    for key, value in want.items():
        assert result[key] == pytest.approx(value, rel=1e-5), key
    assert "bits_per_byte" not in evaluate(model, [(x, y)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_any_precision_are_scored(dtype):
    model, x = nn.Linear(6, 4).to(dtype), randn(9, 6)
    expected = model(x.to(dtype)).float().detach()
    assert torch.equal(predict(model, [x]), expected)
    assert evaluate(model, [(x, [0] * 9)])["errors"] == int((expected.argmax(1) != 0).sum())


def test_batches_may_be_dictionaries_with_names():
    model, x = flat_model(), randn(9, 6)
    expected = evaluate(model, [(x, [1] * 9)])
    batch = {"a": x, "b": x + 1, "c": [1] * 9}
    assert evaluate(model, [batch], inputs="a", labels="c") == expected


def test_batches_may_be_numpy_arrays():
    x, y = randn(23, 6), torch.arange(23) % 4
    model = flat_model()
    assert evaluate(model, [(x.numpy(), y.numpy())]) == evaluate(model, [(x, y)])
