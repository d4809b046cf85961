"""Fixtures of tables."""

import pytest

from limbeck.data import table


@pytest.fixture
def read(tmp_path):
    def read(rows, label="bought", file="data.csv", encoding="utf-8", **settings):
        text = rows if isinstance(rows, str) else "\n".join(rows)
        (tmp_path / file).write_text(text, encoding=encoding, newline="")
        return table(tmp_path / file, label=label, **settings)

    return read
