"""The key of a store, and headers that do not fit."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.store_cases import (
    POSITIONS,
    TOKENS,
    Renamed,
    blocks,
    folder_of,
    image_pass,
    images,
    model,
    open_quietly,
    text_pass,
)

from limbeck._base.errors import UntrustedFileError
from limbeck.data import Flip, Mixup, NoViews, Shift
from limbeck.store import key
from limbeck.store.key import HEADER, PARTS
from limbeck.teacher.signal import LiveTeacher

SAMPLED = {"kind": "sampled", "k": 5}


def nudged_model():
    net = model()
    with torch.no_grad():
        weight = net.net.layers[1].weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    return net


def edited_images():
    inputs = images()
    inputs[17, 0, 2, 2] += 1
    return inputs


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("teacher", {"teacher": LiveTeacher(model(seed=1))}),
        ("teacher", {"teacher": LiveTeacher(nudged_model())}),
        ("teacher", {"teacher": LiveTeacher(model(dropout=0.5))}),
        ("teacher", {"teacher": LiveTeacher(model(), combine="logits")}),
        ("samples", {"inputs": edited_images()}),
        ("samples", {"inputs": images()[:30]}),
        ("samples", {"rows": torch.arange(39)}),
        ("views", {"views": Shift(2)}),
        ("views", {"views": NoViews()}),
        ("normalisation", {"teacher": LiveTeacher(model(mean=0.4))}),
        ("normalisation", {"teacher": LiveTeacher(model(size=4))}),
        ("precision", {"precision": Renamed("bf16-mixed")}),
        ("format", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_part_changes_the_key_and_is_named(root, part, changes):
    dtype = "float16" if part == "format" else "float32"
    before, changed = image_pass().header("float32"), image_pass(**changes)
    after = changed.header(dtype)
    assert after.key != before.key
    assert [name for name in PARTS if before.parts[name] != after.parts[name]] == [part]
    console = io.StringIO()
    open_quietly(changed, root, dtype, console)
    message = f"the stored ones ({before.key[:12]}) differ in {PARTS[part]}"
    same_names = after.label["teacher"] == before.label["teacher"]
    assert (message in console.getvalue()) == same_names


@pytest.mark.parametrize(
    ("part", "changes", "stored"),
    [
        ("tokens", {"vocabulary": "b" * 64}, {}),
        ("tokens", {"inputs": blocks(), "positions": 1, "classes": TOKENS}, {}),
        ("format", {}, {"k": 4}),
        ("format", {}, {"kind": "topk"}),
        ("format", {"temperature": 2.0}, {}),
    ],
)
def test_each_part_of_a_store_of_tokens_changes_the_key(part, changes, stored):
    before = text_pass().header("float16", **SAMPLED)
    after = text_pass(**changes).header("float16", **{**SAMPLED, **stored})
    assert before.key != after.key
    assert [name for name in PARTS if before.parts[name] != after.parts[name]] == [part]


def test_what_does_not_matter_does_not_change_the_key():
    for kind in ("dense", "topk"):  # their temperature is that of the loss
        passes = [text_pass(temperature=temperature) for temperature in (1.0, 2.0)]
        assert len({one.header("float16", kind=kind, k=5).key for one in passes}) == 1
    assert len({image_pass().header("float16", k=k).key for k in (0, 12)}) == 1
    assert len({image_pass().header("float16", kind="topk", k=k).key for k in (3, 12)}) == 1


def test_another_tokenizer_is_named(tmp_path):
    open_quietly(text_pass(), tmp_path, "float16", kind="topk", k=5)
    console = io.StringIO()
    other = text_pass(vocabulary="b" * 64)
    open_quietly(other, tmp_path, "float16", console, kind="topk", k=5)
    assert "differ in the tokenizer or the block length" in console.getvalue()


def test_another_pool_is_another_store_where_views_mix():
    rows = torch.arange(20)
    keys = {}
    for views in (Mixup().limited(4), Flip()):
        for pool in (None, rows, rows[::2]):
            header = image_pass(views=views, rows=rows, pool=pool).header("float32")
            keys.setdefault(views.name, []).append(header.key)
    mixed, plain = keys.values()
    assert mixed[0] == mixed[1] != mixed[2]
    assert len(set(plain)) == 1


@pytest.mark.slow
def test_equal_passes_have_one_key_in_every_process():
    script = "from support.store_cases import *\nprint(image_pass().header('float16').key)"
    paths = [str(Path(key.__file__).parents[2]), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    keys = {image_pass().header("float16").key for _ in range(2)}
    assert keys == {process.stdout.strip()}


def test_keys_are_those_of_version_0_1():
    """Whoever changes a key makes every user compute all answers again."""
    assert image_pass(views=NoViews()).header("float16").key == "03e0cdb8cadf7e370630995e32dc5d79"
    assert (
        image_pass(views=Mixup(1.0, Flip()).limited(4)).header("float16").key
        == "f862a80c1b7b8fe20491550b2d1a96a8"
    )
    assert text_pass().header("float16", **SAMPLED).key == "8b11b08ebbe920202ab9e9c170c09f0d"


# Headers ------------------------------------------------------------------------------------------


def rewrite(folder, **changes):
    header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    (folder / HEADER).write_text(json.dumps({**header, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / HEADER).write_text("{"), "store.json is damaged"),
        (lambda f: (f / HEADER).write_text("[" * 100_000), "store.json is damaged"),
        (lambda f: (f / HEADER).write_bytes(b"\xff\xfe"), "store.json is damaged"),
        (lambda f: (f / HEADER).write_text("[]"), "expected an object, found list"),
        (lambda f: rewrite(f, format=1), "has format 1, but this version reads format 2"),
        (lambda f: rewrite(f, rows=41), "rows is 41, should be 40"),
        (lambda f: rewrite(f, shard_rows=0), "a value is missing or of the wrong type"),
        (lambda f: rewrite(f, shard_rows="a"), "a value is missing or of the wrong type"),
        (lambda f: rewrite(f, dtype="float8"), "dtype is 'float8', should be 'float32'"),
        (lambda f: rewrite(f, parts={}), "a value is missing or of the wrong type .'samples'"),
        (lambda f: rewrite(f, parts=[]), "a value is missing or of the wrong type"),
        (lambda f: rewrite(f, classes=True), "its sizes are impossible"),
        (lambda f: rewrite(f, classes=-4), "its sizes are impossible"),
        (lambda f: rewrite(f, classes=1 << 62), "its sizes are impossible"),
        (lambda f: rewrite(f, label={"data": {}}), "its label should consist of strings"),
        (lambda f: rewrite(f, classes=4), "classes is 4, should be 3"),
        (
            lambda f: rewrite(
                f, parts=image_pass(precision=Renamed("64-true")).header("float32").parts
            ),
            "was edited, or belongs to another store",
        ),
    ],
)
def test_a_damaged_header_is_refused(root, damage, message):
    damage(folder_of(root))
    advice = f"limbeck store clear {folder_of(root).name[:12]}"
    with pytest.raises(UntrustedFileError, match=f"{message}.*{advice}") as caught:
        open_quietly(image_pass(), root)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("name", ["kind", "k", "positions", "rows", "views", "dtype"])
def test_an_edited_size_is_refused(tmp_path, name):
    open_quietly(text_pass(), tmp_path, **SAMPLED)
    rewrite(folder_of(tmp_path, text_pass(), **SAMPLED), **{name: 7})
    with pytest.raises(UntrustedFileError, match=f"{name} is 7, should be .*limbeck store clear"):
        open_quietly(text_pass(), tmp_path, **SAMPLED)


def test_infinity_in_a_part_is_refused(root):
    folder = folder_of(root)
    parts = json.loads((folder / HEADER).read_text(encoding="utf-8"))["parts"]
    rewrite(folder, parts={**parts, "teacher": {"members": [float("inf")]}})
    with pytest.raises(UntrustedFileError, match=r"store\.json is damaged"):
        open_quietly(image_pass(), root)


def test_an_edited_part_is_refused(tmp_path):
    open_quietly(text_pass(), tmp_path, **SAMPLED)
    folder = folder_of(tmp_path, text_pass(), **SAMPLED)
    parts = json.loads((folder / HEADER).read_text(encoding="utf-8"))["parts"]
    for temperature in (None, "2", 0.0):
        edited = {**parts, "format": {**parts["format"], "temperature": temperature}}
        rewrite(folder, parts=edited)
        with pytest.raises(UntrustedFileError, match="edited, or belongs to another store"):
            open_quietly(text_pass(), tmp_path, **SAMPLED)


def test_sizes_of_a_store_of_tokens():
    for kind, record in (("dense", 2 * TOKENS), ("topk", 5 * 3 + 4), ("sampled", 5 * 3)):
        header = text_pass().header("float16", kind=kind, k=5)
        assert header.record_bytes == record
        assert header.size == len(blocks()) * POSITIONS * record
        assert header.positions == POSITIONS
        assert header.shard_rows == key.SHARD_ANSWERS // POSITIONS
    assert image_pass().header("float16").positions == 1
