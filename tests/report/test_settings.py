from dataclasses import replace

import pytest
from support.summaries import IMAGES, TEXT, make_summary

from limbeck.report.settings import common_settings, machine, stored_answers
from limbeck.run.manifest import Manifest, StoreUse
from limbeck.run.summary import ColumnFacts


@pytest.mark.parametrize(
    ("data", "stores", "text"),
    [
        (TEXT, None, ""),
        (TEXT, [], ""),
        (TEXT, [StoreUse(rows=5, views="none", dtype="float16")], ""),
        (TEXT, [StoreUse(kind="dense", k=0, record_bytes=512)], "dense, 512 bytes per token"),
        (TEXT, [StoreUse(kind="topk", k=12)], "top-K, 12 of 256 tokens"),
        (
            TEXT,
            [StoreUse(kind="topk", k=3), StoreUse(kind="topk", k=3), StoreUse(kind="dense")],
            "top-K, 3 of 256 tokens; dense",
        ),
        (IMAGES, [StoreUse(kind="dense", record_bytes=20)], "dense, 20 bytes per answer"),
    ],
)
def test_the_manifest_tells_how_answers_were_stored(data, stores, text):
    by_key = None if stores is None else {str(i): store for i, store in enumerate(stores)}
    assert stored_answers(make_summary(data=data), Manifest(stores=by_key)) == text


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (None, None),
        ([ColumnFacts(name="a")] * 1200, "1,200 of numbers"),
        (
            [ColumnFacts(name="a", categories=2, gaps=True)],
            "1 of categories; 1 with missing values",
        ),
        (
            [ColumnFacts(name="a", categories=3), ColumnFacts(name="b", gaps=True)],
            "1 of numbers, 1 of categories; 1 with missing values",
        ),
    ],
)
def test_the_columns_of_a_table(columns, text):
    data = replace(IMAGES, columns=columns and tuple(columns))
    settings = dict(common_settings(make_summary(data=data), Manifest()))
    assert settings.get("Columns") == text


def test_an_empty_manifest_tells_nothing():
    assert machine(Manifest()) == []
