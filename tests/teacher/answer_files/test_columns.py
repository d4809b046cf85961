"""Columns of answers are recognised by their names."""

import pytest

from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.columns import find_columns

NAMES = ["cat", "dog"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("id cat dog", {"id": "id", "values": ("cat", "dog"), "kind": None}),
        ("file dog cat", {"id": "file", "values": ("cat", "dog"), "classes": ("cat", "dog")}),
        ("ID logit_dog logit_cat", {"id": "ID", "classes": ("dog", "cat"), "kind": "logits"}),
        ("id prob_cat prob_dog label", {"kind": "probabilities", "others": ("label",)}),
        ("id logprob:cat logprob:dog", {"kind": "log_probabilities"}),
        ("id logit_cat logit_dog p_cat p_dog", {"kind": "logits", "others": ("p_cat", "p_dog")}),
        ("row 0 1", {"id": "row", "values": ("0", "1"), "classes": ("0", "1")}),
        ("id split member label", {"split": "split", "member": "member", "kind": "labels"}),
        ("id class_1 p_1 class_2 p_2 rest", {"top": ("class_1", "class_2"), "rest": "rest"}),
        ("id logits", {"values": ("logits",), "is_list": True, "kind": "logits"}),
        ("id classes probs", {"top": ("classes",), "is_list": True, "kind": "probabilities"}),
        (" cat dog note", {"id": "", "others": ("note",)}),
    ],
)
def test_columns_have_a_meaning(names, expected):
    columns = find_columns(names.split(" "), NAMES, "file")
    assert {key: getattr(columns, key) for key in expected} == expected


def test_classes_come_before_other_meanings():
    columns = find_columns(["id", "p", "label"], ["p", "label"], "file")
    assert columns.classes == ("p", "label")
    assert columns.label is None


def test_without_classes_all_other_columns_are_classes():
    assert find_columns(["id", "b", "a"], None, "file").classes == ("b", "a")


def test_columns_without_answers_and_double_columns_are_errors():
    with pytest.raises(TeacherError, match=r"file: the columns id; x; y contain no answers.*cat"):
        find_columns(["id", "x", "y"], NAMES, "file")
    with pytest.raises(TeacherError, match="several columns are called cat"):
        find_columns(["id", "cat", "cat"], NAMES, "file")
