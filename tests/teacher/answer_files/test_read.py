"""Answers in every form become the same logits; what is wrong with a file is one message."""

import json

import numpy as np
import pytest
import torch
from support.answer_files import LOGITS, NAMES, PROBABILITIES, table, write_csv, write_lines

from limbeck import Answers
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.teacher.answer_files.columns import Requirements

IDS = ["a.png", "b.png", "c.png", "d.png"]


def read(source, names=NAMES, **settings):
    return Answers(source, **settings).read(Requirements(names))[0]


def csv_of(folder, values=LOGITS, names=NAMES, ids=IDS, **columns):
    header = ["id", *columns, *names]
    return write_csv(folder / "answers.csv", header, table(values, ids, **columns))


def files(folder):
    """The same logits in each form."""
    logits = [[float(value) for value in row] for row in LOGITS]
    by_name = [dict(zip(NAMES, row, strict=True)) for row in logits]
    lists = [{"id": i, "logits": row} for i, row in zip(IDS, logits, strict=True)]
    objects = [{"id": i, "logits": row} for i, row in zip(IDS, by_name, strict=True)]
    flat = [{"id": i, **row} for i, row in zip(IDS, by_name, strict=True)]
    turned = np.roll(LOGITS, 1, 1)  # owl, cat, dog
    np.savez(folder / "a.npz", ids=IDS, logits=LOGITS.astype(np.float64), classes=NAMES)
    np.save(folder / "a.npy", LOGITS)
    (folder / "list.json").write_text(json.dumps(lists, indent=2))
    return [
        csv_of(folder),
        write_csv(folder / "semicolons.csv", ["id", *NAMES], table(LOGITS, IDS), delimiter=";"),
        write_csv(folder / "tabs.tsv", ["id", "owl", "cat", "dog"], table(turned, IDS), "\t"),
        write_lines(folder / "lists.jsonl", lists),
        write_lines(folder / "objects.jsonl", objects),
        write_lines(folder / "flat.jsonl", flat),
        folder / "list.json",
        folder / "a.npz",
        folder / "a.npy",
    ]


def test_every_form_gives_the_same_logits(tmp_path):
    for file in files(tmp_path):
        answers = read(file)
        assert answers.kind == "logits", file
        assert torch.equal(answers.records, torch.from_numpy(LOGITS)), file
        assert answers.ids is None or answers.ids.tolist() == IDS, file


def test_a_parquet_file_and_a_folder_of_parts_give_the_same_logits(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    lists = pa.table({"id": IDS, "logits": LOGITS.tolist()})
    wide = pa.table({"id": IDS, **{f"logit_{n}": LOGITS[:, i] for i, n in enumerate(NAMES)}})
    (tmp_path / "parts").mkdir()
    for number in range(2):
        pq.write_table(lists.slice(2 * number, 2), tmp_path / "parts" / f"{number}.parquet")
    pq.write_table(wide, tmp_path / "wide.parquet")
    for name in ("parts", "wide.parquet"):
        answers = read(tmp_path / name)
        assert torch.equal(answers.records, torch.from_numpy(LOGITS)), name
        assert answers.ids.tolist() == IDS
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(TeacherError, match="not a sound Parquet file"):
        read(tmp_path / "bad.parquet")


def test_an_address_is_read_through_fsspec(tmp_path):
    csv_of(tmp_path)
    answers = read(f"file://{tmp_path}/answers.csv")
    assert torch.equal(answers.records, torch.from_numpy(LOGITS))
    with pytest.raises(TeacherError, match=r"gone\.csv is missing"):
        read(f"file://{tmp_path}/gone.csv")
    with pytest.raises(ConfigError, match="nosuch:// is unknown"):
        read("nosuch://bucket/answers.csv")


def test_probabilities_and_their_logs_are_detected_and_become_logits(tmp_path):
    expected = torch.from_numpy(np.log(PROBABILITIES.astype(np.float64)).astype(np.float32))
    answers = read(csv_of(tmp_path, PROBABILITIES))
    assert answers.kind == "probabilities"
    torch.testing.assert_close(answers.records, expected)
    answers = read(np.log(PROBABILITIES))
    assert answers.kind == "log_probabilities"
    torch.testing.assert_close(answers.records, expected)


def test_zeros_are_floored_and_said():
    values = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    answers = read(values, ["a", "b"])
    assert answers.records[0].tolist() == pytest.approx([0.0, np.log(1e-7)], abs=1e-5)
    assert "1 row has a probability of zero, which became 1e-07" in answers.describe()
    smaller = read(np.array([[1.0, 0.0], [1 - 1e-9, 1e-9]], np.float32), ["a", "b"])
    assert smaller.records[0, 1] == pytest.approx(np.log(1e-9), rel=1e-4)


def test_the_kind_can_be_named():
    values = PROBABILITIES[:, :2] / PROBABILITIES[:, :2].sum(1, keepdims=True)
    assert torch.equal(read(values, "ab", kind="logits").records, torch.from_numpy(values))
    with pytest.raises(TeacherError, match=r"values from -\d.* to .* are no probabilities"):
        read(LOGITS, kind="probabilities")
    with pytest.raises(ConfigError, match=r"teacher\.kind='odds' is unknown; choose one of logits"):
        Answers(LOGITS, kind="odds")


def test_the_most_probable_classes_have_a_rest_or_none(tmp_path):
    rows = [
        {"id": 0, "top_logprobs": {"dog": -0.25, "owl": -2.0}},
        {"id": 1, "top_logprobs": {"cat": -0.5, "dog": -1.5}},
    ]
    answers = read(write_lines(tmp_path / "a.jsonl", rows), [*NAMES, "fox"])
    targets = answers.decode(answers.records)
    assert (answers.top, answers.has_rest, targets.classes) == (2, True, 4)
    assert targets.ids.tolist() == [[1, 2], [0, 1]]
    rest = 1 - np.exp([-0.25, -2.0]).sum()
    assert targets.tail[0].tolist() == pytest.approx([np.log(rest), np.log(rest / 2)], abs=1e-5)
    dense = answers.logits(torch.arange(2)).exp()
    torch.testing.assert_close(dense.sum(1), torch.ones(2))
    header = ["id", "class_1", "prob_1", "class_2", "prob_2"]
    file = write_csv(tmp_path / "a.csv", header, [[0, "dog", 0.75, "owl", 0.25]])
    answers = read(file)
    assert not answers.has_rest
    torch.testing.assert_close(
        answers.decode(answers.records).softmax(-1), torch.tensor([[0.0, 0.75, 0.25]])
    )


def test_labels_by_name_or_number_exclude_all_other_classes(tmp_path):
    file = write_csv(tmp_path / "a.csv", ["id", "label"], [[0, "owl"], [1, "cat"], [2, "1.0"]])
    answers = read(file)
    assert answers.kind == "labels"
    assert answers.decode(answers.records).softmax(-1).tolist() == np.eye(3)[[2, 0, 1]].tolist()
    answers = read(np.array([2, 0]))
    assert answers.logits(torch.arange(2)).argmax(-1).tolist() == [2, 0]


def test_several_answers_are_the_mean_of_an_ensemble(tmp_path):
    second = np.roll(PROBABILITIES, 1, 1)
    both = np.concatenate([PROBABILITIES, second])
    member = ["x"] * 4 + ["y"] * 4
    answers = read(csv_of(tmp_path, both, ids=IDS * 2, member=member))
    torch.testing.assert_close(
        answers.records.exp(), torch.from_numpy((PROBABILITIES + second) / 2), atol=1e-5, rtol=0
    )
    assert answers.ids.tolist() == IDS
    assert "2 answers per sample, averaged as probabilities" in answers.describe()
    mean = read(np.stack([LOGITS, LOGITS + 2]), combine="logits")
    torch.testing.assert_close(mean.records, torch.from_numpy(LOGITS + 1))
    rows = [[0, "p", "cat"], [0, "q", "dog"], [0, "r", "cat"], [1, "p", "owl"]]
    votes = read(write_csv(tmp_path / "v.csv", ["id", "annotator", "label"], rows))
    expected = torch.tensor([[2 / 3, 1 / 3, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(votes.records.exp(), expected, atol=1e-5, rtol=0)


def with_value(value):
    values = LOGITS.copy()
    values[1, 2] = value
    return values


HALF = PROBABILITIES * np.array([[1], [1], [1], [0.5]], np.float32)
BAD_ARRAYS = [
    (with_value(np.nan), NAMES, "row 1 contains NaN"),
    (with_value(np.inf), NAMES, "row 1 contains an infinite number"),
    (with_value(-np.inf), NAMES, "1 rows have a logit of -inf"),
    (HALF, NAMES, r"1 rows do not sum .* row 3"),
    (PROBABILITIES / 2, NAMES, "between 0 and 1, but the rows do not sum to one"),
    (LOGITS, ["cat", "dog"], "rows have 3 values, but the dataset has 2 classes"),
    (np.array([0.5, 1.5]), NAMES, "labels should be whole numbers"),
    (np.array([0, 3]), NAMES, "unknown classes: 3"),
    (np.zeros((2, 0)), NAMES, "expected numbers"),
    (np.array(["a", "b"]), NAMES, "expected numbers"),
]


@pytest.mark.parametrize(("array", "names", "message"), BAD_ARRAYS)
def test_what_is_wrong_with_an_array_is_one_message(array, names, message):
    with pytest.raises(TeacherError, match=message):
        read(array, names)


BAD_FILES = {
    "missing number": ("id,cat,dog,owl\n0,1,,3\n", "a number is missing in column dog, row 0"),
    "word": ("id,cat,dog,owl\n0,1,x,3\n", "'x' is no number in column dog, row 0"),
    "short row": ("id,cat,dog,owl\n0,1,2\n", "row 0 has 3 values, but .* names 4 columns"),
    "no rows": ("id,cat,dog,owl\n", "has no rows"),
    "empty": ("", "contain no answers"),
    "other classes": ("id,logit_cat,logit_dog,logit_fox\n0,1,2,3\n", "owl .*missing; it has fox"),
    "bytes": (b"id,cat\xff\n", "not a CSV file in UTF-8"),
    "list": ("id,logits\n0,[1]\n", "a CSV file has no lists"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_with_a_csv_file_is_one_message(name, tmp_path):
    content, message = BAD_FILES[name]
    file = tmp_path / "bad.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TeacherError, match=message):
        read(file)


BAD_LINES = {
    "no JSON": ("{", "line 1 is not valid JSON"),
    "no object": ("[1]", "object 1 should be an object"),
    "number": ("3", "line 1 should be an object"),
    "missing key": ('{"id": 0, "label": 1}\n{"id": 1}', "line 2: 'label' is missing"),
    "other length": ('{"id":0,"logits":[1,2,3]}\n{"id":1,"logits":[1]}', "from 1 to 3 values"),
    "class twice": ('{"id":0,"classes":[1,1],"probs":[0.5,0.4]}', "id 0 has a class twice"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_what_is_wrong_with_json_lines_is_one_message(name, tmp_path):
    content, message = BAD_LINES[name]
    file = tmp_path / "bad.jsonl"
    file.write_text(content)
    with pytest.raises(TeacherError, match=message):
        read(file)


def test_pickles_unknown_suffixes_and_missing_files_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", logits=np.array([print], dtype=object), allow_pickle=True)
    (tmp_path / "a.xlsx").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "a.npy": "not a sound file",
        "a.npz": "not a sound file",
        "a.xlsx": "unknown kind of file",
        "folder": r"no \.parquet files",
        "gone.csv": r"gone\.csv is missing",
    }.items():
        with pytest.raises(TeacherError, match=message):
            read(tmp_path / name)


def test_lines_may_have_the_same_classes_or_others(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.teacher.answer_files.json_lines.BLOCK_ROWS", 2)
    orders = [("cat", "dog", "owl")] * 3 + [("owl", "cat", "dog")]
    for count in (3, 4):
        rows = []
        for number in range(count):
            logits = dict(zip(NAMES, map(float, LOGITS[number]), strict=True))
            rows.append({"id": number, "logits": {name: logits[name] for name in orders[number]}})
        answers = read(write_lines(tmp_path / f"{count}.jsonl", rows))
        assert torch.equal(answers.records, torch.from_numpy(LOGITS[:count]))
    same = [{"id": number, "probs": {"cat": 0.5, "owl": 0.25}} for number in range(3)]
    targets = read(write_lines(tmp_path / "same.jsonl", same))
    assert (targets.top, targets.has_rest) == (2, True)


def test_headers_of_arrays_that_are_no_python_are_damaged(tmp_path):
    np.save(tmp_path / "a.npy", LOGITS)
    content = (tmp_path / "a.npy").read_bytes().replace(b"{", b"(", 1)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(TeacherError, match="not a sound file"):
        read(tmp_path / "a.npy")
