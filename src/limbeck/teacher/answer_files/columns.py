"""Columns of a table of answers, recognised by their names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from limbeck._base.errors import TeacherError
from limbeck.data.checks import join_some
from limbeck.losses.tasks import Outputs

LOGITS, PROBABILITIES, LOG_PROBABILITIES, LABELS, VALUES = KINDS = (
    "logits",
    "probabilities",
    "log_probabilities",
    "labels",
    "values",
)
"""Kinds of answers. Labels are for classes, values for regression."""
ID_NAMES = (
    "id",
    "ids",
    "sample",
    "sample_id",
    "file",
    "file_name",
    "filename",
    "image",
    "image_id",
    "id_code",
    "path",
    "row",
    "index",
    "",  # the index that pandas writes
)
SPLIT_NAMES = ("split", "splits", "subset")
MEMBER_NAMES = ("member", "members", "annotator", "rater", "teacher", "model")
LABEL_NAMES = ("label", "labels", "prediction", "predicted", "answer", "class")
REST_NAMES = ("rest", "other", "others")
CLASS_LISTS = ("classes", "class_names", "top_classes")
"""Names of the column with the classes of each row, where a row has the most probable ones."""
KIND_NAMES = {
    LOGITS: ("logits", "logit"),
    PROBABILITIES: ("probabilities", "probability", "probs", "prob", "p"),
    LOG_PROBABILITIES: (
        "log_probabilities",
        "log_probability",
        "log_probs",
        "log_prob",
        "logprobs",
        "logprob",
        "top_logprobs",
    ),
}
VALUE_NAMES = ("values", "predictions", "value", "prediction", "predicted", "label", "answer")
"""Names of a column with values to predict."""
LISTS_OF_VALUES = ("values", "predictions")
_TOP = re.compile(r"(?:class|label|top)[_ ]?(\d+)")
_NUMBER = re.compile(r"\d+(\.0+)?")


@dataclass(frozen=True)
class Requirements:
    """What a dataset requires of a file of answers.

    Attributes:
        names: Names of the classes, targets or labels; None if they are unknown.
        outputs: Kind of the outputs of a teacher.
        id_column: Column of the names of the samples in the user's table, by which the file may
            call its own; None without one.
    """

    names: Sequence[str] | None = None
    outputs: Outputs = "classes"
    id_column: str | None = None

    @property
    def noun(self) -> str:
        """Word for the names: classes, targets or labels."""
        return "targets" if self.outputs == "values" else self.outputs

    @property
    def kind_names(self) -> dict[str, tuple[str, ...]]:
        """Names of columns by the kind of their numbers."""
        return {VALUES: VALUE_NAMES} if self.outputs == "values" else KIND_NAMES


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns of a table and their meaning.

    Attributes:
        id: Column with the ids of the samples; None if there is none.
        split: Column with the split of each row.
        member: Column with the member of an ensemble, or the annotator, that gave the answer.
        label: Column with one class per row.
        rest: Column with the probability of all other classes.
        values: Columns with a number for each class; or a single column of lists.
        classes: Class of each column in ``values``; None if they have none or are lists.
        top: Columns with the class of each value, where rows have the most probable classes.
        is_list: Whether ``values``, and ``top`` if there is one, is a column of lists.
        kind: Kind of the values, if the names say so.
        others: Columns that are not used.
    """

    id: str | None = None
    split: str | None = None
    member: str | None = None
    label: str | None = None
    rest: str | None = None
    values: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    top: tuple[str, ...] = ()
    is_list: bool = False
    kind: str | None = None
    others: tuple[str, ...] = ()


def find_columns(names: Sequence[str], needs: Requirements, where: str) -> Columns:
    """Find the meaning of the columns of a table.

    Args:
        names: Names of the columns.
        needs: Requirements of the dataset.
        where: File, for messages.

    Raises:
        TeacherError: If a name is there twice, or no columns have answers.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TeacherError(f"{where}: several columns are called {join_some(repeated)}.")
    remaining = list(names)
    classes = tuple(needs.names or ())
    own_id = () if needs.id_column is None else (needs.id_column.lower(),)
    has_all_classes = bool(classes) and set(classes) <= set(names)
    if has_all_classes:  # they may be called like other columns, such as "p"
        remaining = [name for name in names if name not in classes]
    columns = Columns(
        id=_take(remaining, (*own_id, *ID_NAMES)),
        split=_take(remaining, SPLIT_NAMES),
        member=_take(remaining, MEMBER_NAMES),
        rest=_take(remaining, REST_NAMES if needs.outputs == "classes" else ()),
    )
    if has_all_classes:
        return replace(columns, values=classes, classes=classes, others=tuple(remaining))
    with_values = _lists(columns, remaining, needs) or _prefixed(columns, remaining, needs)
    if with_values is None:
        if needs.outputs == "classes":
            columns = replace(columns, label=_take(remaining, LABEL_NAMES))
        with_values = _numbered(columns, remaining) or _others(columns, remaining, needs)
    if with_values is None and columns.label is None:
        raise _no_answers(names, needs, where)
    columns = with_values or replace(columns, kind=LABELS)
    used = {*columns.values, *columns.top}
    return replace(columns, others=tuple(name for name in remaining if name not in used))


def _split_name(name: str, needs: Requirements) -> tuple[str, str] | None:
    """Return the kind and the class in a name such as ``logit_cat``; None for other names."""
    for kind, words in needs.kind_names.items():
        for word in words:
            if not name.lower().startswith(word):
                continue
            rest = name[len(word) :]
            if len(rest) > 1 and rest[0] in "_ .:-":
                return kind, rest[1:]
    return None


def _take(remaining: list[str], candidates: Iterable[str]) -> str | None:
    """Remove the first column that has one of some names, and return it."""
    by_name = {name.lower(): name for name in reversed(remaining)}
    for candidate in candidates:
        name = by_name.get(candidate)
        if name is not None:
            remaining.remove(name)
            return name
    return None


def _lists(columns: Columns, remaining: Sequence[str], needs: Requirements) -> Columns | None:
    """Find a column of lists, such as ``logits``; or the column of a single value."""
    by_name = {name.lower(): name for name in reversed(remaining)}
    for kind, words in needs.kind_names.items():
        for word in words:
            if word not in by_name:
                continue
            values = (by_name[word],)
            if kind == VALUES and word not in LISTS_OF_VALUES:
                return replace(columns, values=values, kind=kind)
            has_lists = needs.outputs == "classes"
            top = [by_name[name] for name in CLASS_LISTS if has_lists and name in by_name]
            return replace(columns, values=values, top=tuple(top[:1]), is_list=True, kind=kind)
    return None


def _prefixed(columns: Columns, remaining: Sequence[str], needs: Requirements) -> Columns | None:
    """Find columns such as ``logit_cat``, or pairs such as ``class_1`` and ``probability_1``."""
    by_kind: dict[str, dict[str, str]] = {}
    for name in remaining:
        parts = _split_name(name, needs)
        if parts is not None:
            by_kind.setdefault(parts[0], {})[parts[1]] = name
    if not by_kind:
        return None
    kind = next(kind for kind in needs.kind_names if kind in by_kind)
    values = by_kind[kind]
    top = {}
    for name in remaining:
        match = _TOP.fullmatch(name.lower())
        if match is not None and needs.outputs == "classes":
            top[match[1]] = name
    if not top:
        return replace(columns, values=tuple(values.values()), classes=tuple(values), kind=kind)
    ranks = [rank for rank in top if rank in values]
    return replace(
        columns,
        values=tuple(values[rank] for rank in ranks),
        top=tuple(top[rank] for rank in ranks),
        kind=kind,
    )


def _numbered(columns: Columns, remaining: Sequence[str]) -> Columns | None:
    """Find columns whose names are the numbers from 0."""
    numbers = [name for name in remaining if _NUMBER.fullmatch(name)]
    if len(numbers) < 2:
        return None
    return replace(columns, values=tuple(numbers), classes=tuple(numbers))


def _others(columns: Columns, remaining: Sequence[str], needs: Requirements) -> Columns | None:
    """Take all other columns as classes, if that is what they must be."""
    names = tuple(remaining)
    if needs.names is not None:
        names = tuple(name for name in remaining if name in set(needs.names))
    elif columns.label is not None:
        return None
    if len(names) < (2 if needs.outputs == "classes" else 1):
        return None
    return replace(columns, values=names, classes=names)


def _no_answers(names: Sequence[str], needs: Requirements, where: str) -> TeacherError:
    noun = {"classes": "class", "values": "target", "labels": "label"}[needs.outputs]
    expected = f"one column per {noun}"
    if needs.names is not None:
        expected += f" ({join_some(list(needs.names))})"
    forms = {
        "classes": "named by the class alone or as in logit_CLASS or prob_CLASS; or a column label",
        "values": "named by the target alone or as in value_TARGET",
        "labels": "named by the label alone or as in logit_LABEL or prob_LABEL",
    }
    return TeacherError(
        f"{where}: the columns {join_some(list(names))} contain no answers. Expected {expected}, "
        f"{forms[needs.outputs]}."
    )
