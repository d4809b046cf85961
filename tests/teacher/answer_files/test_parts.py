"""A folder of Parquet files is written part by part, checked, and continued."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.object_storage import faulty_storage

from limbeck import Answers
from limbeck._base.errors import ConfigError, ResourceError, TeacherError
from limbeck._base.storage import Storage
from limbeck.run.lease import LEASE, Lease, LeaseLostError
from limbeck.run.lock import LOCK, Holder
from limbeck.teacher.answer_files.columns import Requirements
from limbeck.teacher.answer_files.part_folders import MANIFEST
from limbeck.teacher.answer_files.parts import UNFINISHED, open_parts
from limbeck.teacher.answer_files.target import check_target
from limbeck.teacher.answer_files.write import Block, Layout, parquet_bytes

pytest.importorskip("pyarrow")

faulty = pytest.fixture(faulty_storage)
ADDRESS = "faulty://bucket/answers"
NAMES = ["a", "b", "c"]
LOGITS = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
KEY = "key"


class StopError(Exception):
    """The end of a process."""


def part(number):
    rows = slice(3 * number, 3 * number + 3)
    return parquet_bytes(Block(np.arange(9)[rows], "train", LOGITS[rows]), Layout(NAMES))


def write(to, numbers=(2, 0, 1), key=KEY, stop_at=None, prepare=lambda: None):
    """Write parts in any order, those that are missing alone; return their numbers."""
    with open_parts(to, lambda: key, 3) as parts:
        prepare()
        remaining = [number for number in numbers if number in parts.missing]
        for number in remaining:
            if number == stop_at:
                raise StopError
            parts.write(number, part(number))
    return remaining


def read(folder):
    return Answers(folder).read(Requirements(NAMES))[0]


def test_parts_in_any_order_are_read_in_theirs(tmp_path):
    to = tmp_path / "new" / "answers"
    write(to)
    assert [path.name for path in to.parent.iterdir()] == ["answers"]
    assert torch.equal(read(to).records, torch.from_numpy(LOGITS))
    assert read(to).ids.tolist() == list(range(9))


def test_an_interrupted_folder_is_continued(tmp_path):
    to, unfinished = tmp_path / "answers", tmp_path / f"answers{UNFINISHED}"
    with pytest.raises(StopError):
        write(to, stop_at=1)
    assert not to.exists()
    with pytest.raises(TeacherError, match=r"is unfinished: 2 of 3 parts are there\. Run the same"):
        read(unfinished)
    (unfinished / "part-00000.parquet").write_bytes(b"damaged")
    assert write(to) == [0, 1], "sound parts are used again, damaged ones are not"
    assert not unfinished.exists()
    write(tmp_path / "expected")
    for file in (tmp_path / "expected").iterdir():
        assert (to / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_folder_that_was_only_begun_is_continued(tmp_path):
    unfinished = tmp_path / f"answers{UNFINISHED}"
    unfinished.mkdir()
    assert write(tmp_path / "answers") == [2, 0, 1]


def test_parts_of_another_teacher_are_refused(tmp_path):
    with pytest.raises(StopError):
        write(tmp_path / "answers", stop_at=1)
    with pytest.raises(ConfigError, match=r"unfinished answers of another teacher"):
        write(tmp_path / "answers", key="other")
    (tmp_path / f"mine{UNFINISHED}").mkdir()
    (tmp_path / f"mine{UNFINISHED}" / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds something else"):
        write(tmp_path / "mine")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda part: part.unlink(), r"part-00001\.parquet is missing"),
        (lambda part: part.write_bytes(part.read_bytes()[:-1]), r"00001\.parquet is damaged"),
        (lambda part: part.replace(part.with_name("part-00000.parquet")), r"00001.* is missing"),
    ],
)
def test_a_damaged_folder_is_one_message(tmp_path, damage, message):
    to = tmp_path / "answers"
    write(to)
    damage(to / "part-00001.parquet")
    with pytest.raises(TeacherError, match=message):
        read(to)


def test_a_folder_of_somebody_else_has_no_digests(tmp_path):
    to = tmp_path / "answers"
    write(to)
    for content in ("[]", '{"format": 7}'):
        (to / MANIFEST).write_text(content)
        assert len(read(to).records) == 9
    for content in ("", "{"):
        (to / MANIFEST).write_text(content)
        with pytest.raises(TeacherError, match=r"answers\.json cannot be read"):
            read(to)
    (to / MANIFEST).write_text('{"format": 2, "sha256": {}}')
    with pytest.raises(TeacherError, match="has format 2, and this version reads 1"):
        read(to)
    (to / MANIFEST).write_text('{"format": 1, "parts": 3, "sha256": 5}')
    with pytest.raises(TeacherError, match="0 of 3"):
        read(to)


def test_parts_of_somebody_else_are_neither_used_nor_written_over(faulty, tmp_path):
    Storage(ADDRESS).write("part-00001.parquet", b"of somebody else")
    with pytest.raises(ConfigError):
        write(ADDRESS)
    assert Storage(ADDRESS).read("part-00001.parquet") == b"of somebody else"
    write(tmp_path / "answers")
    (tmp_path / "answers" / "part-00007.parquet").write_bytes(part(0))
    with pytest.raises(TeacherError, match=r"part-00007\.parquet is not listed"):
        Answers(tmp_path / "answers").read(Requirements(NAMES))


def test_a_folder_that_another_process_has_finished_is_not_replaced(tmp_path):
    write(tmp_path / "answers")
    with pytest.raises(ConfigError, match="already exists"):
        write(tmp_path / "answers")


def test_a_second_process_is_refused_at_once(tmp_path):
    to = tmp_path / "answers"
    with open_parts(to, lambda: KEY, 3):
        for second in (check_target, write):
            with pytest.raises(ConfigError, match=rf"is in use by .*process {os.getpid()} on"):
                second(to)
    assert sorted(path.name for path in to.iterdir()) == [MANIFEST]


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    unfinished = tmp_path / f"answers{UNFINISHED}"
    unfinished.mkdir()
    dead = replace(Holder.current(), pid=2**22 + 1)
    (unfinished / LOCK).write_text(json.dumps(vars(dead)))
    to = tmp_path / "answers"
    check_target(to)
    write(to)
    assert LOCK not in [path.name for path in to.iterdir()]


# At an address ----------------------------------------------------------------------------------


def test_parts_at_an_address_are_those_on_the_disk(faulty, tmp_path):
    write(tmp_path / "answers")
    write(ADDRESS)
    files = Storage(ADDRESS).files()
    assert files.keys() == {path.name for path in (tmp_path / "answers").iterdir()}
    for name in files:
        assert Storage(ADDRESS).read(name) == (tmp_path / "answers" / name).read_bytes(), name
    assert torch.equal(read(ADDRESS).records, torch.from_numpy(LOGITS))
    with pytest.raises(ConfigError, match="exists already"):
        check_target(ADDRESS)


def test_an_interrupted_folder_at_an_address_is_continued(faulty):
    storage = Storage(ADDRESS)
    with pytest.raises(StopError):
        write(ADDRESS, stop_at=1)
    with pytest.raises(TeacherError, match=rf"{ADDRESS} is unfinished: 2 of 3 parts are there"):
        read(ADDRESS)
    check_target(ADDRESS)
    with pytest.raises(ConfigError, match="unfinished answers of another teacher"):
        write(ADDRESS, key="other")
    storage.remove(["part-00000.parquet"])
    faulty.calls.clear()
    assert write(ADDRESS) == [0, 1]
    names = [call.split()[1] for call in faulty.calls if call.startswith("write")]
    assert [name for name in names if name not in (LEASE, MANIFEST)] == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert names[-1] == MANIFEST, "the manifest is not last"
    assert storage.read(LEASE) is None
    assert torch.equal(read(ADDRESS).records, torch.from_numpy(LOGITS))


def test_a_damaged_part_at_an_address_is_noticed(faulty):
    write(ADDRESS)
    Storage(ADDRESS).write("part-00001.parquet", part(2))
    with pytest.raises(TeacherError, match=rf"{ADDRESS}/part-00001.parquet is damaged"):
        read(ADDRESS)


def test_something_else_at_an_address_is_not_written_over(faulty):
    Storage(ADDRESS).write("notes.txt", b"mine")
    with pytest.raises(ConfigError, match="holds something else"):
        write(ADDRESS)
    assert Storage(ADDRESS).read("notes.txt") == b"mine"


def test_a_second_process_at_an_address_is_refused_at_once(faulty):
    lease = {"owner": "x", "renewals": 1, "holder": vars(replace(Holder.current(), pid=1))}
    Storage(ADDRESS).write(LEASE, json.dumps(lease).encode())
    with pytest.raises(ConfigError, match=rf"{ADDRESS} is in use by .*process 1 on"):
        write(ADDRESS)


def test_who_has_lost_the_address_writes_nothing_more(faulty):
    storage = Storage(ADDRESS)
    with pytest.raises(LeaseLostError, match="was taken over"):
        write(ADDRESS, prepare=Lease(storage).acquire)
    assert not any(name.startswith("part-") for name in storage.files())


def test_a_storage_that_is_gone_is_one_message(faulty):
    def fail():
        faulty.faults.extend([ConnectionError("gone")] * 40)

    with pytest.raises(ResourceError, match="faulty://"):
        write(ADDRESS, prepare=fail)
