"""limbeck store list, verify, clear."""

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock
from support.store_cases import SHARD, folder_of, image_pass, model, open_quietly, text_pass

from limbeck._base.open_folder import OpenFolder
from limbeck.cli import store as store_commands
from limbeck.cli.main import main
from limbeck.data import NoViews
from limbeck.store import key as store_key
from limbeck.store.files import ANSWERS, CHECKSUMS
from limbeck.store.key import HEADER
from limbeck.teacher.signal import LiveTeacher

OTHER = {"views": NoViews(), "teacher": LiveTeacher(model(seed=3))}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two stores, among files and folders that are not stores."""
    monkeypatch.setattr(store_key, "SHARD_ANSWERS", SHARD)
    monkeypatch.setenv("LIMBECK_STORE", str(tmp_path))
    open_quietly(image_pass(), tmp_path)
    open_quietly(image_pass(**OTHER), tmp_path, "float16")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "photos").mkdir()
    foreign = tmp_path / ("0" * 32)
    foreign.mkdir()
    (foreign / HEADER).write_text("{}")
    (foreign / "thesis.tex").write_text("mine")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / ANSWERS).write_text("mine")
    (tmp_path / ("1" * 32)).symlink_to(elsewhere)
    return tmp_path


def both(root):
    return folder_of(root), folder_of(root, image_pass(**OTHER), "float16")


def test_names_in_the_table_are_harmless(root, capsys):
    one, _ = both(root)
    header = json.loads((one / HEADER).read_text())
    header["label"] = {"data": "\x1b[2J\nx", "teacher": "a\u202e"}
    (one / HEADER).write_text(json.dumps(header))
    assert main(["store", "list"]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()


def test_a_table_of_stores(root, capsys):
    one, two = both(root)
    checksums = json.loads((one / CHECKSUMS).read_text())
    del checksums["shards"]["3"]
    (one / CHECKSUMS).write_text(json.dumps(checksums))
    assert main(["store", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "key",
        "data",
        "teacher",
        "views",
        "rows",
        "kind",
        "bytes",
        "size",
        "age",
        "state",
    ]
    rows = {line.split()[0]: line for line in lines[1:-1]}
    assert set(rows) == {one.name[:12], two.name[:12]}
    assert "data  16-7-3   9 (shifts of 1)  40    dense float32  12 " in rows[one.name[:12]]
    assert rows[one.name[:12]].endswith("3 of 4 shards")
    assert rows[two.name[:12]].endswith("complete")
    assert lines[-1].startswith("2 stores, ")
    (one / HEADER).write_text("{")
    main(["store", "list"])
    assert any(line.endswith("damaged") for line in capsys.readouterr().out.splitlines())


def test_what_is_kept_of_tokens(tmp_path, capsys):
    open_quietly(text_pass(), tmp_path, kind="topk", k=5)
    open_quietly(text_pass(temperature=2.0), tmp_path, kind="sampled", k=4)
    assert main(["store", "list", "--folder", str(tmp_path)]) == 0
    stored = capsys.readouterr().out
    assert "text  NextToken  1 (none)  30 x 8 tokens  topk 5           19     " in stored
    assert "text  NextToken  1 (none)  30 x 8 tokens  sampled 4 (T=2)  12     " in stored


def test_a_store_of_another_version_can_be_cleared(root, capsys):
    one, two = both(root)
    (one / ANSWERS).rename(one / "logits.bin")
    header = json.loads((one / HEADER).read_text())
    (one / HEADER).write_text(json.dumps({**header, "format": 1}))
    assert main(["store", "verify", one.name]) == 7
    assert "has format 1, but this version reads format 2" in capsys.readouterr().err
    assert main(["store", "clear", one.name]) == 0
    assert not one.exists()
    assert two.exists()


def test_files_that_vanish_meanwhile(root, capsys, monkeypatch):
    """A build renames temporary files meanwhile, and another process may clear a store."""
    one, two = both(root)
    (one / ".shards.json.abc_9.json").write_text("of a build")
    usual = Path.lstat

    def vanishing(self):
        if self.name.startswith(".shards"):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return usual(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", vanishing)
        assert main(["store", "list"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("2 stores, ")
        patch.setattr(store_commands, "find_stores", lambda _: [one, two, root / ("2" * 32)])
        assert main(["store", "list"]) == 0
        assert "222222222222" in capsys.readouterr().out
    assert main(["store", "clear", one.name]) == 0
    assert not one.exists()


def test_a_store_that_cannot_be_read(root, capsys, monkeypatch):
    one, _ = both(root)
    original = OpenFolder.read

    def failing(self, name):
        if self.path == one and name == CHECKSUMS:
            raise OSError(5, "Input/output error", str(one / CHECKSUMS))
        return original(self, name)

    monkeypatch.setattr(OpenFolder, "read", failing)
    assert main(["store", "list"]) == 0
    assert any(line.endswith("unreadable") for line in capsys.readouterr().out.splitlines())
    assert main(["store", "verify"]) == 6
    assert f"{one / CHECKSUMS} cannot be read" in capsys.readouterr().err


def test_no_stores(tmp_path, capsys):
    assert main(["store", "list", "--folder", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"no stores in {tmp_path / 'none'}\n"
    for words in (["verify"], ["clear", "--all"]):
        assert main(["store", *words, "--folder", str(tmp_path / "none")]) == 0
        assert capsys.readouterr().out == f"no stores in {tmp_path / 'none'}\n"
    (tmp_path / "file").touch()
    for words in (["list"], ["verify"], ["clear", "--all"]):
        assert main(["store", *words, "--folder", str(tmp_path / "file")]) == 2
        assert "file is not a folder" in capsys.readouterr().err


def test_a_store_without_permission_is_neither_sound_nor_removed(open_folder, capsys):
    store = open_folder / ("0" * 32)
    store.mkdir(mode=0)
    folder = ["--folder", str(open_folder)]
    assert main(["store", "list", *folder]) == 0
    assert "unreadable" in capsys.readouterr().out
    assert main(["store", "verify", *folder]) == 6
    err = capsys.readouterr().err
    assert f"{store} cannot be read (Permission denied). Check" in err
    assert main(["store", "clear", "--all", *folder]) == 6
    err = capsys.readouterr().err
    assert f"{store} cannot be removed (Permission denied)" in err
    assert "store=off" not in err


def test_a_key_may_be_given_twice(root, capsys):
    one, _ = both(root)
    assert main(["store", "clear", one.name, one.name[:8]]) == 0
    assert capsys.readouterr().out.count("removed") == 1


def test_verify_names_every_damage(root, capsys):
    one, two = both(root)
    assert main(["store", "verify"]) == 0
    assert capsys.readouterr().out.count("sound") == 2
    os.truncate(one / ANSWERS, 10)
    (two / CHECKSUMS).write_text("?")
    assert main(["store", "verify"]) == 7
    err = capsys.readouterr().err
    assert f"{one}: shards 0, 1, 2, 3 are damaged" in err
    assert f"{two / CHECKSUMS} is damaged" in err
    assert main(["store", "verify", two.name[:6]]) == 7


def test_clear_takes_the_store_that_is_named(root, capsys):
    one, two = both(root)
    before = sorted(path.name for path in root.iterdir())
    assert main(["store", "clear", one.name[:12]]) == 0
    assert f"{one.name[:12]}  removed, " in capsys.readouterr().out
    assert not one.exists()
    assert sorted(path.name for path in root.iterdir()) == [
        name for name in before if name != one.name
    ]
    assert two.is_dir()


def test_clear_all_takes_stores_and_nothing_else(root, capsys):
    one, two = both(root)
    (two / HEADER).write_text("{")  # damaged ones too
    (two / ".shards.json.abc_9.json").write_text("left by a killed process")
    assert main(["store", "clear", "--all"]) == 0
    assert capsys.readouterr().out.count("freed") == 2
    assert not one.exists()
    assert not two.exists()
    assert (root / "notes.txt").read_text() == "mine"
    assert (root / ("0" * 32) / "thesis.tex").read_text() == "mine"
    assert (root / ("1" * 32) / ANSWERS).read_text() == "mine"
    assert (root / "photos").is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clear"], "Give the keys of the stores to clear"),
        (["clear", "abcd", "--all"], "Give the keys of the stores to clear"),
        (["clear", "--all", "abcd"], "Give the keys of the stores to clear"),
        (["clear", "../.."], "'../..' is not a key"),
        (["clear", "abc"], "'abc' is not a key"),
        (["clear", "ffffffffffff"], "matches no store in"),
        (["clear", "0" * 32], "matches no store in"),
        (["clear", "1" * 32], "matches no store in"),
        (["verify", "ffffffffffff"], "matches no store in"),
        (["verify", "--all"], "--all is only valid with 'limbeck store clear'"),
        (["list", "abcd"], "takes no key"),
    ],
)
def test_what_is_refused(root, capsys, words, message):
    assert main(["store", *words]) == 2
    assert message in capsys.readouterr().err
    assert all(path.is_dir() for path in both(root))


def test_a_store_that_is_being_computed_is_not_cleared(root, capsys):
    one, _ = both(root)
    with FileLock(f"{one}.lock"):
        assert main(["store", "clear", one.name]) == 2
    assert "Another process is writing to store" in capsys.readouterr().err
    assert one.is_dir()
