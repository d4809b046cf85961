"""Answers that are values or several labels, in every form, compared with formulas in float64."""

import numpy as np
import pytest
import torch
from scipy.special import logit
from support.answer_files import table, write_csv, write_lines

from limbeck import Answers
from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.columns import Requirements
from limbeck.teacher.answer_files.write import Block, open_writer
from limbeck.teacher.signal import LABELS, combine_outputs

TARGETS = Requirements(["price", "rent"], "values")
TOPICS = Requirements(["red", "blue"], "labels")
NUMBERS = np.array([[3.5, -1e6], [0.1, 7.25], [1e-8, 0.0]], np.float32)
P = np.array([[0.9, 0.2], [0.5, 0.75], [1e-4, 0.999]], np.float32)


def read(source, needs, **settings):
    return Answers(source, **settings).read(needs)[0]


def files_of(folder, names, kind, numbers):
    """Write the same numbers in all forms."""
    prefix = {"values": "value", "logits": "logit", "probabilities": "prob"}[kind]
    yield write_csv(folder / "a.csv", ["id", *names], table(numbers))
    yield write_csv(
        folder / "b.csv", ["id", *(f"{prefix}_{n}" for n in names[::-1])], table(numbers[:, ::-1])
    )
    rows = [dict(zip(names, row, strict=True)) for row in numbers.tolist()]
    yield write_lines(folder / "a.jsonl", [{"id": n, kind: row} for n, row in enumerate(rows)])
    yield write_lines(
        folder / "b.jsonl", [{"id": n, kind: [*row.values()]} for n, row in enumerate(rows)]
    )
    np.savez(folder / "a.npz", **{"ids": np.arange(len(numbers)), kind: numbers, "classes": names})
    yield folder / "a.npz"
    np.save(folder / "a.npy", numbers)
    yield folder / "a.npy"


def test_values_are_read_as_they_are(tmp_path):
    for file in files_of(tmp_path, TARGETS.names, "values", NUMBERS):
        answers = read(file, TARGETS)
        assert torch.equal(answers.records, torch.from_numpy(NUMBERS)), file
        assert (answers.kind, answers.classes, answers.top) == ("values", 2, None)
        assert "3 answers, values of 2 targets" in answers.describe()


def test_logits_of_labels_are_read_as_they_are(tmp_path):
    numbers = NUMBERS.clip(-20, 20)
    for file in files_of(tmp_path, TOPICS.names, "logits", numbers):
        answers = read(file, TOPICS)
        assert torch.equal(answers.records, torch.from_numpy(numbers)), file
        assert answers.kind == "logits"


def test_probabilities_of_labels_become_their_logits(tmp_path):
    for file in files_of(tmp_path, TOPICS.names, "probabilities", P):
        answers = read(file, TOPICS)
        assert answers.kind == "probabilities"
        np.testing.assert_allclose(answers.records, logit(P.astype(float)), rtol=1e-6)
    answers = read(np.log(P), TOPICS, kind="log_probabilities")
    np.testing.assert_allclose(answers.records, logit(P.astype(float)), rtol=1e-4, atol=1e-7)


def test_certain_probabilities_get_a_finite_logit():
    answers = read(np.array([[0, 1], [0.5, 1]]), TOPICS)
    np.testing.assert_allclose(answers.records.abs().amax(1), logit(1 - 1e-7), rtol=1e-5)
    assert "2 rows have a probability of 0 or 1" in answers.describe()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npz", "a.npy", "a.parquet"])
@pytest.mark.parametrize(("needs", "kind"), [(TARGETS, "values"), (TOPICS, "logits")])
def test_a_file_that_limbeck_wrote_holds_the_same_bits(tmp_path, name, needs, kind):
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    numbers = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32) * 1e3
    with open_writer(tmp_path / name, needs.names, kind) as writer:
        writer.add(Block(np.arange(9), "train", numbers))
    answers = read(tmp_path / name, needs)
    assert (answers.kind, answers.classes) == (kind, 2)
    assert torch.equal(answers.records, torch.from_numpy(numbers))


def test_a_single_target(tmp_path):
    needs = Requirements(["age"], "values")
    expected = [[30.5], [41.0]]
    write_csv(tmp_path / "a.csv", ["id", "prediction"], [[0, 30.5], [1, 41]])
    write_lines(tmp_path / "a.jsonl", [{"id": 0, "values": 30.5}, {"id": 1, "values": 41}])
    np.savez(tmp_path / "a.npz", values=np.array([30.5, 41]))
    for source in (tmp_path / "a.csv", tmp_path / "a.jsonl", tmp_path / "a.npz", [30.5, 41]):
        assert read(source, needs).records.tolist() == expected


def test_members_are_averaged_as_by_a_live_teacher():
    stacked = np.random.default_rng(0).standard_normal((3, 5, 2)).astype(np.float32)
    assert torch.equal(read(stacked, TARGETS).records, torch.from_numpy(stacked).mean(0))
    answers = read(stacked, TOPICS, kind="logits")
    assert torch.equal(answers.records, combine_outputs(torch.from_numpy(stacked), LABELS))
    mean = (1 / (1 + np.exp(-stacked.astype(float)))).mean(0)
    np.testing.assert_allclose(answers.records, logit(mean), rtol=1e-4, atol=1e-6)
    answers = read(stacked, TOPICS, kind="logits", combine="logits")
    assert torch.equal(answers.records, torch.from_numpy(stacked).mean(0))


@pytest.mark.parametrize(
    ("source", "needs", "settings", "message"),
    [
        ([[1.0, np.nan]], TARGETS, {}, "row 0 contains NaN"),
        ([[1.0, -np.inf]], TARGETS, {}, "1 rows contain -inf"),
        ([[1.0, 2.0, 3.0]], TARGETS, {}, "rows have 3 values, but the dataset has 2 targets"),
        ([[1.0, 2.0]], TARGETS, {"kind": "logits"}, "answers are logits.* requires values"),
        ([[1.0, 2.0]], TOPICS, {"kind": "values"}, "answers are values.* requires logits or prob"),
        ([[1.0, 2.0]], TOPICS, {"kind": "probabilities"}, "from 1 to 2 are no probabilities"),
        ([[1.0, 2.0]], Requirements(["a", "b"]), {"kind": "values"}, "is for regression"),
    ],
)
def test_other_numbers_are_refused(source, needs, settings, message):
    with pytest.raises(TeacherError, match=message):
        read(np.array(source), needs, **settings)


def test_files_of_classes_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", probabilities=P, classes=[["red", "blue"]] * 3)
    with pytest.raises(TeacherError, match="names classes, but the dataset has labels"):
        read(tmp_path / "a.npz", TOPICS)
    np.savez(tmp_path / "b.npz", labels=[0, 1])
    with pytest.raises(TeacherError, match=r"contain no answers\. Expected values"):
        read(tmp_path / "b.npz", TARGETS)
    write_csv(tmp_path / "a.csv", ["id", "price", "size"], [[0, 1, 2]])
    with pytest.raises(TeacherError, match="the targets rent of the dataset are missing"):
        read(tmp_path / "a.csv", TARGETS)
