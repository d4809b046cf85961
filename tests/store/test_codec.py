"""What each kind of store keeps of an answer, of images and of blocks of tokens."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import log_softmax, logsumexp, softmax
from support.store_cases import (
    CLASSES,
    POSITIONS,
    SAMPLES,
    SHARD,
    TOKENS,
    VIEWS,
    NextToken,
    blocks,
    counting,
    folder_of,
    image_pass,
    open_quietly,
    text_pass,
)

from limbeck.losses.sparse import SparseTargets
from limbeck.store.codec import decode, encode, uniform
from limbeck.store.files import ANSWERS, CHECKSUMS

KINDS = [{"kind": "dense"}, {"kind": "topk", "k": 5}, {"kind": "sampled", "k": 5}]
SPARSE = KINDS[1:]
HALF = 2.0**-11
"""The relative rounding error of float16."""


def header_of(kind, classes, k, temperature=1.0):
    header = image_pass(temperature=temperature).header("float16", kind=kind, k=k)
    part = {**header.parts["format"], "k": min(k, classes)}
    return dataclasses.replace(header, classes=classes, parts={**header.parts, "format": part})


def round_trip(logits, kind, k, temperature=1.0):
    """Logits ``[R, C]`` encoded and decoded."""
    header = header_of(kind, logits.shape[-1], k, temperature)
    records = encode(logits, header, torch.arange(len(logits)))
    assert records.shape == (len(logits), header.record_bytes)
    return decode(records, header)


def all_answers(teacher_pass, stored):
    """All stored answers ``[N * V, ...]`` of a signal."""
    sample = teacher_pass.rows.repeat_interleave(teacher_pass.views.count)
    view = torch.arange(teacher_pass.views.count).repeat(len(teacher_pass.rows))
    return stored(torch.zeros(1, 1), sample, view)


# Records ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "width"), [(7, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)]
)
@pytest.mark.parametrize("k", [1, 5])
def test_classes_take_as_few_bytes_as_they_can(classes, width, k):
    logits = torch.zeros(3, classes)
    first = [classes - 1, 0, 1, classes // 2, 5][:k]
    expected = torch.tensor([first, range(k), range(classes - k, classes)])
    logits.scatter_(1, expected, torch.arange(30.0, 30.0 - k, -1).expand(3, -1))
    for kind, more in (("topk", 2), ("sampled", 0)):
        header = header_of(kind, classes, k)
        assert header.record_bytes == k * width + 2 * (k + more)
        targets = round_trip(logits, kind, k)
        assert isinstance(targets, SparseTargets)
        assert targets.ids.dtype == torch.int64
        assert targets.log_p.dtype == torch.float32
        assert (targets.tail is None) == (kind == "sampled")
        assert targets.classes == classes
        assert torch.equal(targets.ids[:, :1], expected[:, :1])
        assert kind == "sampled" or torch.equal(targets.ids, expected)


def test_a_record_is_read_wherever_it_begins():
    logits = torch.randn(9, 65_537, generator=torch.Generator().manual_seed(0))
    header = header_of("topk", 65_537, 3)
    records = encode(logits, header, torch.arange(9))
    whole = decode(records, header)
    for row in range(9):
        alone = decode(records[row : row + 1], header)
        for one, every in zip(alone[:3], whole[:3], strict=True):
            assert torch.equal(one[0], every[row])


SCALES = st.sampled_from([0.1, 3.0, 40.0, 1e5])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), scale=SCALES, k=st.integers(1, 20))
def test_top_k_to_the_rounding_of_float16(seed, scale, k):
    logits = torch.randn(6, 20, generator=torch.Generator().manual_seed(seed)) * scale
    targets = round_trip(logits, "topk", k)
    exact = np.maximum(log_softmax(logits.double().numpy(), -1), -65504)
    rounding = {"rtol": HALF * 1.01, "atol": 1e-6}
    own = np.take_along_axis(exact, targets.ids.numpy(), -1)
    np.testing.assert_allclose(targets.log_p, own, **rounding)
    np.testing.assert_allclose(targets.log_p, -np.sort(-exact, -1)[:, :k], **rounding)
    assert targets.tail.isfinite().all()
    if k == 20:
        assert (targets.tail == -65504).all()
        return
    np.put_along_axis(exact, targets.ids.numpy(), np.nan, -1)
    rest = exact[~np.isnan(exact)].reshape(6, -1)
    tail = np.stack([np.maximum(logsumexp(rest, -1), -65504), rest.mean(-1)], -1)
    np.testing.assert_allclose(targets.tail, tail, **rounding)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=SCALES,
    k=st.integers(1, 20),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_weights_to_the_rounding_of_float16(seed, scale, k, temperature):
    logits = torch.randn(6, 20, generator=torch.Generator().manual_seed(seed)) * scale
    targets = round_trip(logits, "sampled", k, temperature)
    p = softmax(logits.double().numpy() / temperature, -1)
    weights = targets.log_p.double().exp().numpy()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert (targets.ids.sort(-1).values.diff(dim=-1) > 0).all()
    p = np.take_along_axis(p, targets.ids.numpy(), -1)
    least = np.where(weights > 0, weights, 1).min(-1, keepdims=True)
    certain = (weights > least * 1.01) & (p > 2.0**-29)
    # rounding of the weight and of the sum of all
    np.testing.assert_allclose(weights[certain], p[certain], rtol=2.2 * HALF)
    assert (p <= weights * (1 + 3 * HALF) + 2.0**-39).all()


def test_the_stored_sample_is_unbiased():
    """Each class within Bernstein's bound, which chance passes in one of a million runs."""
    classes, records, k = 50, 20_000, 4
    logits = 2 * torch.randn(classes, generator=torch.Generator().manual_seed(4))
    targets = round_trip(logits.expand(records, -1), "sampled", k, 2.0)
    p = softmax(logits.double().numpy() / 2)
    mean = torch.zeros(classes, dtype=torch.float64)
    weights = targets.log_p.double().exp()
    mean.index_add_(0, targets.ids.flatten(), weights.flatten() / records)
    tau, odds = float(weights.min()), np.log(2 * classes / 1e-6)
    bound = np.sqrt(2 * p * tau * odds / records) + tau * odds / records + 2 * HALF * p
    assert (np.abs(mean.numpy() - p) <= bound).all()


def test_uniform_numbers_are_replayable_and_uniform():
    header, other = header_of("sampled", 50, 4), header_of("sampled", 50, 4, temperature=2.0)
    numbers = uniform(header, torch.arange(5000))
    assert torch.equal(uniform(header, torch.tensor([7, 4000])), numbers[[7, 4000]])
    assert ((numbers > 0) & (numbers < 1)).all()
    assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-6
    assert stats.pearsonr(numbers[1:], numbers[:-1]).pvalue > 1e-6
    assert torch.equal(uniform(other, torch.arange(5000)), numbers)  # the samples alone decide


def test_many_logits_are_encoded_in_parts(monkeypatch):
    logits = torch.randn(7, POSITIONS, TOKENS, generator=torch.Generator().manual_seed(0))
    header = text_pass().header("float16", kind="sampled", k=5)
    whole = encode(logits, header, torch.arange(7))
    monkeypatch.setattr("limbeck.store.codec.CHUNK_LOGITS", 3 * TOKENS)
    assert torch.equal(encode(logits, header, torch.arange(7)), whole)
    assert torch.equal(encode(logits[[5]], header, torch.tensor([5])), whole[[5]])


# Stores -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_answers_to_tokens_are_the_live_ones(tmp_path, kind):
    tokens = text_pass(temperature=2.0)
    stored = open_quietly(tokens, tmp_path, "float32", **kind)
    sample = torch.tensor([[3, 0, 29], [7, 7, 1]])
    x = blocks()[sample].long()
    live, answer = tokens.teacher(x, sample), stored(x, sample, torch.zeros_like(sample))
    assert live.shape == (2, 3, POSITIONS, TOKENS)
    for position in range(POSITIONS):
        alone = NextToken()(x[1, 2:, : position + 1])[0, -1]
        torch.testing.assert_close(live[1, 2, position], alone)
    if kind["kind"] == "dense":
        assert torch.equal(answer, live)
        return
    assert answer.ids.shape == answer.log_p.shape == (2, 3, POSITIONS, 5)
    assert answer.classes == TOKENS
    temperature = 2.0 if kind["kind"] == "sampled" else 1.0
    exact = torch.log_softmax(live.double() / temperature, -1).gather(-1, answer.ids)
    if kind["kind"] == "topk":
        assert answer.tail.shape == (2, 3, POSITIONS, 2)
        torch.testing.assert_close(answer.log_p.double(), exact, rtol=HALF, atol=1e-6)
    else:
        assert answer.tail is None
        assert (exact <= answer.log_p + 2e-3).all()
        certain = exact[..., 0] > answer.log_p[..., 0] - 2e-3
        assert certain.float().mean() > 0.2, "many of the largest are certain"
    assert torch.equal(answer.ids[1, 0], answer.ids[1, 1]), "the same block of the same store"


@pytest.mark.parametrize("kind", SPARSE, ids=lambda kind: kind["kind"])
def test_answers_to_images_in_views(tmp_path, kind):
    answer = all_answers(image_pass(), open_quietly(image_pass(), tmp_path, **{**kind, "k": 2}))
    dense = all_answers(image_pass(), open_quietly(image_pass(), tmp_path))
    assert answer.ids.shape == (SAMPLES * VIEWS, 2)
    exact = torch.log_softmax(dense, -1)
    if kind["kind"] == "topk":
        assert torch.equal(answer.ids, exact.topk(2, -1).indices)
    else:
        assert len(answer.ids.unique(dim=0)) > 3
        assert (exact.gather(-1, answer.ids) <= answer.log_p + 2e-3).all()


@pytest.mark.parametrize("kind", ["topk", "sampled"])
def test_more_classes_than_there_are(tmp_path, kind):
    assert image_pass().header("float16", kind=kind, k=12).k == CLASSES
    answer = all_answers(image_pass(), open_quietly(image_pass(), tmp_path, kind=kind, k=12))
    exact = torch.log_softmax(all_answers(image_pass(), open_quietly(image_pass(), tmp_path)), -1)
    expected = exact.gather(-1, answer.ids)
    torch.testing.assert_close(answer.log_p, expected, rtol=2e-3, atol=1e-3)


def test_a_record_can_be_read_with_numpy(tmp_path):
    """As docs/how-to/store.md shows it."""
    answer = all_answers(text_pass(), open_quietly(text_pass(), tmp_path, kind="topk", k=5))
    header = text_pass().header("float16", kind="topk", k=5)
    record = np.dtype([("log_p", "<f2", (5,)), ("tail", "<f2", (2,)), ("ids", "<u1", (5,))])
    file = tmp_path / header.key / ANSWERS
    assert file.stat().st_size == header.size
    records = np.memmap(file, record, "r", shape=header.shape)
    np.testing.assert_array_equal(records["ids"][:, 0], answer.ids)
    np.testing.assert_array_equal(records["log_p"][:, 0].astype(np.float32), answer.log_p)
    np.testing.assert_array_equal(records["tail"][:, 0].astype(np.float32), answer.tail)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_shards_computed_again_are_the_same(tmp_path, kind):
    folder, log = folder_of(tmp_path, text_pass(), "float16", **kind), []
    open_quietly(text_pass(), tmp_path, "float16", **kind)
    before = (folder / ANSWERS).read_bytes()
    checksums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    assert len(checksums["shards"]) == 3
    content = bytearray(before)
    content[len(content) // 2] ^= 255
    (folder / ANSWERS).write_bytes(content)
    open_quietly(counting(text_pass(), log), tmp_path, "float16", **kind)
    assert (folder / ANSWERS).read_bytes() == before
    assert sum(log) > SHARD // POSITIONS
    os.truncate(folder / ANSWERS, 100)
    del checksums["shards"]["2"]
    (folder / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
    open_quietly(text_pass(), tmp_path, "float16", **kind)
    assert (folder / ANSWERS).read_bytes() == before
