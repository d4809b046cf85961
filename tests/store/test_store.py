"""The store of a teacher's answers: what it holds, how it is found, and what becomes of a damaged
one.
"""

import errno
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from support.store_cases import (
    CLASSES,
    SAMPLES,
    SHARD,
    VIEWS,
    Mixed,
    Scaled,
    answers,
    counting,
    images,
    model,
    opened,
    place,
)

from limbeck._base.errors import ConfigError, ResourceError, TeacherError, UntrustedFileError
from limbeck.data import NoViews, Shift
from limbeck.data.batches import TrainBatches
from limbeck.data.dataset import Split
from limbeck.models import ConvNet
from limbeck.store import key as store_header
from limbeck.store.answers import CONVOLUTION_BATCH, LINEAR_BATCH
from limbeck.store.files import ANSWERS, JOURNAL, StoreFolder, check_folder
from limbeck.store.key import HEADER, PARTS, default_folder
from limbeck.store.store import StoreSettings
from limbeck.store.verify import COMPARED
from limbeck.teacher.signal import LiveTeacher

FILES = {HEADER, JOURNAL, ANSWERS}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store_header, "SHARD_ANSWERS", SHARD)


@pytest.fixture
def root(tmp_path):
    """A folder that holds one complete store."""
    opened(answers(), tmp_path / "stores")
    return tmp_path / "stores"


def asked(made, root, dtype="float32"):
    """Open a store and count what was asked besides the comparison."""
    log, said = [], io.StringIO()
    found = opened(counting(made, log), root, dtype, said)
    return found, sum(log) - COMPARED, said.getvalue()


# What it holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2])
def test_stored_answers_are_the_live_ones_bit_for_bit(tmp_path, members):
    teacher = LiveTeacher([model(seed) for seed in range(members)])
    stored = opened(answers(teacher=teacher), tmp_path)
    train = Split(images(), torch.zeros(SAMPLES, dtype=torch.int64))
    epoch = iter(range(9))
    batches = TrainBatches(
        train,
        torch.arange(SAMPLES),
        train.labels,
        views=Shift(1),
        seeds=[3, 4],
        batch_size=10,
        epoch=lambda: next(epoch),
    )
    seen = set()
    for _ in range(4):
        for batch in batches:
            live = teacher(batch.x, batch.sample, batch.view)
            assert torch.equal(stored(batch.x, batch.sample, batch.view), live)
            seen |= set((batch.sample * VIEWS + batch.view).flatten().tolist())
    assert len(seen) > SAMPLES * VIEWS / 2


def test_answers_equal_a_plain_loop(root):
    stored, net = opened(answers(), root).records, model().eval()
    for row in (0, 11, 39):
        for view in range(VIEWS):
            down, right = divmod(view, 3)
            padded = np.pad(images()[row, 0].numpy() / 255, 1)
            shifted = padded[2 - down : 6 - down, 2 - right : 6 - right]
            with torch.no_grad():
                wanted = net(torch.tensor(shifted, dtype=torch.float32)[None, None])[0]
            torch.testing.assert_close(stored[row, view], wanted)


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 10), ("bfloat16", 7), ("float32", 23)])
def test_what_a_dtype_keeps(tmp_path, dtype, bits):
    exact = opened(answers(), tmp_path / "exact").records
    stored = opened(answers(), tmp_path, dtype)
    kept = stored(
        torch.zeros(SAMPLES, 1), torch.arange(SAMPLES), torch.zeros(SAMPLES, dtype=torch.int64)
    )
    assert kept.dtype == torch.float32
    assert ((kept - exact[:, 0]).abs() <= exact[:, 0].abs() * 2.0 ** -(bits + 1) + 1e-7).all()
    assert torch.equal(stored.records, exact.to(getattr(torch, dtype)))
    size = SAMPLES * VIEWS * CLASSES * (4 if dtype == "float32" else 2)
    folder = place(tmp_path, dtype=dtype)
    assert (folder / ANSWERS).stat().st_size == size
    assert {file.name for file in folder.iterdir()} == FILES


def test_what_is_done_to_the_logits_never_reaches_the_file(root):
    before = (place(root) / ANSWERS).read_bytes()
    opened(answers(), root).records.zero_()
    assert (place(root) / ANSWERS).read_bytes() == before


def test_some_rows_and_mixed_views(tmp_path):
    rows = torch.tensor([1, 4, 6, 7, 30, 31, 39])
    made = answers(rows=rows, views=Mixed())
    stored, inputs = opened(made, tmp_path), images().float() / 255
    for place_of, row in enumerate(rows.tolist()):
        for view in range(4):
            other = int(rows[(row * 7 + view) % len(rows)])
            live = made.teacher((inputs[row] + inputs[other])[None] / 2)[0]
            found = stored(inputs[:1], torch.tensor([row]), torch.tensor([view]))[0]
            torch.testing.assert_close(found, live)
            assert torch.equal(found, stored.records[place_of, view])
    with pytest.raises(TeacherError, match="no stored answer to training sample 5"):
        stored(inputs[:1], torch.tensor([5]), torch.tensor([0]))


def test_a_second_time_nothing_is_asked_or_written(root):
    folder = place(root)
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    (root / f"{folder.name}.lock").unlink()
    _, count, said = asked(answers(), root)
    assert count == 0
    assert said == ""
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    assert not (root / f"{folder.name}.lock").exists()


def test_asking_changes_no_state_of_the_random_numbers(tmp_path):
    made, state = answers(), torch.get_rng_state()
    opened(made, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_fit_the_kind_of_teacher():
    assert answers().batch() == LINEAR_BATCH
    assert (
        answers(teacher=LiveTeacher(ConvNet((1, 4, 4), 3, channels=[2], strides=[1]))).batch()
        == CONVOLUTION_BATCH
    )


# The key ------------------------------------------------------------------------------------------


def nudged():
    net = model()
    with torch.no_grad():
        weight = net.net.layers[1].weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    return net


def edited():
    inputs = images()
    inputs[17, 0, 2, 2] += 1
    return inputs


CHANGES = [
    ("teacher", {"teacher": LiveTeacher(model(seed=1))}),
    ("teacher", {"teacher": LiveTeacher(nudged())}),
    ("teacher", {"teacher": LiveTeacher(model(dropout=0.5))}),
    ("teacher", {"teacher": LiveTeacher(model(), combine="logits")}),
    ("samples", {"inputs": edited()}),
    ("samples", {"inputs": images()[:30]}),
    ("samples", {"rows": torch.arange(39)}),
    ("views", {"views": Shift(2)}),
    ("views", {"views": NoViews()}),
    ("normalisation", {"teacher": LiveTeacher(model(mean=0.4))}),
    ("precision", {"precision": "bf16-mixed"}),
    ("format", {}),
]


@pytest.mark.parametrize(
    ("part", "changes"), CHANGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_part_changes_the_key_and_is_named(root, part, changes):
    before, dtype = answers().header("float32"), "float16" if part == "format" else "float32"
    after = answers(**changes).header(dtype)
    assert after.key != before.key
    assert [name for name in PARTS if before.parts[name] != after.parts[name]] == [part]
    found, count, said = asked(answers(**changes), root, dtype)
    assert count == found.records.shape[0] * found.records.shape[1]
    names_alike = after.label["teacher"] == before.label["teacher"]
    wanted = f"the stored ones ({before.key[:12]}) differ in {PARTS[part]}"
    assert (wanted in said) == names_alike
    assert torch.equal(
        opened(answers(), root).records, opened(answers(), root.parent / "other").records
    )


def test_equal_things_have_one_key_in_every_process():
    keys = {answers().header("float16").key for _ in range(2)}
    script = "from support.store_cases import *; store_header.SHARD_ANSWERS = SHARD; print(answers().header('float16').key)"
    keys.add(
        subprocess.run(
            [*PYTHON, script], env=environment(), capture_output=True, text=True
        ).stdout.strip()
    )
    assert len(keys) == 1


PYTHON = (os.sys.executable, "-c")


def environment():
    source = str(Path(store_header.__file__).parents[2])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([source, str(Path(__file__).parents[1])]),
        "OMP_NUM_THREADS": "1",
    }


# Damage -------------------------------------------------------------------------------------------


def change_a_byte(folder):
    with (folder / ANSWERS).open("r+b") as file:
        file.seek(2 * SHARD * CLASSES * 4 + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def truncate(folder):
    os.truncate(folder / ANSWERS, (folder / ANSWERS).stat().st_size - 1)


def lengthen(folder):
    with (folder / ANSWERS).open("ab") as file:
        file.write(b"x")


def swap(folder):
    content, size = (folder / ANSWERS).read_bytes(), SHARD * CLASSES * 4
    (folder / ANSWERS).write_bytes(content[size : 2 * size] + content[:size] + content[2 * size :])
    journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    shards = journal["shards"]
    shards["0"], shards["1"] = shards["1"], shards["0"]
    (folder / JOURNAL).write_text(json.dumps(journal), encoding="utf-8")


def remove_logits(folder):
    (folder / ANSWERS).unlink()


def remove_journal(folder):
    (folder / JOURNAL).unlink()


def journal_of(text):
    def damage(folder):
        (folder / JOURNAL).write_text(text, encoding="utf-8")

    damage.__name__ = f"journal {text[:20]}"
    return damage


def foreign_logits(folder):
    other = answers(teacher=LiveTeacher(model(seed=9)))
    opened(other, folder.parent / "foreign")
    for name in (ANSWERS, JOURNAL):
        shutil.copy(place(folder.parent / "foreign", other) / name, folder / name)


@pytest.mark.parametrize(
    ("damage", "shards"),
    [
        (change_a_byte, [2]),
        (truncate, [3]),
        (lengthen, [3]),
        (swap, [0, 1]),
        (remove_logits, [0, 1, 2, 3]),
        (foreign_logits, [0, 1, 2, 3]),
        (remove_journal, [0, 1, 2, 3]),
        (journal_of("{"), [0, 1, 2, 3]),
        (journal_of('{"shards": []}'), [0, 1, 2, 3]),
        (journal_of('{"shards": {"7": "a"}}'), [0, 1, 2, 3]),
        (journal_of("[" * 100_000), [0, 1, 2, 3]),
        (journal_of('{"shards": {"0": null}}'), [0, 1, 2, 3]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_shards_are_computed_anew(root, damage, shards):
    wanted = opened(answers(), root).records.clone()
    damage(place(root))
    found, count, said = asked(answers(), root)
    assert torch.equal(found.records, wanted)
    assert count == len(shards) * SHARD
    if damage is not remove_journal:
        named = (
            f"shard {shards[0]} is"
            if len(shards) == 1
            else f"shards {', '.join(map(str, shards))} are"
        )
        assert f"{named} damaged and computed anew" in said
    assert asked(answers(), root)[1] == 0


def test_what_is_not_in_the_journal_is_not_read(root):
    folder = place(root)
    wanted = (folder / ANSWERS).read_bytes()
    journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    del journal["shards"]["1"]
    (folder / JOURNAL).write_text(json.dumps(journal), encoding="utf-8")
    half = bytearray(wanted)
    half[SHARD * CLASSES * 4 : SHARD * CLASSES * 6] = b"\xff" * (SHARD * CLASSES * 2)
    (folder / ANSWERS).write_bytes(half)
    assert asked(answers(), root)[1] == SHARD
    assert (folder / ANSWERS).read_bytes() == wanted


def test_what_was_checked_is_what_is_read(root, monkeypatch):
    """Another process may clear the store and build it anew meanwhile."""
    check, wanted = StoreFolder.check, opened(answers(), root).records.clone()

    def replaced(self, *given):
        found = check(self, *given)
        size = self.answers.stat().st_size
        self.answers.unlink()
        self.answers.write_bytes(bytes(size))
        return found

    monkeypatch.setattr(StoreFolder, "check", replaced)
    assert torch.equal(opened(answers(), root).records, wanted)


def test_the_file_that_is_checked_is_the_one_that_is_mapped(root, monkeypatch):
    wanted, read = opened(answers(), root).records.clone(), StoreFolder._read

    def replaced(self, *given):
        size = self.answers.stat().st_size
        self.answers.unlink()
        self.answers.write_bytes(bytes(size))
        return read(self, *given)

    monkeypatch.setattr(StoreFolder, "_read", replaced)
    assert torch.equal(opened(answers(), root).records, wanted)


def rewritten(folder, **changes):
    header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    (folder / HEADER).write_text(json.dumps({**header, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / HEADER).write_text("{"), "store.json is damaged"),
        (lambda f: (f / HEADER).write_text("[" * 100_000), "store.json is damaged"),
        (lambda f: (f / HEADER).write_bytes(b"\xff\xfe"), "store.json is damaged"),
        (lambda f: (f / HEADER).write_text("[]"), "an object was expected, found list"),
        (lambda f: rewritten(f, format=1), "store.json is of format 1; this version reads 2"),
        (lambda f: rewritten(f, rows=41), "its sizes are not those of its parts"),
        (lambda f: rewritten(f, rows=True), "rows should be a whole number, found True"),
        (lambda f: rewritten(f, shard_rows=0), "shard_rows should be a whole number, found 0"),
        (lambda f: rewritten(f, dtype="float8"), "no answers of kind 'dense' and dtype 'float8'"),
        (lambda f: rewritten(f, parts={}), "parts should be teacher, samples"),
        (lambda f: rewritten(f, classes=4), "classes is 4, should be 3"),
        (
            lambda f: rewritten(f, parts=answers(precision="64-true").header("float32").parts),
            "that of another store .* does not give the key",
        ),
    ],
)
def test_a_damaged_header_is_refused(root, damage, message):
    damage(place(root))
    with pytest.raises(
        UntrustedFileError, match=f"{message}.*limbeck store clear {place(root).name[:12]}"
    ) as caught:
        opened(answers(), root)
    assert caught.value.exit_code == 7


def test_another_teachers_store_under_this_key_is_refused(root):
    other = answers(teacher=LiveTeacher(model(seed=9)))
    shutil.copytree(place(root), place(root, other))
    with pytest.raises(UntrustedFileError, match=f"is that of another store .{place(root).name}"):
        opened(other, root)


def test_wrong_answers_in_a_sound_store_are_noticed(root):
    store = StoreFolder.open(place(root))
    content = (store.path / ANSWERS).read_bytes()
    for shard in range(4):
        store.write(shard, bytes(content[: SHARD * CLASSES * 4]))
    with pytest.raises(
        TeacherError, match=r"not what the teacher answers now.* differs by .*limbeck store clear"
    ):
        opened(answers(), root)


def test_a_teacher_that_answers_at_random_is_refused(tmp_path):
    made = answers()
    fickle = type(made)(**{**vars(made), "ask": lambda x: torch.randn(len(x), CLASSES)})
    with pytest.raises(TeacherError, match=r"change from time to time: use store=off"):
        opened(fickle, tmp_path)


# Logits that do not fit ---------------------------------------------------------------------------


def test_logits_beyond_float16(tmp_path):
    made = answers(teacher=LiveTeacher(Scaled(1e6)))
    with pytest.raises(
        TeacherError, match=r"more than float16 can hold \(6.55e\+04\).*store.dtype=float32"
    ) as caught:
        opened(made, tmp_path, "float16")
    assert caught.value.exit_code == 4
    assert StoreFolder.open(place(tmp_path, made, "float16")).journal() == {}
    for dtype in ("float32", "bfloat16"):
        assert opened(made, tmp_path, dtype).records.isfinite().all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_logits_that_are_no_numbers(tmp_path, dtype):
    made = answers(teacher=LiveTeacher(Scaled(float("inf"))))
    with pytest.raises(TeacherError, match=r"logits of training sample \d+ are not all finite"):
        opened(made, tmp_path, dtype)


def test_masked_classes_are_refused_with_a_way_out(tmp_path):
    made = answers()
    masked = type(made)(
        **{**vars(made), "ask": lambda x: torch.tensor([1.0, 2.0, -torch.inf]).repeat(len(x), 1)}
    )
    with pytest.raises(
        TeacherError, match=r"not all finite: .*-inf for masked classes, use store=off"
    ):
        opened(masked, tmp_path)


def test_a_teacher_of_other_classes(tmp_path):
    with pytest.raises(TeacherError, match=r"shape \[90, 3\]; \[90, 4\] was expected"):
        opened(answers(classes=4), tmp_path)


# Places that do not work --------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path):
    """A small disk of its own, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", folder], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_and_then_a_larger_one(mounted):
    made = answers(inputs=images(4000))
    with pytest.raises(
        ResourceError, match=r"The disk is full: the teacher's answers need 432\.0 kB .*store=off"
    ) as caught:
        opened(made, mounted)
    assert caught.value.exit_code == 6
    assert shutil.disk_usage(mounted).free > 50_000
    subprocess.run(["mount", "-o", "remount,size=1m", mounted], check=True)
    assert opened(made, mounted).records.shape == (4000, 9, 3)


def test_a_disk_that_cannot_be_written(mounted):
    opened(answers(), mounted)
    spoilt = answers(teacher=LiveTeacher(model(seed=2)))
    opened(spoilt, mounted)
    change_a_byte(place(mounted, spoilt))
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    assert asked(answers(), mounted)[1] == 0
    with pytest.raises(
        ResourceError, match=r"cannot be written \(Read-only file system\).*store\.folder=DIR"
    ):
        opened(answers(views=NoViews()), mounted)
    with pytest.raises(
        UntrustedFileError, match=r"shard 2 is damaged, and cannot be mended: .*Read-only"
    ):
        opened(spoilt, mounted)


def test_no_space_is_met_before_anything_is_asked(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    log = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(ResourceError, match="The disk is full"):
            opened(counting(answers(), log), tmp_path)
    assert log == []
    assert asked(answers(), tmp_path)[1] == SAMPLES * VIEWS


def test_a_system_that_cannot_reserve_space(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    wanted = opened(answers(), tmp_path / "usual").records
    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    assert torch.equal(opened(answers(), tmp_path / "other").records, wanted)
    monkeypatch.delattr(os, "posix_fallocate")
    assert torch.equal(opened(answers(), tmp_path / "third").records, wanted)


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOSYS])
def test_a_file_system_without_fallocate(tmp_path, monkeypatch, code):
    def emulated(file, _, size):
        """As glibc does where the file system cannot: EBADF for a file that is open for appending."""
        assert not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND
        raise OSError(code, os.strerror(code))

    fcntl = pytest.importorskip("fcntl")
    wanted = opened(answers(), tmp_path / "usual").records
    monkeypatch.setattr(os, "posix_fallocate", emulated, raising=False)
    assert torch.equal(opened(answers(), tmp_path / "other").records, wanted)
    truncate(place(tmp_path / "other"))
    assert torch.equal(opened(answers(), tmp_path / "other").records, wanted)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 990, 10))
    with pytest.raises(ResourceError, match=r"The disk is full: .* 10 bytes are free"):
        opened(answers(), tmp_path / "full")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))  # unknown
    assert torch.equal(opened(answers(), tmp_path / "unknown").records, wanted)


@pytest.mark.parametrize("name", [ANSWERS, JOURNAL])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_file_that_cannot_be_read(root, monkeypatch, name, code):
    usual = Path.open

    def failing(self, mode="r", *given, **named):
        if self.name == name and "r" in mode:
            raise OSError(code, os.strerror(code), str(self))
        return usual(self, mode, *given, **named)

    monkeypatch.setattr(Path, "open", failing)
    monkeypatch.setattr(
        Path, "read_text", lambda self, encoding: self.open(encoding=encoding).read()
    )
    wanted = f"{name} cannot be read .{os.strerror(code)}.*store.folder=DIR.*store=off"
    with pytest.raises(ResourceError, match=wanted) as caught:
        opened(answers(), root)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_runs_out(root, error):
    def ask(_):
        raise error

    made = answers(views=NoViews())
    with pytest.raises(
        ResourceError, match=r"Memory ran out while the teacher's answers were .*with store=off"
    ) as caught:
        opened(type(made)(**{**vars(made), "ask": ask}), root)
    assert caught.value.exit_code == 6
    change_a_byte(place(root))  # nor is that called damage that cannot be mended
    made = answers()
    with pytest.raises(ResourceError, match="Memory ran out"):
        opened(type(made)(**{**vars(made), "ask": ask}), root)


def test_other_errors_of_a_teacher_stay_what_they_are(tmp_path):
    made = answers()
    with pytest.raises(RuntimeError, match="something else"):
        opened(
            type(made)(
                **{
                    **vars(made),
                    "ask": lambda x: (_ for _ in ()).throw(RuntimeError("something else")),
                }
            ),
            tmp_path,
        )


def test_a_disk_that_fails_half_way_keeps_what_is_finished(tmp_path, monkeypatch):
    write, written = StoreFolder.write, []

    def failing(self, shard, content):
        with monkeypatch.context() as patch:
            if len(written) == 2:
                patch.setattr(
                    os,
                    "fsync",
                    lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")),
                )
            write(self, shard, content)
        written.append(shard)

    with monkeypatch.context() as patch:
        patch.setattr(StoreFolder, "write", failing)
        with pytest.raises(ResourceError, match="Input/output error"):
            opened(answers(), tmp_path)
    assert asked(answers(), tmp_path)[1] == 2 * SHARD


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place_of in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ResourceError, match="is not a folder"):
            check_folder(place_of)
        with pytest.raises(ResourceError, match="cannot be written"):
            opened(answers(), place_of)
    assert (tmp_path / "file").read_text() == "mine"
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


# Settings -----------------------------------------------------------------------------------------


def test_settings_of_every_kind():
    assert StoreSettings.of("off") == StoreSettings.of(False) == StoreSettings(mode="off")
    assert StoreSettings.of({"mode": False}).mode == "off"
    assert StoreSettings.of({"dtype": "float32", "views": 3}) == StoreSettings(
        dtype="float32", views=3
    )
    assert StoreSettings.of("auto") == StoreSettings()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("on", "store='on' is unknown; choose one of auto, off, topk, sampled"),
        (True, "store=True is unknown"),
        ({"mode": "on"}, "store.mode='on' is unknown"),
        (
            {"dtype": "int8"},
            "store.dtype='int8' is unknown; choose one of float16, bfloat16, float32",
        ),
        ({"views": 0}, "store.views=0 should be a whole number"),
        ({"folder": 3}, "store.folder=3 should be a folder"),
        ({"folder": ""}, "store.folder='' should be a folder"),
        ({"dtyp": "float16"}, r"unknown key store\.dtyp; did you mean store\.dtype"),
    ],
)
def test_bad_settings(value, message):
    with pytest.raises(ConfigError, match=message):
        StoreSettings.of(value)


def test_the_usual_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LIMBECK_STORE", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == StoreSettings().root == tmp_path / "mine"
    monkeypatch.delenv("LIMBECK_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder() == tmp_path / "cache" / "limbeck" / "store"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == tmp_path / ".cache" / "limbeck" / "store"
    assert StoreSettings(folder="~/x").root == tmp_path / "x"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ResourceError, match="no home folder to keep stores in"):
        default_folder()
