"""A teacher's stored answers to text teach what its live ones do."""

import pytest
import torch
from scipy.stats import norm
from support.text_studies import BLOCK, SOFT, SYMBOLS, gpt

from limbeck import Objective
from limbeck._base.progress import StageProgress
from limbeck.data import NoViews
from limbeck.data.batches import TrainBatches
from limbeck.losses import StackedObjective
from limbeck.losses.sparse import SparseTargets
from limbeck.store.answers import TeacherPass
from limbeck.store.build import open_store
from limbeck.teacher.signal import LiveTeacher

ALPHA = 1e-6  # false-alarm rate of the statistical tests


def stored(teacher, data, folder, **kind):
    teacher_pass = TeacherPass(
        teacher=LiveTeacher(teacher),
        inputs=data.train.inputs,
        rows=torch.arange(len(data.train)),
        views=NoViews(),
        classes=256,
        positions=BLOCK,
        vocabulary=data.tokenizer.digest,
    )
    return open_store(
        teacher_pass,
        teacher_pass.header(kind.pop("dtype", "float16"), **kind),
        folder,
        StageProgress(enabled=False),
    )


def batches(data, **options):
    settings = {"views": NoViews(), "seeds": [0, 1], "batch_size": 24, "epoch": lambda: 3}
    return TrainBatches(data.train, torch.arange(len(data.train)), None, **{**settings, **options})


@pytest.mark.parametrize(("kind", "k"), [("dense", 0), ("topk", 256), ("sampled", 256)])
def test_stored_answers_equal_live_ones(text_teacher, text_data, tmp_path, kind, k):
    live = LiveTeacher(text_teacher)
    signal = stored(text_teacher, text_data, tmp_path, kind=kind, k=k)
    for batch in list(batches(text_data))[:3]:
        expected = live(batch.x, batch.sample).log_softmax(-1)
        result = signal(batch.x, batch.sample, batch.view)
        if isinstance(result, SparseTargets):
            empty = torch.full_like(expected, float("-inf"))
            result = empty.scatter(-1, result.ids, result.log_p)
        # Stored in float16.
        torch.testing.assert_close(
            result.log_softmax(-1).exp(), expected.exp(), rtol=6e-3, atol=1e-6
        )


def gradients(signal, data):
    """Gradient of the soft loss, summed over the training tokens, with respect to the logits that
    follow each symbol, ``[256, 256]``.
    """
    objective, table = StackedObjective([SOFT]), torch.zeros(256, 256, requires_grad=True)
    for batch in batches(data, seeds=[0], batch_size=100):
        targets = by_token(signal(batch.x, batch.sample, batch.view))
        logits = table[batch.x.flatten(1)][None]
        objective(logits, targets, batch.y.flatten(1), counts=(1.0, 1.0)).loss.sum().backward()
    return table.grad


def by_token(targets):
    """The targets with blocks and positions in one dimension."""
    if isinstance(targets, torch.Tensor):
        return targets.flatten(1, 2)
    return targets.map(lambda part: part.flatten(1, 2))


def variances(signal, teacher, data):
    """Variance of the sampled gradients, summed over the training tokens, ``[256, 256]``."""
    result = torch.zeros(256, 256)
    for batch in batches(data, seeds=[0], batch_size=100):
        p = LiveTeacher(teacher)(batch.x, batch.sample).softmax(-1).flatten(0, 2)
        sample = signal(batch.x, batch.sample, batch.view)
        ids, shares = sample.ids.flatten(0, 2), sample.log_p.flatten(0, 2).exp()
        weights = torch.zeros_like(p).scatter(-1, ids, shares)
        result.index_add_(0, batch.x.flatten(), (weights - p).square())
    return result


def test_sampled_answers_give_the_dense_gradient_on_average(text_teacher, text_data, tmp_path):
    dense = gradients(stored(text_teacher, text_data, tmp_path, dtype="float32"), text_data)
    for k in (1, 2, 4):
        signal = stored(text_teacher, text_data, tmp_path, kind="sampled", k=k)
        result = gradients(signal, text_data)
        variance = variances(signal, text_teacher, text_data)
        often = variance > 30  # so that the sum over tokens is nearly normal
        z = (result - dense)[often] / variance[often].sqrt()
        bound = norm.isf(ALPHA / 2 / len(z))
        assert often.sum() >= (5 if k == 4 else 15)
        assert float(z.abs().max()) < bound
        if k == 1:  # a missing class would be noticed
            assert float((dense[often] / variance[often].sqrt()).abs().max()) > bound


def test_top_k_answers_give_the_dense_gradient(text_teacher, text_data, tmp_path):
    symbols = list(SYMBOLS.encode())
    dense = gradients(stored(text_teacher, text_data, tmp_path, dtype="float32"), text_data)
    size = float(dense[symbols].abs().max())
    for k in (3, 6):
        signal = stored(text_teacher, text_data, tmp_path, kind="topk", k=k)
        result = gradients(signal, text_data)
        top = LiveTeacher(text_teacher)(text_data.train.inputs[:100].long(), None).mean(1).mean(0)
        assert len(top) == 256
        # The rows of both sum to 0, and the K classes of a token get their dense share.
        torch.testing.assert_close(result.sum(-1), dense.sum(-1), atol=1e-3 * size, rtol=0)
        if k == 6:
            assert float((result - dense)[symbols][:, symbols].abs().max()) < 2e-3 * size

    def renormalised(x, sample, view):
        answers = stored(text_teacher, text_data, tmp_path, kind="topk", k=3)(x, sample, view)
        return SparseTargets(answers.ids, answers.log_p.log_softmax(-1), None, 256)

    assert float((gradients(renormalised, text_data) - dense).abs().max()) > 0.05 * size


def test_targets_of_the_next_position_raise_the_loss(text_teacher, text_data, tmp_path):
    batch = next(iter(batches(text_data)))
    logits = LiveTeacher(text_teacher)(batch.x, batch.sample)[None].flatten(-3, -2)
    targets = by_token(stored(text_teacher, text_data, tmp_path)(batch.x, batch.sample, batch.view))
    y = batch.y.flatten(1)
    objective = StackedObjective([Objective(hard_weight=0.5, soft_weight=0.5, temperature=1.0)])
    aligned = objective(logits, targets, y)
    moved = objective(logits, targets.roll(1, 1), y.roll(1, 1))
    assert float(aligned.soft.max()) < 1e-4
    assert float((moved.soft - aligned.soft).min()) > 0.3
    assert float((moved.hard - aligned.hard).min()) > 0.3


def test_the_order_of_blocks_in_a_batch_changes_nothing(text_teacher, text_data, tmp_path):
    signal = stored(text_teacher, text_data, tmp_path, kind="sampled", k=3)
    student = gpt((BLOCK,), 256).double()
    batch = next(iter(batches(text_data, seeds=[0])))
    objective = StackedObjective([Objective(temperature=1.0)])

    def gradient(order):
        x, y, sample, view = (part[:, order] for part in batch[:4])
        logits = student(x[0])[None, None].flatten(-3, -2)
        terms = objective(logits, by_token(signal(x, sample, view)), y.flatten(1))
        return torch.autograd.grad(terms.loss.sum(), list(student.parameters()))

    before, after = gradient(torch.arange(24)), gradient(torch.randperm(24))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
