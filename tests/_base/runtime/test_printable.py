"""The runtime of bundles: names and damaged files never reach the terminal or a table raw."""

import csv
import io
import json
import shutil

import pytest
from support.bundles import write_bundle, write_sums

from limbeck._base.runtime.file_names import LABELS, SUMS
from limbeck._base.runtime.printable import csv_cell


def rows_of(table):
    return list(csv.DictReader(io.StringIO(table)))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1-1", "'-1-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\\t=1"),
        ("\r\n=1", "\\r\\n=1"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("5", "5"),
        ("", ""),
        ("cat, \x1b[31mred", "cat, \\x1b[31mred"),
    ],
)
def test_a_spreadsheet_computes_no_name(name, cell):
    assert csv_cell(name) == cell


def test_names_in_tables_are_harmless(run, pictures, tmp_path, monkeypatch):
    bundle = write_bundle(tmp_path / "bundle")
    names = ["=1+1", "\x1b[31mdog", "fox\u202e"]
    (bundle / LABELS).write_text(json.dumps({"labels": names}))
    write_sums(bundle)
    monkeypatch.chdir(tmp_path)
    for name in ("@a.png", "b\nc.png"):
        shutil.copy(pictures / "0.png", name)
    shutil.copy(bundle / LABELS, "-\x1b.png")
    files = ["@a.png", "b\nc.png", "./-\x1b.png"]
    code, out, _ = run("predict", bundle, *files, "--top", "3")
    assert (code, out.count("\n")) == (3, 4)
    assert out.replace("\n", "").isprintable()
    rows = rows_of(out)
    assert [row["file"] for row in rows] == ["'@a.png", "b\\nc.png", "'-\\x1b.png"]
    labels = {rows[0][column] for column in ("label", "label_2", "label_3")}
    assert labels == {"'=1+1", "\\x1b[31mdog", "fox\\u202e"}
    _, out, _ = run("predict", bundle, *files, "--top", "3", "--format", "jsonl")
    assert out.replace("\n", "").isprintable()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in lines] == ["@a.png", "b\nc.png", "-\x1b.png"]
    assert {answer["label"] for answer in lines[0]["top"]} == set(names)


def test_messages_name_odd_files_in_one_line(run, tmp_path, shared_bundle):
    name = "a\x1b[31m\nerror: b"
    for words in (["verify", tmp_path / name], ["predict", shared_bundle, "--a\x1b[31m\nerror:b"]):
        code, _, err = run(*words)
        assert code in (2, 7)
        assert err.replace("\n", "").isprintable()
        assert "\nerror:b" not in err.replace(" ", "")


GARBAGE = {
    "NUL in a name": b"0" * 64 + b"  bundle\0.json\n",
    "NUL": b"\0" * 100,
    "an image": bytes(range(256)) * 8,
    "escapes": b"\x1b[2J" + b"0" * 60 + b"  \xff\n",
    "a folder": b"0" * 64 + b"  a\\b\n",
    "no checksum": b"g" * 64 + b"  bundle.json\n",
    "one name twice": (b"0" * 64 + b"  run.py\n") * 2,
    "an empty line": b"\n\n",
    "UTF-16": ("0" * 64 + "  bundle.json\n").encode("utf-16"),
}


@pytest.mark.parametrize("place", ["before", "after", "alone"])
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_list_of_checksums_full_of_garbage_is_a_message(bundle, run, content, place):
    file = bundle / SUMS
    sums = b"" if place == "alone" else file.read_bytes()
    file.write_bytes(content + sums if place == "before" else sums + content)
    code, out, err = run("verify", bundle)
    assert (code, out) == (7, "")
    assert err.startswith("error: ")
    assert "SHA256SUMS is damaged in line" in err
    assert err.rstrip("\n").isprintable()
