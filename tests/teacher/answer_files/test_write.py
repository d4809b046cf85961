"""Answers are read as they were written, bit for bit, in every form."""

import numpy as np
import pytest
import torch

from limbeck import Answers
from limbeck._base.errors import ConfigError
from limbeck.teacher.answer_files.columns import Requirements
from limbeck.teacher.answer_files.write import Block, check_target, open_writer

NAMES = ["a,b", "c", 'd"e']
LOGITS = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32) * 1e3


def write(to, ids=None):
    ids = np.arange(9) if ids is None else np.array(ids, dtype=object)
    with open_writer(to, NAMES) as writer:
        writer.add(Block(ids[:4], "train", LOGITS[:4]))
        writer.add(Block(ids[4:], "test", LOGITS[4:]))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npz", "a.npy", "a.parquet", "parts"])
def test_a_file_holds_the_same_bits(tmp_path, name, monkeypatch):
    if name in ("a.parquet", "parts"):
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("limbeck.teacher.answer_files.write.PART_ROWS", 4)
    to = tmp_path / "new" / name
    write(to)
    assert [path.name for path in to.parent.iterdir()] == [name]
    if name == "parts":
        assert len(list(to.iterdir())) == 2
    answers, _ = Answers(to).read(Requirements(NAMES))
    assert torch.equal(answers.records, torch.from_numpy(LOGITS))
    assert answers.kind == "logits"
    if name != "a.npy":
        assert answers.splits.tolist() == ["train"] * 4 + ["test"] * 5
        assert answers.ids.tolist() in (list(range(9)), [str(number) for number in range(9)])
    with pytest.raises(ConfigError, match="exists already"):
        check_target(to)


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
