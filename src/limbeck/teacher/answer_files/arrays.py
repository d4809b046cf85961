"""Answers in arrays of NumPy: ``.npy``, ``.npz``, or an array in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck._base.reading import DAMAGED_ARRAYS, open_arrays
from limbeck._base.runtime.files import open_file
from limbeck.data.checks import join_some
from limbeck.losses.tasks import Outputs
from limbeck.teacher.answer_files.columns import (
    CLASS_LISTS,
    ID_NAMES,
    KINDS,
    LABEL_NAMES,
    MEMBER_NAMES,
    REST_NAMES,
    SPLIT_NAMES,
    Requirements,
)
from limbeck.teacher.answer_files.table import AnswerTable, text_array


def read_npy(file: Path, where: str, outputs: Outputs = "classes") -> AnswerTable:
    """Read a ``.npy`` file of values ``[N, C]`` or labels ``[N]``, mapped into memory.

    Row i belongs to sample i of the user's array.

    Args:
        file: File to read.
        where: Name of the file for messages.
        outputs: Kind of the outputs of a teacher.

    Raises:
        TeacherError: If it is damaged or of another shape.
        OSError: If it cannot be read.
    """
    open_file(file, allow_gaps=True).close()  # no pipe or device
    try:
        array = np.load(file, mmap_mode="c", allow_pickle=False)
    except DAMAGED_ARRAYS as error:
        raise _damaged(where, error) from None
    if not isinstance(array, np.ndarray):
        raise TeacherError(f"{where} is no array of NumPy.")
    return table_of_array(array, where, outputs)


def table_of_array(array: NDArray, where: str, outputs: Outputs = "classes") -> AnswerTable:
    """Return the table of an array: values ``[N, C]``, members ``[M, N, C]`` or labels ``[N]``.

    With outputs that are no classes, an array ``[N]`` has the value of a single target.

    Raises:
        TeacherError: If it is of another shape or type.
    """
    if array.dtype.kind not in "iuf" or array.size == 0:
        raise TeacherError(
            f"{where}: expected numbers, got an array of {array.dtype} and shape "
            f"{list(array.shape)}."
        )
    if array.ndim == 1 and outputs != "classes":
        array = array[:, None]
    if array.ndim == 1:
        if array.dtype.kind == "f":
            raise TeacherError(f"{where}: labels should be whole numbers, got {array.dtype}.")
        return AnswerTable(where=where, labels=array.astype(np.int64), kind="labels")
    if array.ndim == 3:
        members, samples, classes = array.shape
        return AnswerTable(
            where=where,
            ids=np.tile(np.arange(samples), members),
            members=np.repeat(np.arange(members), samples),
            values=_floats(array.reshape(members * samples, classes)),
        )
    if array.ndim != 2:
        raise TeacherError(
            f"{where}: expected an array [samples, classes], got shape {list(array.shape)}."
        )
    return AnswerTable(where=where, values=_floats(array))


def read_npz(file: Path, where: str, outputs: Outputs = "classes") -> AnswerTable:
    """Read a ``.npz`` file.

    Its arrays are ``logits``, ``probabilities``, ``log_probabilities``, ``values`` (``[N, C]``) or
    ``labels`` (``[N]``), and, if they are there, ``ids``, ``splits``, ``members`` (``[N]``) and
    ``classes`` (``[C]``, or ``[N, K]`` for the most probable ones).

    Args:
        file: File to read.
        where: Name of the file for messages.
        outputs: Kind of the outputs of a teacher.

    Raises:
        TeacherError: If it is damaged, or no array has answers.
        OSError: If it cannot be read.
    """
    try:
        with open_arrays(file) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGED_ARRAYS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(where, error) from None
    if any(name.startswith("students/") for name in arrays):
        raise TeacherError(
            f"{where} holds the predictions of a run for its test samples. 'limbeck answers RUN "
            "to=answers.npz' writes its teacher's answers to all samples."
        )
    return table_of_arrays(arrays, where, outputs)


def table_of_arrays(
    arrays: Mapping[str, NDArray], where: str, outputs: Outputs = "classes"
) -> AnswerTable:
    """Return the table of arrays by name, see :func:`read_npz`."""
    by_name = {name.lower(): array for name, array in arrays.items()}

    def take(names: Sequence[str]) -> NDArray | None:
        return next((by_name.pop(name) for name in names if name in by_name), None)

    texts = {"ids": take(ID_NAMES), "splits": take(SPLIT_NAMES), "members": take(MEMBER_NAMES)}
    columns: dict[str, Any] = {}
    for name, array in texts.items():
        if array is not None:
            columns[name] = _names(array, name, where)
    classes = take(CLASS_LISTS)
    if classes is not None and classes.ndim == 1:
        columns["classes"] = [str(name) for name in classes.tolist()]
    elif classes is not None:
        columns["top"] = classes if classes.dtype.kind in "iu" else classes.astype(object)
    rest = take(REST_NAMES)
    if rest is not None:
        columns["rest"] = _floats(rest)
    for kind, names in Requirements(outputs=outputs).kind_names.items():
        values = take(names)
        if values is not None:
            if values.ndim == 1 and outputs != "classes":
                values = values[:, None]
            columns |= {"kind": kind, "values": _matrix(values, kind, where)}
            break
    else:
        labels = take(LABEL_NAMES) if outputs == "classes" else None
        if labels is None:
            kinds = [kind for kind in KINDS if (kind == "values") == (outputs == "values")]
            raise TeacherError(
                f"{where}: the arrays {join_some(sorted(arrays)) or '(none)'} contain no answers. "
                f"Expected {' or '.join(kinds)}."
            )
        columns |= {"kind": "labels", "labels": _names(labels, "labels", where)}
    table = AnswerTable(where=where, **columns, others=tuple(by_name))
    _check_lengths(table)
    return table


def _check_lengths(table: AnswerTable) -> None:
    for name in ("ids", "splits", "members", "rest", "top"):
        array = getattr(table, name)
        if array is not None and len(array) != len(table):
            raise TeacherError(
                f"{table.where}: {name} has {len(array)} rows, but the answers have {len(table)}."
            )
    if table.top is not None and table.values is not None and table.top.shape != table.values.shape:
        raise TeacherError(
            f"{table.where}: classes of shape {list(table.top.shape)} do not fit values of shape "
            f"{list(table.values.shape)}."
        )


def _matrix(values: NDArray, name: str, where: str) -> NDArray:
    if values.ndim != 2 or values.dtype.kind not in "iuf" or values.size == 0:
        raise TeacherError(
            f"{where}: {name} should be numbers [samples, classes], got an array of "
            f"{values.dtype} and shape {list(values.shape)}."
        )
    return _floats(values)


def _names(array: NDArray, name: str, where: str) -> NDArray:
    if array.ndim != 1:
        raise TeacherError(f"{where}: {name} should be a list, got shape {list(array.shape)}.")
    return array.astype(np.int64) if array.dtype.kind in "iu" else text_array(array.tolist())


def _floats(array: NDArray) -> NDArray:
    """Return float32 values; an array of these is not copied."""
    return array.astype(np.float32, copy=False)


def _damaged(where: str, error: Exception) -> TeacherError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return TeacherError(f"{where} is not a sound file of NumPy arrays ({reason}).")
