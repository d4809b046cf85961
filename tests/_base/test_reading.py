"""Files of others are read within limits."""

import gzip
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import limbeck
from limbeck._base.reading import (
    decompress,
    open_arrays,
    open_text,
    parse_json,
    parse_yaml,
    read_bytes,
    read_json,
)

SOURCE = Path(limbeck.__file__).parent
UNLIMITED = re.compile(
    r"\bjson\.loads?\(|yaml\.(safe_)?load\(|\bnp\.load\(|\.read_(text|bytes)\(|\.decompress\("
    r"|\bgzip\.\w+\("
    r"|\.open\((\)|\"r|newline|encoding)"
)
"""Calls that read a file, or parse its content, without limits."""
OWN_FILES = {
    # what limbeck itself has written in this process, or files of its own package
    "_base/mirror.py",
    "_base/reading.py",
    "data/text/cache.py",
    "data/text/text_list.py",
    "deploy/bundle.py",
    "deploy/cost.py",
    "deploy/demo/server.py",
    "deploy/destination.py",
    "deploy/executorch/templates.py",
    "deploy/executorch/worker.py",
    "deploy/latency.py",
    "deploy/run_cost.py",
    "report/template.py",
    "run/remote.py",
    "store/answers.py",
    "study/cluster/worker.py",
    "study/results.py",
    "study/settings.py",
    # files of the system, and of limited size
    "_base/mapped_memory.py",
    "run/git.py",
    "run/lock.py",
    "store/files.py",
    # an array that the user names, which is mapped into memory
    "data/sources/images.py",
    "teacher/answer_files/arrays.py",
    # the runtime of bundles, with limits of its own
    "_base/bundle_program.py",
    "_base/runtime/bundle.py",
    "_base/runtime/bundle_files.py",
    "_base/runtime/input_files.py",
    "_base/runtime/tokenizer.py",
}


def use(open_it):
    """Function that opens a file and closes it."""

    def read(file):
        with open_it(file):
            pass

    return read


def test_files_are_read_within_limits_everywhere():
    """New code that parses a file uses ``limbeck/_base/reading.py``, or is listed with a reason."""
    names = set()
    for file in SOURCE.rglob("*.py"):
        if UNLIMITED.search(file.read_text(encoding="utf-8")):
            names.add(file.relative_to(SOURCE).as_posix())
    assert names == OWN_FILES


def test_pipes_devices_and_large_files_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_bytes(tmp_path / "pipe")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_json(Path("/dev/zero"))
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        read_bytes(tmp_path / "large", 1 << 20)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 100 levels"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested more than 100 levels"),
        ("[" + "9" * 1_000_000 + "]", "a number of 1,000,000 digits"),
        ("{", "Expecting"),
    ],
    ids=["list", "object", "number", "cut"],
)
def test_json_that_grows_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_of_any_numbers_is_read():
    content = {"a": [1, -2.5, 10**20, 1e300, None, True], "b": {"c": "9" * 1000}}
    assert parse_json(json.dumps(content)) == content


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

MERGE_BOMB = "a: &a {x: 1}\n" + BOMB.partition("\n")[2].replace("[", "{<<: [").replace("]", "]}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 1,000,000 settings"),
        (MERGE_BOMB, "more than 1,000,000 settings"),
        ("a: &a [*a]", "it contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "9" * 100_000, "a number of 100,000 digits"),
        ("a: 2024-99-99", "month must be"),
    ],
    ids=["aliases", "merge", "itself", "nested", "number", "date"],
)
def test_yaml_that_grows_is_refused(text, message):
    with pytest.raises(yaml.YAMLError, match=message):
        parse_yaml(text)


def test_yaml_with_aliases_is_read():
    assert parse_yaml("a: &a {b: 1e-3, c: [1]}\nd: *a\ne: {<<: *a, f: 2}")["e"]["f"] == 2
    assert parse_yaml("") is None


def test_compressed_files_that_unpack_to_much_more_are_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    with open_arrays(tmp_path / "a.npz") as arrays:
        assert arrays["a"].tolist() == [0, 1, 2]
    monkeypatch.setattr("limbeck._base.reading.MIN_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="unpack to more than 1,048,576"):
        decompress(gzip.compress(bytes(2 << 20)))
    assert decompress(gzip.compress(b"text")) == b"text"
    np.savez_compressed(tmp_path / "b.npz", a=np.zeros(1 << 20))
    with pytest.raises(ValueError, match="unpacks to 8,388,7"), open_arrays(tmp_path / "b.npz"):
        pass
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with (
        pytest.raises(ValueError, match="does not fit into memory"),
        open_arrays(tmp_path / "c.npz") as arrays,
    ):
        arrays["a"]


@pytest.mark.parametrize("read", [read_bytes, read_json, use(open_text), use(open_arrays)])
def test_a_file_with_a_terabyte_of_nothing_is_not_read(tmp_path, read):
    """It takes no space on the disk. As one line of a table it filled the memory."""
    with open(tmp_path / "file", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="gap that is not on the disk"):
        read(tmp_path / "file")
