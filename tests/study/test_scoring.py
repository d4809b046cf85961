"""Scores of language models: bytes of tokens, and answers of the teacher that are cached or not."""

import numpy as np
import pytest
import torch
from support.markov import markov_text
from torch import nn

from limbeck.data import Dataset, Split, text_file
from limbeck.data.resampling import ResampledSplits
from limbeck.data.text.tokenizer import Tokenizer
from limbeck.models import GPT, count_parameters
from limbeck.study import scoring
from limbeck.study.scoring import ModelFacts, score, text_bytes
from limbeck.teacher.signal import LiveTeacher

BLOCK = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "chain.txt"
    file.write_text(markov_text("abcdef", 6_000, seed=2)[0])
    return text_file(file, block=BLOCK, cache=file.parent / "cache", val=0.1, test=0.2)


def gpt(seed):
    torch.manual_seed(seed)
    return GPT((BLOCK,), 256, width=8, layers=1, heads=1, dropout=0.2)


class Counting(nn.Module):
    """A teacher that counts the blocks it reads."""

    def __init__(self):
        super().__init__()
        self.net, self.blocks = gpt(7), 0

    def forward(self, x):
        self.blocks += len(x)
        return self.net(x)


# Bytes --------------------------------------------------------------------------------------------


class Syllables(Tokenizer):
    """Four tokens of 1, 2, 4 and 0 bytes."""

    def __init__(self):
        self.name, self.names, self.definition = "syllables", ["a", "ba", "caba", "<end>"], "{}"
        self.lengths = np.array([1, 2, 4, 0])

    def encode(self, text):
        raise NotImplementedError

    def encode_texts(self, texts, length):
        raise NotImplementedError

    def decode(self, ids):
        return "".join(self.names[i] for i in ids).removesuffix("<end>")


def test_bytes_are_counted_by_label():
    labels = torch.tensor([[1, 0, 2], [2, 2, 3]], dtype=torch.int32)
    split = Split(torch.full((2, 3), 2, dtype=torch.int32), labels)  # the inputs do not count
    dataset = Dataset.from_splits(
        "s", split, split, split, class_names=["a", "b", "c", "d"], tokenizer=Syllables()
    )
    assert text_bytes(dataset, split) == 2 + 1 + 4 + 4 + 4 + 0


def test_bytes_of_a_long_split_are_summed_in_parts():
    labels = torch.randint(0, 4, (9_000, 3), dtype=torch.int32)
    split = Split(labels, labels)
    dataset = Dataset.from_splits(
        "s", split, split, split, class_names=["a", "b", "c", "d"], tokenizer=Syllables()
    )
    assert text_bytes(dataset, split) == int(Syllables().lengths[labels.numpy()].sum())


def test_each_token_of_the_byte_tokenizer_is_one_byte(data):
    assert text_bytes(data, data.val) == data.val.labels.numel()


def test_bytes_of_bpe_tokens_are_those_of_the_decoded_text(tmp_path):
    pytest.importorskip("tokenizers")
    file = tmp_path / "chain.txt"
    file.write_text(markov_text("ab eht", 20_000, seed=4)[0])
    dataset = text_file(
        file, tokenizer="bpe", vocabulary=300, block=BLOCK, cache=tmp_path / "cache"
    )
    for split in (dataset.train, dataset.val, dataset.open_test()):
        size = sum(len(dataset.tokenizer.decode(row).encode()) for row in split.labels.numpy())
        assert text_bytes(dataset, split) == size > 1.3 * split.labels.numel()


# Scores -------------------------------------------------------------------------------------------


def scored(data, teacher, advance=lambda done: None):
    """Two students and perhaps a teacher."""
    students = {("arm", seed): (lambda seed=seed: gpt(seed)) for seed in (0, 1)}
    teachers = [] if teacher is None else [LiveTeacher(teacher)]
    return score(ResampledSplits(data, (0, 1)), students, teachers, advance)


def test_cached_answers_give_the_same_scores(data, monkeypatch):
    monkeypatch.setattr("limbeck.data.batches.EVALUATION_BATCH", 20)  # several batches a split
    blocks = len(data.val) + data.test_size
    scores = {}
    for limit, often in ((1 << 28, 1), (0, 3)):  # the teacher itself and two students
        monkeypatch.setattr(scoring, "MAX_CACHED_LOGITS", limit)
        teacher = Counting()
        scores[limit] = scored(data, teacher)
        assert teacher.blocks == often * blocks
    one, other = scores.values()
    assert one.seeds == other.seeds
    assert one.teacher == other.teacher
    assert one.arrays().keys() == other.arrays().keys()
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, other.arrays()[name])


def test_answers_are_cached_up_to_the_limit(data, monkeypatch):
    """The answers to the smaller split are cached, those to the larger are not."""
    small, large = sorted((len(data.val), data.test_size))
    assert small < large
    monkeypatch.setattr(scoring, "MAX_CACHED_LOGITS", small * BLOCK * 256)
    teacher = Counting()
    scored(data, teacher)
    assert teacher.blocks == small + 3 * large


def test_scores_equal_a_direct_computation(data):
    teacher = Counting()
    scores = scored(data, teacher)
    test = data.open_test()
    for seed in (0, 1):
        logits = gpt(seed).eval()(test.inputs).detach().double()
        nll = nn.functional.cross_entropy(logits.flatten(0, 1), test.labels.flatten().long())
        assert scores.seeds["arm", seed].test.nll == pytest.approx(float(nll), rel=1e-5)
        own = scores.arrays()[f"nll/students/arm/seed{seed}"]
        assert own.shape == (data.test_size, BLOCK)
        assert own.mean() == pytest.approx(float(nll), rel=1e-5)
        theirs = teacher.net.eval()(data.val.inputs).detach().argmax(-1)
        mine = gpt(seed).eval()(data.val.inputs).detach().argmax(-1)
        assert scores.seeds["arm", seed].val.agreement == pytest.approx(
            float((theirs == mine).double().mean())
        )
    assert scores.teacher.test.kl_to_teacher == 0
    assert scores.models == {"arm": ModelFacts("gpt-1x8", count_parameters(gpt(0)))}
    assert scores.size == text_bytes(data, test)


def test_an_arm_does_not_differ_from_itself(data):
    alike = scored(data, Counting()).compare("arm", "arm")
    assert (alike.arm, alike.control, alike.verdict) == ("arm", "arm", "not shown")
    assert alike.delta_bits_per_byte.per_seed == (0.0, 0.0)


def test_students_are_scored_without_a_teacher(data):
    done, with_teacher = [], []
    scores = scored(data, None, done.append)
    scored(data, Counting(), with_teacher.append)
    assert (done, with_teacher) == ([0, 1, 2], [1, 2, 3])
    assert scores.teacher is None
    assert "nll/teacher" not in scores.arrays()
    assert scores.seeds["arm", 0].test.agreement is None
