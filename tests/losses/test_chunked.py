"""A chunked loss equals the loss of all logits: values, gradients, types, memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from support.tensors import few
from torch.utils._python_dispatch import TorchDispatchMode

from limbeck.losses import Objective, SparseTargets, StackedObjective, Terms, chunked, chunked_loss


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def layer(n=11, d=4, v=7, dtype=torch.float64):
    return tuple(
        randn(*shape, seed=i, dtype=dtype).requires_grad_()
        for i, shape in enumerate([(n, d), (v, d), (v,)])
    )


def some_labels(n=11, v=7):
    y = torch.randint(0, v, (n,), generator=torch.Generator().manual_seed(5))
    y[1] = -100
    return y


def distilled(teacher, y, objective=None, ignored=None):
    """The three terms of one student; ``teacher`` returns its answers for a slice of positions."""
    arms = StackedObjective([objective or Objective(temperature=2.0)])
    counts = float((y != -100).sum()), float(len(y))

    def loss(logits, part):
        out = None if ignored is None else ignored[part]
        return torch.cat(
            list(arms(logits[None], teacher(part), y[part], counts=counts, ignored=out))
        )

    return loss


def dense_teacher():
    hidden, weight, _ = layer(dtype=torch.float64)
    return lambda part: F.linear(hidden[part].flip(-1), weight.roll(1, 0)).detach()


def sparse_teacher(n=11, v=7):
    ids = torch.stack(
        [torch.randperm(v, generator=torch.Generator().manual_seed(i))[:3] for i in range(n)]
    )
    log_p = randn(n, 4, seed=3).log_softmax(-1)
    tail = torch.stack([log_p[:, 3], log_p[:, 3] - 2], -1)
    targets = SparseTargets(ids, log_p[:, :3], tail, v)
    return lambda part: targets.map(lambda t: t[part])


@pytest.mark.parametrize("chunk", [1, 3, 4, 11, 100, None])
@pytest.mark.parametrize("teacher", [dense_teacher, sparse_teacher])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_the_direct_loss(chunk, teacher, with_bias):
    hidden, weight, bias = layer()
    inputs = (hidden, weight, bias) if with_bias else (hidden, weight)
    loss = distilled(teacher(), some_labels())
    expected = loss(F.linear(*inputs), slice(0, 11))
    expected_grad = torch.autograd.grad(3 * expected[0], inputs)
    result = Terms(
        *chunked_loss(hidden, weight, loss, bias=bias if with_bias else None, chunk=chunk)
    )
    torch.testing.assert_close(torch.stack(result), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        torch.autograd.grad(3 * result.loss, inputs), expected_grad, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("block", [1, 2, 3, 5, 64])
def test_the_size_of_the_products_changes_nothing(block, monkeypatch):
    monkeypatch.setattr(chunked, "BLOCK", block)
    inputs, loss = layer(), distilled(dense_teacher(), some_labels())
    expected = loss(F.linear(*inputs), slice(0, 11))[0]
    result = chunked_loss(*inputs[:2], loss, bias=inputs[2], chunk=2)[0]
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(value, inputs) for value in (result, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


@few
@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 12))
def test_every_position_is_seen_once_and_in_its_place(n, block, chunk):
    hidden, weight, _ = layer(n=n)
    positions = []

    def loss(logits, part):
        torch.testing.assert_close(logits.detach(), (hidden @ weight.T)[part].detach())
        positions.extend(range(*part.indices(n)))
        return logits.square().sum()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "BLOCK", block)
        (result,) = chunked_loss(hidden, weight, loss, chunk=chunk)
    assert positions == list(range(n))
    torch.testing.assert_close(result, (hidden @ weight.T).square().sum())
    result.backward()
    torch.testing.assert_close(hidden.grad, 2 * (hidden @ weight.T) @ weight)


def test_gradcheck():
    loss = distilled(dense_teacher(), some_labels())
    assert torch.autograd.gradcheck(
        lambda h, w, b: chunked_loss(h, w, loss, bias=b, chunk=3)[0], layer()
    )


def test_only_what_needs_a_gradient_has_one():
    hidden, weight, bias = layer()
    loss = distilled(dense_teacher(), some_labels())
    chunked_loss(hidden, weight.detach(), loss, bias=bias, chunk=3)[0].backward()
    expected = torch.autograd.grad(
        loss(F.linear(hidden, weight, bias), slice(0, 11))[0], (hidden, bias)
    )
    torch.testing.assert_close((hidden.grad, bias.grad), expected)
    assert weight.grad is None


def test_only_the_first_term_is_differentiated():
    hidden, weight, _ = layer()
    terms = chunked_loss(hidden, weight, distilled(dense_teacher(), some_labels()), chunk=4)
    assert [term.requires_grad for term in terms] == [True, False, False]


def test_it_can_be_used_twice_and_within_a_model():
    x, first, last = (
        randn(11, 3, seed=8),
        randn(4, 3, seed=9).requires_grad_(),
        randn(7, 4).requires_grad_(),
    )
    loss = distilled(dense_teacher(), some_labels())
    total = chunked_loss(torch.tanh(x @ first.T), last, loss, chunk=3)[0] * 0.5
    expected = 0.5 * loss(torch.tanh(x @ first.T) @ last.T, slice(0, 11))[0]
    expected_grad = torch.autograd.grad(expected, (first, last))
    for _ in range(2):
        torch.testing.assert_close(
            torch.autograd.grad(total, (first, last), retain_graph=True), expected_grad
        )


def test_without_gradients_nothing_is_kept():
    hidden, weight, _ = layer()
    loss = distilled(dense_teacher(), some_labels())
    expected = chunked_loss(hidden, weight, loss, chunk=3)
    tracked = []

    def observed(logits, part):
        tracked.append(logits.requires_grad or torch.is_grad_enabled())
        return loss(logits, part)

    with torch.no_grad():
        result = chunked_loss(hidden, weight, observed, chunk=3)
    assert not any(tracked)
    assert not any(term.requires_grad for term in result)
    torch.testing.assert_close(result, tuple(term.detach() for term in expected))


def test_ignored_positions_and_chunks_of_them_alone_have_no_gradient():
    hidden, weight, _ = layer()
    ignored = torch.zeros(11, dtype=torch.bool)
    ignored[2:7] = True
    y = some_labels().masked_fill(ignored, -100)
    loss = distilled(dense_teacher(), y, ignored=ignored)

    def constant_where_all_is_ignored(logits, part):
        return torch.zeros(3, dtype=torch.float64) if ignored[part].all() else loss(logits, part)

    expected = torch.autograd.grad(loss(hidden @ weight.T, slice(0, 11))[0], (hidden, weight))
    for own in (loss, constant_where_all_is_ignored):
        result = torch.autograd.grad(
            chunked_loss(hidden, weight, own, chunk=2)[0], (hidden, weight)
        )
        torch.testing.assert_close(result, expected)
        assert (result[0][ignored] == 0).all()


@pytest.mark.parametrize("with_bias", [True, False])
def test_under_bfloat16_autocast_weights_gather_float32(with_bias):
    hidden, weight, bias = layer(n=600, d=16, v=50, dtype=torch.float32)
    inputs = (hidden, weight, bias) if with_bias else (hidden, weight)
    y = some_labels(600, 50)
    loss = distilled(lambda part: None, y, Objective(hard_weight=1, soft_weight=0))
    with torch.autocast("cpu", torch.bfloat16):
        result = chunked_loss(hidden, weight, loss, bias=bias if with_bias else None, chunk=7)[0]
        direct = loss(F.linear(*inputs), slice(0, 600))[0]
    exact = loss(F.linear(*(x.double() for x in inputs)), slice(0, 600))[0]
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, direct, rtol=1e-3, atol=1e-3)
    gradients = {value: torch.autograd.grad(value, inputs) for value in (result, direct, exact)}
    assert {g.dtype for g in gradients[result]} == {torch.float32}
    for chunk, whole, expected in zip(*gradients.values(), strict=True):
        error = [(g - expected).norm() / expected.norm() for g in (chunk, whole)]
        assert error[0] < 1.5 * error[1] + 1e-4
        assert error[0] < 0.02


def test_half_precision_weights_have_gradients_of_their_own_type():
    inputs = [x.detach().bfloat16().requires_grad_() for x in layer()]
    chunked_loss(*inputs[:2], lambda z, _: z.float().logsumexp(-1).sum(), bias=inputs[2], chunk=3)[
        0
    ].backward()
    exact = [x.detach().double().requires_grad_() for x in inputs]
    F.linear(*exact).logsumexp(-1).sum().backward()
    for result, expected in zip(inputs, exact, strict=True):
        assert result.grad.dtype == torch.bfloat16
        torch.testing.assert_close(result.grad.double(), expected.grad, rtol=0.05, atol=0.05)


class LargestTensor(TorchDispatchMode):
    """Record the size of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


def test_all_logits_are_never_in_memory_at_once():
    n, v, d = 2048, 500, 8
    hidden, weight, _ = layer(n=n, d=d, v=v, dtype=torch.float32)
    loss = distilled(lambda part: None, some_labels(n, v), Objective(hard_weight=1, soft_weight=0))
    with LargestTensor() as largest:
        chunked_loss(hidden, weight, loss, chunk=100)[0].backward()
    assert largest.numel == chunked.BLOCK * v
    with LargestTensor() as largest:
        loss(F.linear(hidden, weight), slice(0, n))[0].backward()
    assert largest.numel == n * v
