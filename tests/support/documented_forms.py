"""Tests of the rows of a table of the documentation."""

from collections.abc import Callable
from typing import Any

from support.documents import DOCS, rows

PAGE = DOCS / "reference" / "forms.md"
Case = Callable[..., Any]


class Cases(dict[str, Case]):
    """The test of each row of the tables below some headings, by its first cell.

    Args:
        headings: Headings on the page of forms.
    """

    def __init__(self, *headings: str):
        super().__init__()
        self.rows = [row[0] for heading in headings for row in rows(PAGE, heading)]

    def of(self, row: str) -> Callable[[Case], Case]:
        """Register the test of a row."""

        def register(function: Case) -> Case:
            self[row] = function
            return function

        return register
