"""What each kind of store keeps of an answer, of images and of blocks of tokens."""

import dataclasses
import io
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
    BLOCKS,
    CLASSES,
    POSITIONS,
    SAMPLES,
    SHARD,
    TOKENS,
    VIEWS,
    NextToken,
    answers,
    blocks,
    counting,
    model,
    opened,
    place,
    text_answers,
)

from limbeck._base.errors import ConfigError, TeacherError, UntrustedFileError
from limbeck.losses.sparse import SparseTargets
from limbeck.store import answers as answers_module
from limbeck.store import key as store_header
from limbeck.store.codec import decoded, difference, encoded, uniform
from limbeck.store.files import ANSWERS, JOURNAL, StoreFolder
from limbeck.store.key import HEADER, PARTS
from limbeck.store.store import StoreSettings
from limbeck.teacher.signal import LiveTeacher

KINDS = [{"kind": "dense"}, {"kind": "topk", "k": 5}, {"kind": "sampled", "k": 5}]
SPARSE = KINDS[1:]
HALF = 2.0**-11
"""The relative rounding error of float16."""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store_header, "SHARD_ANSWERS", SHARD)


def header_of(kind, classes, k, temperature=1.0):
    made = answers(temperature=temperature).header("float16", kind=kind, k=min(k, CLASSES))
    return dataclasses.replace(made, classes=classes, k=min(k, classes))


def kept(logits, kind, k, temperature=1.0):
    """Logits ``[R, C]`` there and back."""
    header = header_of(kind, logits.shape[-1], k, temperature)
    records = encoded(logits, header, torch.arange(len(logits)))
    assert records.shape == (len(logits), header.record_bytes)
    return decoded(records, header)


def every(made, stored):
    """All stored answers ``[N, V, ...]`` of a signal."""
    sample = made.rows.repeat_interleave(made.views.count)
    view = torch.arange(made.views.count).repeat(len(made.rows))
    return stored(torch.zeros(1, 1), sample, view)


# Records ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "width"), [(7, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)]
)
@pytest.mark.parametrize("k", [1, 5])
def test_classes_take_as_few_bytes_as_they_can(classes, width, k):
    logits = torch.zeros(3, classes)
    wanted = torch.tensor(
        [[classes - 1, 0, 1, classes // 2, 5][:k], range(k), range(classes - k, classes)]
    )
    logits.scatter_(1, wanted, torch.arange(30.0, 30.0 - k, -1).expand(3, -1))
    for kind, more in (("topk", 2), ("sampled", 0)):
        header = header_of(kind, classes, k)
        assert header.record_bytes == k * width + 2 * (k + more)
        found = kept(logits, kind, k)
        assert isinstance(found, SparseTargets)
        assert found.ids.dtype == torch.int64
        assert found.log_p.dtype == torch.float32
        assert (found.tail is None) == (kind == "sampled")
        assert found.classes == classes
        assert torch.equal(found.ids[:, :1], wanted[:, :1])
        assert kind == "sampled" or torch.equal(found.ids, wanted)


def test_a_record_is_read_wherever_it_begins():
    logits = torch.randn(9, 65_537, generator=torch.Generator().manual_seed(0))
    header = header_of("topk", 65_537, 3)
    records = encoded(logits, header, torch.arange(9))
    whole = decoded(records, header)
    for row in range(9):
        for one, all_of_it in zip(
            decoded(records[row : row + 1], header)[:3], whole[:3], strict=True
        ):
            assert torch.equal(one[0], all_of_it[row])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 3.0, 40.0, 1e5]), k=st.integers(1, 20)
)
def test_top_k_to_the_rounding_of_float16(seed, scale, k):
    logits = torch.randn(6, 20, generator=torch.Generator().manual_seed(seed)) * scale
    found, exact = (
        kept(logits, "topk", k),
        np.maximum(log_softmax(logits.double().numpy(), -1), -65504),
    )
    rounding = {"rtol": HALF * 1.01, "atol": 1e-6}
    np.testing.assert_allclose(
        found.log_p, np.take_along_axis(exact, found.ids.numpy(), -1), **rounding
    )
    np.testing.assert_allclose(found.log_p, -np.sort(-exact, -1)[:, :k], **rounding)
    assert found.tail.isfinite().all()
    if k == 20:
        assert (found.tail == -65504).all()
    else:
        np.put_along_axis(exact, found.ids.numpy(), np.nan, -1)
        rest = exact[~np.isnan(exact)].reshape(6, -1)
        wanted = np.stack([np.maximum(logsumexp(rest, -1), -65504), rest.mean(-1)], -1)
        np.testing.assert_allclose(found.tail, wanted, **rounding)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.1, 3.0, 40.0, 1e5]),
    k=st.integers(1, 20),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_weights_to_the_rounding_of_float16(seed, scale, k, temperature):
    logits = torch.randn(6, 20, generator=torch.Generator().manual_seed(seed)) * scale
    found, p = (
        kept(logits, "sampled", k, temperature),
        softmax(logits.double().numpy() / temperature, -1),
    )
    weights = found.log_p.double().exp().numpy()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert (found.ids.sort(-1).values.diff(dim=-1) > 0).all()
    p = np.take_along_axis(p, found.ids.numpy(), -1)
    least = np.where(weights > 0, weights, 1).min(-1, keepdims=True)
    sure = (weights > least * 1.01) & (p > 2.0**-29)
    np.testing.assert_allclose(
        weights[sure], p[sure], rtol=2.2 * HALF
    )  # of the weight and of their sum
    assert (p <= weights * (1 + 3 * HALF) + 2.0**-39).all()


def test_the_stored_sample_is_unbiased():
    """Rounding and all; each class within Bernstein's bound, which chance passes in one of a
    million runs.
    """
    classes, records, k = 50, 20_000, 4
    logits = 2 * torch.randn(classes, generator=torch.Generator().manual_seed(4))
    found = kept(logits.expand(records, -1), "sampled", k, 2.0)
    p = softmax(logits.double().numpy() / 2)
    mean = torch.zeros(classes, dtype=torch.float64)
    mean.index_add_(0, found.ids.flatten(), found.log_p.double().exp().flatten() / records)
    tau, odds = float(found.log_p.exp().min()), np.log(2 * classes / 1e-6)
    bound = np.sqrt(2 * p * tau * odds / records) + tau * odds / records + 2 * HALF * p
    assert (np.abs(mean.numpy() - p) <= bound).all()


def test_uniform_numbers_are_replayable_and_uniform():
    header, other = header_of("sampled", 50, 4), header_of("sampled", 50, 4, temperature=2.0)
    found = uniform(header, torch.arange(5000))
    assert torch.equal(uniform(header, torch.tensor([7, 4000])), found[[7, 4000]])
    assert ((found > 0) & (found < 1)).all()
    assert stats.kstest(found.numpy(), "uniform").pvalue > 1e-6
    assert stats.pearsonr(found[1:], found[:-1]).pvalue > 1e-6
    assert torch.equal(uniform(other, torch.arange(5000)), found)  # the samples alone decide


# Stores -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_answers_to_tokens_are_the_live_ones(tmp_path, kind):
    made = text_answers(temperature=2.0)
    stored = opened(made, tmp_path, "float32", **kind)
    sample = torch.tensor([[3, 0, 29], [7, 7, 1]])
    x = blocks()[sample].long()
    live, found = made.teacher(x, sample), stored(x, sample, torch.zeros_like(sample))
    assert live.shape == (2, 3, POSITIONS, TOKENS)
    for position in range(POSITIONS):
        alone = NextToken()(x[1, 2:, : position + 1])[0, -1]
        torch.testing.assert_close(live[1, 2, position], alone)
    if kind["kind"] == "dense":
        assert torch.equal(found, live)
        return
    assert found.ids.shape == found.log_p.shape == (2, 3, POSITIONS, 5)
    assert found.classes == TOKENS
    temperature = 2.0 if kind["kind"] == "sampled" else 1.0
    exact = torch.log_softmax(live.double() / temperature, -1).gather(-1, found.ids)
    if kind["kind"] == "topk":
        assert found.tail.shape == (2, 3, POSITIONS, 2)
        torch.testing.assert_close(found.log_p.double(), exact, rtol=HALF, atol=1e-6)
    else:
        assert found.tail is None
        assert (exact <= found.log_p + 2e-3).all()
        assert (exact[..., 0] > found.log_p[..., 0] - 2e-3).float().mean() > 0.2, (
            "many of the largest are certain"
        )
    assert torch.equal(found.ids[1, 0], found.ids[1, 1]), "the same block of the same store"


@pytest.mark.parametrize("kind", SPARSE, ids=lambda kind: kind["kind"])
def test_answers_to_images_in_views(tmp_path, kind):
    made = answers()
    found = every(made, opened(made, tmp_path, **{**kind, "k": 2}))
    dense = every(made, opened(made, tmp_path))
    assert found.ids.shape == (SAMPLES * VIEWS, 2)
    exact = torch.log_softmax(dense, -1)
    if kind["kind"] == "topk":
        assert torch.equal(found.ids, exact.topk(2, -1).indices)
    else:
        assert len(found.ids.unique(dim=0)) > 3
        assert (exact.gather(-1, found.ids) <= found.log_p + 2e-3).all()


@pytest.mark.parametrize("kind", SPARSE, ids=lambda kind: kind["kind"])
def test_more_classes_than_there_are(tmp_path, kind):
    made = answers()
    header = made.header("float16", kind=kind["kind"], k=12)
    assert header.k == CLASSES
    found = every(made, opened(made, tmp_path, kind=kind["kind"], k=12))
    exact = torch.log_softmax(every(made, opened(made, tmp_path)), -1)
    torch.testing.assert_close(found.log_p, exact.gather(-1, found.ids), rtol=2e-3, atol=1e-3)


def test_the_size_of_a_store_of_tokens(tmp_path):
    made = text_answers()
    for kind, record in (("dense", 2 * TOKENS), ("topk", 5 * 3 + 4), ("sampled", 5 * 3)):
        header = made.header("float16", kind=kind, k=5)
        opened(made, tmp_path, "float16", kind=kind, k=5)
        size = (tmp_path / header.key / ANSWERS).stat().st_size
        assert size == BLOCKS * POSITIONS * record == header.size
        assert header.record_bytes == record
        assert header.positions == POSITIONS
        assert header.shard_rows == SHARD // POSITIONS
    assert answers().header("float16").positions == 1


def test_a_record_can_be_read_with_numpy(tmp_path):
    """As docs/how-to/store.md shows it."""
    made = text_answers()
    found = every(made, opened(made, tmp_path, kind="topk", k=5))
    header = made.header("float16", kind="topk", k=5)
    record = np.dtype([("log_p", "<f2", (5,)), ("tail", "<f2", (2,)), ("ids", "<u1", (5,))])
    records = np.memmap(tmp_path / header.key / ANSWERS, record, "r", shape=header.shape)
    np.testing.assert_array_equal(records["ids"][:, 0], found.ids)
    np.testing.assert_array_equal(records["log_p"][:, 0].astype(np.float32), found.log_p)
    np.testing.assert_array_equal(records["tail"][:, 0].astype(np.float32), found.tail)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_shards_computed_anew_are_the_same(tmp_path, kind):
    made = text_answers()
    folder, log = place(tmp_path, made, "float16", **kind), []
    opened(made, tmp_path, "float16", **kind)
    before = (folder / ANSWERS).read_bytes()
    journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    assert len(journal["shards"]) == 3
    content = bytearray(before)
    content[len(content) // 2] ^= 255
    (folder / ANSWERS).write_bytes(content)
    opened(counting(made, log), tmp_path, "float16", **kind)
    assert (folder / ANSWERS).read_bytes() == before
    assert sum(log) > SHARD // POSITIONS
    os.truncate(folder / ANSWERS, 100)
    del journal["shards"]["2"]
    (folder / JOURNAL).write_text(json.dumps(journal), encoding="utf-8")
    opened(made, tmp_path, "float16", **kind)
    assert (folder / ANSWERS).read_bytes() == before


def test_tokens_are_asked_a_few_logits_at_a_time(tmp_path, monkeypatch):
    made, log = text_answers(), []
    assert made.batch() == answers_module.TOKENS_BATCH
    assert text_answers(classes=50_257, positions=1024).batch() == 1
    monkeypatch.setattr(answers_module, "MOST_LOGITS", 5 * POSITIONS * TOKENS)
    opened(counting(made, log), tmp_path, "float16", kind="topk", k=5)
    assert max(log) <= 5
    assert sum(log) == BLOCKS + 5


def test_many_logits_are_encoded_in_parts(monkeypatch):
    logits = torch.randn(7, POSITIONS, TOKENS, generator=torch.Generator().manual_seed(0))
    header = text_answers().header("float16", kind="sampled", k=5)
    whole = encoded(logits, header, torch.arange(7))
    monkeypatch.setattr("limbeck.store.codec.AT_A_TIME", 3 * TOKENS)
    assert torch.equal(encoded(logits, header, torch.arange(7)), whole)
    assert torch.equal(encoded(logits[[5]], header, torch.tensor([5])), whole[[5]])


# The key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "changes", "kept_as"),
    [
        ("tokens", {"vocabulary": "b" * 64}, {}),
        ("tokens", {"inputs": blocks(), "positions": 1, "classes": TOKENS}, {}),
        ("format", {}, {"k": 4}),
        ("format", {}, {"kind": "topk"}),
        ("format", {"temperature": 2.0}, {}),
    ],
)
def test_each_part_changes_the_key(part, changes, kept_as):
    usual = {"kind": "sampled", "k": 5}
    before = text_answers().header("float16", **usual)
    after = text_answers(**changes).header("float16", **{**usual, **kept_as})
    assert before.key != after.key
    assert [name for name in PARTS if before.parts[name] != after.parts[name]] == [part]


def test_digests_are_of_the_values_however_they_lie():
    ids = torch.arange(4 * answers_module.DIGEST_ROWS + 9, dtype=torch.int32)
    overlapping = ids.unfold(0, 5, 2)
    assert len(overlapping) > answers_module.DIGEST_ROWS
    assert answers_module.digest_of(overlapping) == answers_module.digest_of(
        overlapping.contiguous()
    )
    assert answers_module.digest_of(overlapping) != answers_module.digest_of(overlapping + 1)
    assert answers_module.digest_of(torch.tensor(1.0)) != answers_module.digest_of(
        torch.tensor([1.0])
    )


def test_what_is_of_no_matter_does_not_change_the_key():
    for kind in ("dense", "topk"):
        keys = {
            text_answers(temperature=t).header("float16", kind=kind, k=5).key for t in (1.0, 2.0)
        }
        assert len(keys) == 1, "their temperature is that of the loss"
    assert len({answers().header("float16", k=k).key for k in (0, 12)}) == 1
    assert len({answers().header("float16", kind="topk", k=k).key for k in (3, 12)}) == 1


def test_another_tokenizer_is_named(tmp_path):
    opened(text_answers(), tmp_path, "float16", kind="topk", k=5)
    said = io.StringIO()
    opened(text_answers(vocabulary="b" * 64), tmp_path, "float16", say=said, kind="topk", k=5)
    assert "differ in the tokenizer or the block length" in said.getvalue()


# What does not fit --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, {"kind": "sampled", "k": 1}], ids=str)
def test_wrong_answers_in_a_sound_store_are_noticed(tmp_path, kind):
    """Another teacher's answers, with a journal that fits."""
    right = text_answers(inputs=blocks(300))
    wrong = dataclasses.replace(right, teacher=LiveTeacher(NextToken(seed=1)))
    for made in (right, wrong):
        opened(made, tmp_path, "float16", **kind)
    folder = StoreFolder.open(place(tmp_path, right, "float16", **kind))
    content = (place(tmp_path, wrong, "float16", **kind) / ANSWERS).read_bytes()
    for shard in range(folder.header.shards):
        first, end = (row * folder.header.row_bytes for row in folder.header.rows_of(shard))
        folder.write(shard, content[first:end])
    with pytest.raises(
        TeacherError, match=r"not what the teacher answers now.*(differs by|than chance).*store=off"
    ):
        opened(right, tmp_path, "float16", **kind)


@pytest.mark.parametrize("kind", [*SPARSE, {"kind": "sampled", "k": 1}], ids=str)
@pytest.mark.parametrize("scale", [0.01, 3.0, 30.0])
def test_a_slightly_other_computation_is_the_same_teacher(tmp_path, kind, scale):
    """As on another device; a sound store is not refused for it."""
    made = text_answers(teacher=LiveTeacher(NextToken(scale=scale)))
    opened(made, tmp_path, "float16", **kind)

    def nearly(x):
        logits = made.teacher.answer(x)
        return logits + 1e-4 * logits.abs().max() * torch.randn_like(logits)

    for _ in range(20):
        opened(dataclasses.replace(made, ask=nearly), tmp_path, "float16", **kind)


def test_a_certain_class_that_became_less_probable_is_noticed():
    header = header_of("sampled", 4, 2)
    logits, later = (torch.tensor([p]).log() for p in ([0.7, 0.1, 0.1, 0.1], [0.3, 0.1, 0.1, 0.5]))
    record = next(
        r for n in range(99) if (r := encoded(logits, header, torch.tensor([n])))[0, 5] != 3
    )
    assert difference(record, logits, header)[0].max() < 2e-3
    assert difference(record, later, header)[0].tolist() == [
        [pytest.approx(np.log(7 / 3), abs=1e-3), 0.0]
    ]
    assert difference(record, logits + 9, header)[1] == pytest.approx(np.log(10))


def test_one_improbable_draw_is_no_fault(tmp_path):
    """A store of one answer, which the comparison could meet 64 times."""
    logits = torch.tensor([8.3, *[0.0] * 999])
    odd = 0
    for key in range(30):
        made = text_answers(
            inputs=torch.full((1, 1), key, dtype=torch.int32),
            positions=1,
            classes=1000,
            ask=lambda x: logits.expand(1, 1, -1),
        )
        odd += (
            int(
                opened(made, tmp_path, kind="sampled", k=1)(
                    *[torch.zeros(1, 1, dtype=torch.int64)] * 3
                ).ids
            )
            > 0
        )
    assert odd > 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_logits_that_are_no_numbers(tmp_path, kind):
    made = text_answers()

    def ask(x):
        logits = made.teacher.answer(x)
        logits[1, 4, 2] = float("nan")
        return logits

    with pytest.raises(
        TeacherError, match=r"sample 1, token 4, are not all finite: 1 of 20 .*nan, .*, \.\.\.\)"
    ):
        opened(dataclasses.replace(made, ask=ask), tmp_path, "float16", **kind)


def test_a_teacher_that_answers_once_a_block(tmp_path):
    made = text_answers(teacher=LiveTeacher(model()), ask=lambda x: torch.zeros(len(x), TOKENS))
    with pytest.raises(TeacherError, match=r"of shape \[11, 20\]; \[11, 8, 20\] was expected"):
        opened(made, tmp_path, "float16")


def rewritten(folder, **changes):
    header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    (folder / HEADER).write_text(json.dumps({**header, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "all"}, "no answers of kind 'all'"),
        ({"dtype": "float32"}, "no answers of kind 'sampled' and dtype 'float32'"),
        ({"kind": "topk"}, "sizes are not those of its parts"),
        ({"kind": "dense"}, "k is 5 for dense answers"),
        ({"k": 0}, "k is 0 for sampled answers in 20 classes"),
        ({"k": 21}, "k is 21 for sampled answers"),
        ({"k": 4}, "sizes are not those of its parts"),
        ({"k": -1}, "k should be a whole number, found -1"),
        ({"positions": 0}, "positions should be a whole number, found 0"),
        ({"positions": 7}, "sizes are not those of its parts"),
        ({"rows": 1 << 47, "positions": 1 << 47}, "sizes give no array"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path, changes, message):
    made, kind = text_answers(), {"kind": "sampled", "k": 5}
    opened(made, tmp_path, **kind)
    rewritten(place(tmp_path, made, **kind), **changes)
    with pytest.raises(UntrustedFileError, match=f"{message}.*limbeck store clear"):
        opened(made, tmp_path, **kind)


@pytest.mark.parametrize(
    ("kind", "temperature"), [("sampled", None), ("sampled", "2"), ("sampled", 0.0), ("topk", 2.0)]
)
def test_a_damaged_temperature_is_refused(tmp_path, kind, temperature):
    made = text_answers()
    opened(made, tmp_path, kind=kind, k=5)
    folder = place(tmp_path, made, kind=kind, k=5)
    parts = json.loads((folder / HEADER).read_text(encoding="utf-8"))["parts"]
    rewritten(folder, parts={**parts, "format": {**parts["format"], "temperature": temperature}})
    with pytest.raises(
        UntrustedFileError, match=f"{kind} answers have temperature {temperature!r}"
    ):
        opened(made, tmp_path, kind=kind, k=5)


# Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "top"}, "store.kind='top' is unknown; choose one of dense, topk, sampled"),
        ({"k": 0}, "store.k=0 should be a whole number of at least 1"),
        ({"k": 1.5}, "store.k=1.5 should be a whole number"),
        ({"kind": "topk", "k": True}, "store.k=True should be a whole number"),
        (
            {"kind": "topk", "dtype": "float32"},
            "store.dtype='float32' is for store.kind=dense; topk answers",
        ),
        ({"kin": "topk"}, r"did you mean store\.kind"),
    ],
)
def test_bad_settings(value, message):
    with pytest.raises(ConfigError, match=message):
        StoreSettings.of(value)
    assert StoreSettings.of({"kind": "sampled", "k": 1}).k == 1
    assert StoreSettings.of("topk") == StoreSettings(kind="topk")
