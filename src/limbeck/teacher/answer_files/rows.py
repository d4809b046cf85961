"""The answer to each sample of a dataset, found by its id."""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck._base.errors import TeacherError
from limbeck.data import Dataset
from limbeck.data.checks import join_some
from limbeck.teacher.answer_files.answers import StoredAnswers

TRAIN, VAL, TEST = PARTS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": TEST,
    "testing": TEST,
    "eval": TEST,
}
MISSING = -1


class AnswerRows:
    """Rows of stored answers by split and id.

    Names of samples are unique in a whole dataset, or in training and test split. Row numbers
    belong to one array of the user: that of the training split, of which the validation split may
    be a part, or that of the test split, whose answers need ``test`` in the column ``split``.

    Args:
        answers: Answers of a file.
        data: Dataset whose samples the file answers.

    Raises:
        TeacherError: If ids are of another form or there twice, or a split is unknown.
    """

    def __init__(self, answers: StoredAnswers, data: Dataset):
        self.answers = answers
        self.where = answers.where
        self._splits = _split_names(answers)
        self._shares_numbers = data.train.ids is not None and data.val.ids is not None
        self._lookups: dict[tuple[str, ...] | None, Lookup] = {}

    def find(self, ids: NDArray, part: str) -> NDArray:
        """Return the row of the answer to each sample, int64 ``[M]``, -1 for no answer.

        Args:
            ids: Ids of the samples of a split, see :class:`limbeck.data.Split`.
            part: Name of the split: ``train``, ``val`` or ``test``.
        """
        has_names = ids.dtype.kind != "i"
        parts = self._parts_with_name(part) if has_names else self._parts_of(part)
        if parts == ():
            return np.full(len(ids), MISSING)
        if parts not in self._lookups:
            self._lookups[parts] = self._lookup(parts, has_names)
        return self._lookups[parts].rows_of(ids)

    def _parts_with_name(self, part: str) -> tuple[str, ...] | None:
        """Splits in the file whose names are those of a split; None for all rows."""
        ids = self.answers.ids
        if self._splits is None or ids is None or len(set(ids.tolist())) == len(ids):
            return None
        return (TEST,) if part == TEST else (TRAIN, VAL)

    def _parts_of(self, part: str) -> tuple[str, ...] | None:
        """Splits in the file whose numbers are those of a split; None for all rows."""
        in_training = part == TRAIN or (part == VAL and self._shares_numbers)
        if self._splits is None:
            return None if in_training else ()
        if in_training and self._shares_numbers:
            return (TRAIN, VAL)
        return (part,)

    def _lookup(self, parts: tuple[str, ...] | None, has_names: bool) -> "Lookup":
        rows = np.arange(len(self.answers.records))
        if parts is not None:
            assert self._splits is not None
            rows = np.flatnonzero(np.isin(self._splits, parts))
        return _lookup_of(self.answers, rows, has_names)

    def describe_missing(self, ids: NDArray, missing: NDArray) -> TeacherError:
        """Return the error about training samples without an answer.

        Args:
            ids: Ids of the training samples.
            missing: Rows of those without an answer.
        """
        names = join_some([str(ids[row])[:80] for row in missing[:20]])
        own = self.answers.ids
        example = "its ids are the numbers of its rows"
        if own is not None:
            example = f"an id in the file is {str(own[0])[:80]!r}"
        return TeacherError(
            f"{self.where} has no answer for {len(missing):,} of {len(ids):,} training samples, "
            f"such as {names}; {example}. Every sample that students learn from needs an answer: "
            "name it by the id of the dataset, or choose others with transfer.samples."
        )


def _split_names(answers: StoredAnswers) -> NDArray | None:
    if answers.splits is None:
        return None
    words = {value: SPLIT_WORDS.get(str(value).lower()) for value in set(answers.splits.tolist())}
    unknown = [str(value)[:40] for value, name in words.items() if name is None]
    if unknown:
        raise TeacherError(
            f"{answers.where}: unknown splits {join_some(unknown)}; expected train, val or test."
        )
    return np.array([words[value] for value in answers.splits.tolist()], dtype=object)


def training_lookup(answers: StoredAnswers, *, has_names: bool) -> "Lookup":
    """Return the rows of all training samples, for a loader without a dataset.

    Args:
        answers: Answers of a file.
        has_names: Whether the samples have names, not numbers.

    Raises:
        TeacherError: If ids are of another form or there twice, or a split is unknown.
    """
    splits = _split_names(answers)
    rows = np.arange(len(answers.records))
    if splits is not None and not has_names:
        rows = np.flatnonzero(np.isin(splits, (TRAIN, VAL)))
    return _lookup_of(answers, rows, has_names)


def _lookup_of(answers: StoredAnswers, rows: NDArray, has_names: bool) -> "Lookup":
    ids = answers.ids
    if has_names:
        if ids is None:
            raise TeacherError(
                f"{answers.where} has no ids, but the samples of the dataset have names. Add a "
                "column (or an array) id with the name of each sample's file."
            )
        return NameLookup(answers.where, ids[rows], rows)
    return NumberLookup(answers.where, rows if ids is None else ids[rows], rows)


class Lookup:
    """Rows by id."""

    def rows_of(self, ids: NDArray) -> NDArray:
        """Return the row of each id, -1 for none."""
        raise NotImplementedError


class NumberLookup(Lookup):
    """Rows by row number."""

    def __init__(self, where: str, ids: NDArray, rows: NDArray):
        numbers = ids if ids.dtype.kind == "i" else _parse_numbers(ids, where)
        order = numbers.argsort(kind="stable")
        self.numbers, self.rows = numbers[order], rows[order]
        double = self.numbers[1:][self.numbers[1:] == self.numbers[:-1]]
        if len(double):
            raise _double(where, np.unique(double).tolist())

    def rows_of(self, ids: NDArray) -> NDArray:
        """Return the row of each number, -1 for none."""
        if not len(self.numbers):
            return np.full(len(ids), MISSING)
        position = np.searchsorted(self.numbers, ids).clip(max=len(self.numbers) - 1)
        return np.where(self.numbers[position] == ids, self.rows[position], MISSING)


class NameLookup(Lookup):
    """Rows by name: as it is, or if that is no name, by the name of the file, then without suffix.

    A form is used only if all samples have an answer under it and no two rows have the same name.
    """

    def __init__(self, where: str, ids: NDArray, rows: NDArray):
        self.where, self.rows = where, rows
        self.names = [str(name) for name in ids.tolist()]
        exact = self._by_name(str)
        if len(exact) < len(self.names):
            counts: dict[str, int] = {}
            for name in self.names:
                counts[name] = counts.get(name, 0) + 1
            raise _double(where, [name for name, count in counts.items() if count > 1])
        self._forms: dict[Callable[[str], str], dict[str, int]] = {str: exact}

    def _by_name(self, form: Callable[[str], str]) -> dict[str, int]:
        return dict(zip(map(form, self.names), self.rows.tolist(), strict=True))

    def rows_of(self, ids: NDArray) -> NDArray:
        """Return the row of each name, -1 for none."""
        names = ids.tolist()
        for form in (str, _path, _file_name, _stem):
            wanted_names = list(map(form, names))
            if form not in self._forms:
                self._forms[form] = self._by_name(form)
            rows = self._forms[form]
            is_unique = len(rows) == len(self.names) and len(set(wanted_names)) == len(names)
            if is_unique and all(name in rows for name in wanted_names):
                return np.array([rows[name] for name in wanted_names])
        exact = self._forms[str]
        return np.array([exact.get(name, MISSING) for name in names])


def _path(name: str) -> str:
    """Return a path with slashes, without ``./``, and in one Unicode form (macOS has another)."""
    return str(PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")))


def _file_name(name: str) -> str:
    return PurePosixPath(_path(name)).name


def _stem(name: str) -> str:
    return PurePosixPath(_path(name)).stem


def _parse_numbers(ids: NDArray, where: str) -> NDArray:
    names = [str(name).removesuffix(".0") for name in ids.tolist()]
    wrong = [name for name in names if not name.isascii() or not name.isdigit() or len(name) > 18]
    if wrong:
        raise TeacherError(
            f"{where}: the ids are names such as {wrong[0][:80]!r}, but the samples of the dataset "
            "are known by their row numbers. Write the row numbers, or give the dataset names "
            "(ids= of Dataset.from_arrays)."
        )
    return np.array(names, dtype=np.int64)


def _double(where: str, ids: Iterable[Any]) -> TeacherError:
    names = [str(name)[:80] for name in ids]
    count = "1 id is" if len(names) == 1 else f"{len(names)} ids are"
    return TeacherError(
        f"{where}: {count} there more than once: {join_some(names)}. Remove the copies; if there "
        "are several answers to a sample, name the annotator or model in a column member."
    )
