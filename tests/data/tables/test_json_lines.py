"""JSON lines as a table of texts."""

import json

import pytest

from limbeck._base.errors import DataError
from limbeck.data.tables.json_lines import JsonLinesTable
from limbeck.data.tables.table_file import open_table

ROWS = [{"text": " a book ", "label": 1}, {"label": None, "text": None}, {"text": "b", "n": 2.5}]


@pytest.mark.parametrize("as_list", [False, True])
def test_objects_are_rows_whose_keys_are_the_columns(tmp_path, as_list):
    file = tmp_path / "rows.jsonl"
    lines = json.dumps(ROWS) if as_list else "\n\n".join(map(json.dumps, ROWS))
    file.write_text("\ufeff" + lines, encoding="utf-8")
    table = open_table(file, ["text"])
    assert isinstance(table, JsonLinesTable)
    assert table.columns == ["text", "label", "n"]
    rows = list(table.rows(["text", "label", "n"]))
    numbers = [1, 3] if as_list else [1, 5]
    assert rows == list(zip(numbers, [("a book", "1", ""), ("b", "", "2.5")], strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text"', "line 2 is not valid JSON"),
        ('{"text": ["a"]}', "text is a list; expected text or a number"),
        ("[1, 2]", "line 1 should be an object"),
        (b'{"text": "\xff"}', "is not JSON in UTF-8"),
    ],
)
def test_a_damaged_file_is_one_message(tmp_path, content, message):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        list(JsonLinesTable(file).rows(["text"]))


def test_a_missing_file_is_one_message(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        JsonLinesTable(tmp_path / "none.jsonl")
