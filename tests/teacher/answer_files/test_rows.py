"""Answers belong to samples by their names, or by their row numbers in the user's array."""

import numpy as np
import pytest
import torch

from limbeck._base.errors import TeacherError
from limbeck.data import Dataset
from limbeck.teacher.answer_files.answers import StoredAnswers
from limbeck.teacher.answer_files.rows import AnswerRows


def dataset(ids=None, test_ids=None):
    x = np.random.default_rng(0).random((10, 2), np.float32)
    y = np.arange(10) % 2
    return Dataset.from_arrays(x[:7], y[:7], x[7:], y[7:], val=2, ids=ids, test_ids=test_ids)


def rows(data, ids=None, splits=None, count=None):
    count = count or len(ids)
    answers = StoredAnswers(
        where="answers.csv",
        kind="logits",
        classes=2,
        records=torch.zeros(count, 2),
        ids=None if ids is None else np.array(ids, dtype=None if type(ids[0]) is int else object),
        splits=None if splits is None else np.array(splits, dtype=object),
    )
    return AnswerRows(answers, data)


def all_rows(finder, data):
    return {
        "train": finder.find(data.train.sample_ids, "train").tolist(),
        "val": finder.find(data.val.sample_ids, "val").tolist(),
        "test": finder.find(data.test_ids, "test").tolist(),
    }


def test_row_numbers_are_those_of_the_users_training_array():
    data = dataset()
    result = all_rows(rows(data, count=7), data)
    assert result == {
        "train": data.train.sample_ids.tolist(),
        "val": data.val.sample_ids.tolist(),
        "test": [-1, -1, -1],
    }
    shuffled = [3, 1, 0, 6, 5, 2, 4]
    positions = [shuffled.index(number) for number in data.train.sample_ids]
    for ids in (shuffled, [str(number) for number in shuffled]):
        assert all_rows(rows(data, ids), data)["train"] == positions


def test_a_column_of_splits_tells_equal_numbers_apart():
    data = dataset()
    ids = [*range(7), 0, 1, 2]
    splits = ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    result = all_rows(rows(data, ids, splits), data)
    assert result["test"] == [7, 8, 9]
    assert sorted(result["train"] + result["val"]) == list(range(7))


def test_names_are_matched_with_and_without_folder_and_suffix():
    names = [f"class/{number}.png" for number in range(10)]
    data = dataset(names[:7], names[7:])
    for ids in (
        names,
        [name.replace("/", "\\") for name in names],
        [f"/data/{name}" for name in names],
        [f"{number}.png" for number in range(10)],
        [str(number) for number in range(10)],
        list(range(10)),
    ):
        result = all_rows(rows(data, ids), data)
        assert result["test"] == [7, 8, 9], ids[0]
        assert sorted(result["train"] + result["val"]) == list(range(7))
    ambiguous = [f"{number % 2}/x.png" for number in range(7)]
    unknown = np.array(["x"], dtype=object)
    assert rows(data, names).find(unknown, "train").tolist() == [-1]
    with pytest.raises(TeacherError, match=r"2 ids are there more than once: 0/x\.png; 1/x\.png"):
        rows(data, ambiguous).find(data.train.sample_ids, "train")


def test_names_are_matched_in_both_unicode_forms():
    composed = [f"caf\u00e9 {number}.png" for number in range(10)]
    decomposed = [f"cafe\u0301 {number}.png" for number in range(10)]
    for ids, names in ((composed, decomposed), (decomposed, composed)):
        data = dataset(ids[:7], ids[7:])
        assert all_rows(rows(data, names), data)["test"] == [7, 8, 9]


def test_equal_names_in_two_splits_are_told_apart_by_the_column_of_splits():
    data = dataset(list("abcdefg"), list("abc"))
    splits = ["train"] * 7 + ["test"] * 3
    assert all_rows(rows(data, [*"abcdefgabc"], splits), data)["test"] == [7, 8, 9]


def test_ids_of_another_form_are_errors():
    with pytest.raises(TeacherError, match=r"the ids are names such as 'a\.png'"):
        rows(dataset(), ["a.png", "b.png"]).find(np.arange(2), "train")
    data = dataset(list("abcdefg"), list("xyz"))
    with pytest.raises(TeacherError, match="has no ids, but the samples of the dataset have names"):
        rows(data, count=7).find(data.train.sample_ids, "train")
    with pytest.raises(TeacherError, match="1 id is there more than once: 3"):
        rows(dataset(), [3, 3]).find(np.arange(2), "train")
    with pytest.raises(TeacherError, match="unknown splits holdout"):
        rows(dataset(), [1, 2], ["train", "holdout"])
