"""The small GPT against the same formulas written out for one sample, and on disk."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from limbeck._base.errors import ConfigError, LimbeckError, TeacherError, UntrustedFileError
from limbeck.models import GPT, Graded, count_parameters, load_model, save_model
from limbeck.models import gpt as gpt_module
from limbeck.models.gpt import STD, causal_attention


def new_model(seed=0, *, length=7, classes=11, width=12, layers=2, heads=3, dropout=0.0):
    torch.manual_seed(seed)
    model = GPT((length,), classes, width=width, layers=layers, heads=heads, dropout=dropout)
    with torch.no_grad():
        for weight in model.parameters():  # gains off one, and attention that is not flat
            weight.add_(torch.randn_like(weight) * 0.2)
    return model


def normed(x, gain):
    return [
        (v - sum(x) / len(x))
        / math.sqrt(sum((w - sum(x) / len(x)) ** 2 for w in x) / len(x) + 1e-5)
        * g
        for v, g in zip(x, gain, strict=True)
    ]


def times(weight, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]


def by_hand(model, ids):
    """Logits of one sample, in plain Python."""
    w = {name: weight.detach().double().tolist() for name, weight in model.named_parameters()}
    heads, size = model.arguments["heads"], model.arguments["width"] // model.arguments["heads"]
    rows = [
        [a + b for a, b in zip(w["tokens.weight"][t], w["positions.weight"][i], strict=True)]
        for i, t in enumerate(ids)
    ]
    for n in range(model.arguments["layers"]):
        own = {name.removeprefix(f"blocks.{n}."): value for name, value in w.items()}
        qkv = [times(own["qkv.weight"], normed(x, own["norm1.weight"])) for x in rows]
        width = len(rows[0])
        gathered = [[0.0] * width for _ in rows]
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            q, k, v = ([x[i * width : (i + 1) * width][part] for x in qkv] for i in range(3))
            for i in range(len(rows)):
                scores = [
                    math.exp(sum(a * b for a, b in zip(q[i], k[j], strict=True)) / math.sqrt(size))
                    for j in range(i + 1)
                ]
                for d in range(size):
                    gathered[i][h * size + d] = sum(
                        s * v[j][d] for j, s in enumerate(scores)
                    ) / sum(scores)
        rows = [
            [a + b for a, b in zip(x, times(own["out.weight"], g), strict=True)]
            for x, g in zip(rows, gathered, strict=True)
        ]
        for i, x in enumerate(rows):
            up = times(own["up.weight"], normed(x, own["norm2.weight"]))
            gelu = [u * (1 + math.erf(u / math.sqrt(2))) / 2 for u in up]
            rows[i] = [a + b for a, b in zip(x, times(own["down.weight"], gelu), strict=True)]
    return [times(w["tokens.weight"], normed(x, w["norm.weight"])) for x in rows]


def test_logits_are_those_of_the_formulas():
    model = new_model().double()
    ids = [3, 0, 10, 3, 7]
    expected = torch.tensor([by_hand(model, ids)], dtype=torch.float64)
    torch.testing.assert_close(model(torch.tensor([ids])), expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_position_sees_only_what_comes_before(data):
    length = data.draw(st.integers(1, 9))
    model = new_model(data.draw(st.integers(0, 5)), length=length).double()
    ids = torch.tensor([data.draw(st.lists(st.integers(0, 10), min_size=length, max_size=length))])
    place, token = data.draw(st.integers(0, length - 1)), data.draw(st.integers(0, 10))
    changed = ids.clone()
    changed[0, place] = token
    before, after = model(ids), model(changed)
    torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-12)
    if token != ids[0, place]:
        assert bool(((after - before).abs().amax(-1)[0, place:] > 1e-12).all()), (
            "every later position sees it"
        )
    torch.testing.assert_close(
        model(ids[:, : place + 1]), before[:, : place + 1], rtol=0, atol=1e-12
    )


def test_logits_are_features_times_the_last_layer():
    model = new_model().eval()
    ids = torch.randint(11, (3, 7))
    weight, bias = model.last_layer()
    assert bias is None
    assert weight is model.tokens.weight
    torch.testing.assert_close(model.hidden(ids) @ weight.T, model(ids))
    assert torch.equal(model(ids), model(ids.int())), "ids of any width"
    assert model(ids).shape == (3, 7, 11)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("longest", [4, 512])
def test_attention_equals_the_formula(kind, longest, monkeypatch):
    monkeypatch.setattr(gpt_module, "MAX_PLAIN_LENGTH", longest)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 9, 3, 4).to(kind).transpose(1, 2).requires_grad_() for _ in range(3))
    inputs, exact = (
        torch.randn(2, 3, 9, 4),
        [part.detach().double().requires_grad_() for part in (q, k, v)],
    )
    scores = (exact[0] @ exact[1].mT / 2).masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf)
    expected = scores.softmax(-1) @ exact[2]
    result = causal_attention(q, k, v)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-10, torch.bfloat16: 0.05}[kind]
    torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)
    (result * inputs).sum().backward()
    (expected * inputs).sum().backward()
    for part, theirs in zip((q, k, v), exact, strict=True):
        torch.testing.assert_close(
            part.grad.double(), theirs.grad, rtol=tolerance, atol=2 * tolerance
        )


def test_initial_weights_have_the_documented_deviations():
    """Embeddings of 0.02; 1 / sqrt(inputs), less by sqrt(2 x layers) where added (Radford et al.
    2019).
    """
    torch.manual_seed(0)
    model = GPT((64,), 500, width=96, layers=8, heads=4)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert bool((weight == 1).all())
            continue
        expected = weight.shape[1] ** -0.5 / (
            4 if name.endswith(("out.weight", "down.weight")) else 1
        )
        expected = expected if name.startswith("blocks.") else STD
        error = 5 / math.sqrt(2 * weight.numel())  # of a standard deviation: five standard errors
        assert weight.std().item() == pytest.approx(expected, rel=error), name
    logits = model(torch.randint(500, (2, 64)))
    assert (logits.logsumexp(-1) - math.log(500)).abs().max() < 0.1, "it begins with no opinion"


def test_the_number_of_parameters_and_the_name_follow_from_the_sizes():
    model = GPT((32,), 256, width=64, layers=2, heads=2)
    assert count_parameters(model) == 256 * 64 + 32 * 64 + 2 * (12 * 64 * 64 + 2 * 64) + 64
    assert model.name == "gpt-2x64"


def test_dropout_is_off_in_eval_mode():
    model, ids = new_model(dropout=0.5), torch.randint(11, (2, 7))
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))
    assert torch.equal(model(ids), new_model().eval()(ids))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shape": (3, 8, 8)},
            r"needs blocks of tokens \[T\], but the dataset has inputs of shape \[3, 8, 8\]",
        ),
        ({"shape": (0,)}, "needs blocks of tokens"),
        ({"shape": ()}, "needs blocks of tokens"),
        ({"classes": 0}, "size of the vocabulary"),
        ({"width": 0}, "width=0 should be a whole number"),
        ({"width": 6.0}, "width=6.0 should be a whole number"),
        ({"layers": True}, "layers=True should be a whole number"),
        ({"heads": -1}, "heads=-1 should be a whole number"),
        ({"heads": 5}, "width=12 should be a multiple of heads=5"),
        ({"dropout": 1.0}, "dropout=1.0 should be at least 0 and below 1"),
    ],
)
def test_a_size_out_of_range_is_refused(changes, message):
    arguments = {"shape": (7,), "classes": 11, "width": 12, "layers": 1, "heads": 3} | changes
    with pytest.raises(ConfigError, match=message):
        GPT(arguments.pop("shape"), arguments.pop("classes"), **arguments)


def test_a_block_longer_than_the_positions_is_refused():
    with pytest.raises(
        ConfigError, match="A block of 8 tokens is longer than the model's 7 positions"
    ):
        new_model()(torch.zeros(1, 8, dtype=torch.int64))


# On disk ------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    save_model(new_model(dropout=0.1), tmp_path, class_names=[str(i) for i in range(11)])
    return tmp_path


def change(folder, **arguments):
    described = json.loads((folder / "model.json").read_text())
    described["arguments"] |= arguments
    (folder / "model.json").write_text(json.dumps(described))


def test_round_trip_is_bitwise(saved):
    described = json.loads((saved / "model.json").read_text())
    assert described["builder"] == "gpt"
    assert described["arguments"] == {
        "shape": [7],
        "classes": 11,
        "width": 12,
        "layers": 2,
        "heads": 3,
        "dropout": 0.1,
    }
    result, ids = load_model(saved).model, torch.randint(11, (4, 7))
    assert not result.training
    assert torch.equal(result(ids), new_model().eval()(ids))


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 12 * 10**6},
        {"width": 3 * 10**30},
        {"classes": 10**15},
        {"shape": [2**40]},
        {"layers": 3},
        {"classes": 12},
        {"heads": 10**9 * 12},
    ],
    ids=str,
)
def test_absurd_sizes_take_no_memory(saved, arguments, monkeypatch):
    monkeypatch.setattr(nn.Module, "to_empty", lambda *_, **__: pytest.fail("memory was asked for"))
    change(saved, **arguments)
    with pytest.raises(LimbeckError, match=r"cannot be built|does not fit") as caught:
        load_model(saved)
    assert isinstance(caught.value, (UntrustedFileError, TeacherError))


@pytest.mark.parametrize(
    "arguments", [{"layers": 10**9}, {"path": "somewhere"}, {"layers": "2"}], ids=str
)
def test_depths_that_no_weights_have_take_no_time(saved, arguments):
    change(saved, **arguments)
    with pytest.raises(UntrustedFileError, match="cannot be built"):
        load_model(saved)


def test_token_ids_have_no_normalisation(saved):
    described = json.loads((saved / "model.json").read_text()) | {
        "normalize": {"mean": [0.5], "std": [1.0]}
    }
    (saved / "model.json").write_text(json.dumps(described))
    with pytest.raises(UntrustedFileError, match="no normalisation"):
        load_model(saved)


def test_a_depth_that_the_weights_cannot_have_is_refused_inside_graded(tmp_path):
    save_model(Graded(nn.Linear(4, 1), 3), tmp_path, class_names=["a", "b", "c"])
    described = json.loads((tmp_path / "model.json").read_text())
    inside = {"builder": "gpt", "arguments": {"shape": [7], "classes": 1, "layers": 10**9}}
    described |= {"builder": "graded", "arguments": {"classes": 3, "encoder": inside}}
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(UntrustedFileError, match="layers 1000000000 in a file of 3 weights"):
        load_model(tmp_path)
