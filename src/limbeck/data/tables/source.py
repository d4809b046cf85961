"""The files of a table, or a data frame, and the columns that are features."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.copies import local_copy
from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data.parts import TRAIN
from limbeck.data.tables.frame import Frame, FrameTable
from limbeck.data.tables.listing import Table, list_tables
from limbeck.data.tables.parquet import classes_in
from limbeck.data.tables.rows import AnyTable, Roles
from limbeck.data.tables.table_file import TABLE_SUFFIXES, check_columns, open_table

_UNNAMED = re.compile(r"(Unnamed: \d+)?")
"""Names of columns that have none, such as the index of a data frame in a CSV file."""


@dataclass(frozen=True)
class TableSource:
    """The files of a table, or a data frame.

    Attributes:
        where: File or folder, for messages.
        tables: Tables with the numbers of their splits, that of training first.
        class_names: Names of the classes in columns of their numbers, by column.
        categorical: Other columns whose type says that they contain categories.
    """

    where: Path
    tables: list[tuple[AnyTable, int]]
    class_names: Mapping[str, list[str]]
    categorical: Sequence[str] = ()

    @property
    def first(self) -> AnyTable:
        """The first table, which names the columns."""
        return self.tables[0][0]


def open_source(path: str | Path | Frame, roles: Roles) -> TableSource:
    """Open the files of a table, or a data frame.

    Args:
        path: File, folder of files, or data frame.
        roles: Columns that are no features.

    Raises:
        DataError: If a file is damaged.
        ResourceError: If pyarrow is needed and not installed.

    Warns:
        LimbeckWarning: If a file without labels is not used.
    """
    if isinstance(path, Frame):
        frame = FrameTable(path)
        return TableSource(Path("table"), [(frame, TRAIN)], {}, frame.categorical)
    root = local_copy(str(path)).expanduser()
    files = [Table(root, TRAIN, {})]
    if os.path.isdir(root):
        files = sorted(list_tables(root, TABLE_SUFFIXES), key=lambda table: -table.part)
    tables: list[tuple[AnyTable, int]] = []
    class_names: dict[str, list[str]] = {}
    for file in files:
        content = open_table(file.file, roles.names, roles.labels if roles.may_lack_labels else ())
        if tables and not set(roles.labels) <= set(content.columns):
            text = f"{file.file} has no column {roles.labels[0]}, so it is not used."
            warnings.warn(text, LimbeckWarning, stacklevel=3)
            continue
        tables.append((content, file.part))
        class_names |= content.class_names | classes_in(file.features)
    return TableSource(root, tables, class_names)


def feature_names(content: AnyTable, roles: Roles, unused: Sequence[str]) -> list[str]:
    """Return the names of the columns from which a model predicts.

    Args:
        content: Table.
        roles: Columns that are no features.
        unused: Columns that the user does not want.

    Raises:
        DataError: If there are none, or several of one name.
    """
    others = {*roles.names, *unused}
    features = [name for name in content.columns if name not in others]
    features = [name for name in features if not _UNNAMED.fullmatch(name)]
    check_columns(content, features, "")
    if not features:
        raise DataError(
            f"{content.file} has no columns beside {', '.join(sorted(others))}; expected at least "
            "one from which a model can predict."
        )
    return features
