"""Answers are read as they were written, bit for bit, in every form."""

import numpy as np
import pytest
import torch

from limbeck import Answers
from limbeck._base.errors import ConfigError
from limbeck.teacher.answer_files.columns import Requirements
from limbeck.teacher.answer_files.target import check_target
from limbeck.teacher.answer_files.write import Block, open_writer

NAMES = ["a,b", "c", 'd"e']
LOGITS = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32) * 1e3


def write(to, ids=None):
    ids = np.arange(9) if ids is None else np.array(ids, dtype=object)
    with open_writer(to, NAMES) as writer:
        writer.add(Block(ids[:4], "train", LOGITS[:4]))
        writer.add(Block(ids[4:], "test", LOGITS[4:]))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npz", "a.npy", "a.parquet"])
def test_a_file_holds_the_same_bits(tmp_path, name):
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    to = tmp_path / "new" / name
    write(to)
    assert [path.name for path in to.parent.iterdir()] == [name]
    answers, _ = Answers(to).read(Requirements(NAMES))
    assert torch.equal(answers.records, torch.from_numpy(LOGITS))
    assert answers.kind == "logits"
    if name != "a.npy":
        assert answers.splits.tolist() == ["train"] * 4 + ["test"] * 5
        assert answers.ids.tolist() in (list(range(9)), [str(number) for number in range(9)])
    with pytest.raises(ConfigError, match="exists already"):
        check_target(to)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("top", [1, 2, 3])
def test_the_most_probable_classes_are_read_with_their_probabilities(tmp_path, name, top):
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    logits = LOGITS / 1e3
    with open_writer(tmp_path / name, NAMES, top=top) as writer:
        writer.add(Block(np.arange(9), "train", logits))
    answers, _ = Answers(tmp_path / name).read(Requirements(NAMES))
    assert answers.top == (top if top < 3 else None)
    expected = torch.from_numpy(logits).log_softmax(-1)
    best = expected.argsort(descending=True)[:, :top]
    targets = answers.decode(answers.records)
    if top == 3:  # these are all classes
        torch.testing.assert_close(targets, expected)
        return
    assert torch.equal(targets.ids, best)
    torch.testing.assert_close(targets.log_p, expected.gather(1, best))
    rest = torch.log1p(-expected.gather(1, best).exp().sum(1))
    torch.testing.assert_close(targets.tail[:, 0], rest, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["a.csv", "a.npz", "a.jsonl"])
def test_names_stay_names(tmp_path, name):
    ids = [f"{number}/ü.png" for number in range(9)]
    write(tmp_path / name, ids)
    assert Answers(tmp_path / name).read(Requirements(NAMES))[0].ids.tolist() == ids


def test_a_failure_leaves_nothing(tmp_path):
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(ValueError, match="longer"):
            write(tmp_path / name, ["too", "few"])
    with pytest.raises(ConfigError, match=r"A \.npy file holds no ids"):
        write(tmp_path / "a.npy", [f"{number}.png" for number in range(9)])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="unknown kind of file"):
        check_target(tmp_path / "a.xlsx")
