"""Columns of answers are recognised by their names."""

import pytest

from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.columns import Requirements, find_columns

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
    columns = find_columns(names.split(" "), Requirements(NAMES), "file")
    assert {key: getattr(columns, key) for key in expected} == expected


def test_classes_come_before_other_meanings():
    columns = find_columns(["id", "p", "label"], Requirements(["p", "label"]), "file")
    assert columns.classes == ("p", "label")
    assert columns.label is None


def test_without_classes_all_other_columns_are_classes():
    assert find_columns(["id", "b", "a"], Requirements(), "file").classes == ("b", "a")


def test_columns_without_answers_and_double_columns_are_errors():
    with pytest.raises(TeacherError, match=r"file: the columns id; x; y contain no answers.*cat"):
        find_columns(["id", "x", "y"], Requirements(NAMES), "file")
    with pytest.raises(TeacherError, match="several columns are called cat"):
        find_columns(["id", "cat", "cat"], Requirements(NAMES), "file")


def test_the_column_of_ids_may_have_the_name_of_the_users_own():
    needs = Requirements(NAMES, id_column="Patient")
    columns = find_columns(["patient", "id", "cat", "dog"], needs, "file")
    assert (columns.id, columns.others) == ("patient", ("id",))
    assert find_columns(["id", "cat", "dog"], needs, "file").id == "id"


@pytest.mark.parametrize(
    ("names", "values", "is_list"),
    [
        ("id price rent", ("price", "rent"), False),
        ("id value_rent value_price", ("value_rent", "value_price"), False),
        ("id values", ("values",), True),
        ("id 0 1", ("0", "1"), False),
    ],
)
def test_columns_of_values(names, values, is_list):
    needs = Requirements(["price", "rent"], "values")
    columns = find_columns(names.split(" "), needs, "file")
    assert (columns.id, columns.values, columns.is_list) == ("id", values, is_list)


@pytest.mark.parametrize("name", ["price", "value_price", "prediction", "value", "label"])
def test_columns_of_a_single_value(name):
    columns = find_columns(["id", name], Requirements(["price"], "values"), "file")
    assert (columns.values, columns.is_list, columns.label) == ((name,), False, None)


def test_a_file_without_values_or_labels_is_refused():
    with pytest.raises(TeacherError, match=r"one column per target \(a\), .* value_TARGET"):
        find_columns(["id", "x"], Requirements(["a"], "values"), "file")
    with pytest.raises(TeacherError, match=r"one column per label \(a; b\).* prob_LABEL"):
        find_columns(["id", "label"], Requirements(["a", "b"], "labels"), "file")
