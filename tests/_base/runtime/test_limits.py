"""The runtime of bundles: limits of memory and time for files of others."""

import functools
import io
import json
import os
import struct
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image
from support.bundles import write_sums
from support.image_files import png_file

from limbeck._base.runtime import folders, image_files
from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError, InputError
from limbeck._base.runtime.folders import files_below
from limbeck._base.runtime.images import _open_image, decode
from limbeck._base.runtime.verify import verify


def set_preprocess(folder, **settings):
    content = json.loads((folder / "preprocess.json").read_text())
    (folder / "preprocess.json").write_text(json.dumps(content | settings))
    return write_sums(folder)


def test_bundles_of_huge_inputs_and_of_many_files_are_refused(bundle, tmp_path):
    settings = {"shape": [3, 65536, 65536], "kind": "image", "crop_border": False}
    with pytest.raises(BundleError, match=r"inputs of shape \(3, 65536, 65536\); at most"):
        Bundle(set_preprocess(bundle, **settings))
    for value_range in ([0, 10**4000], [0, float("inf")], [float("nan"), 1]):
        changes = {**settings, "shape": [3, 8, 8], "value_range": value_range}
        with pytest.raises(BundleError, match="no valid settings"):
            Bundle(set_preprocess(bundle, **changes))
    sums = "".join(f"{'0' * 64}  {number}.npz\n" for number in range(1000))
    (bundle / "SHA256SUMS").write_text(sums)
    with pytest.raises(BundleError, match="lists more than 64 files"):
        Bundle(bundle)


def test_a_zip_file_that_unpacks_to_much_more_is_refused(bundle, tmp_path):
    (bundle / "model.onnx").write_bytes(bytes(5 << 20))
    write_sums(bundle)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in bundle.iterdir():
            archive.write(file, file.name)
    with pytest.raises(BundleError, match=r"model\.onnx unpacks from 5,\d+ to 5,242,880 bytes"):
        verify(tmp_path / "bomb.zip")
    with zipfile.ZipFile(bundle / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", bytes(5 << 20))
    with pytest.raises(BundleError, match=r"golden\.npz is damaged \(inputs\.npy in it unpacks"):
        Bundle(write_sums(bundle)).golden()


def test_a_pipe_in_place_of_a_bundle_or_a_file_is_refused_at_once(bundle, tmp_path, run):
    os.mkfifo(tmp_path / "pipe.zip")
    assert run("verify", tmp_path / "pipe.zip")[0] == 7
    (bundle / "labels.json").unlink()
    os.mkfifo(bundle / "labels.json")
    code, _, error = run("verify", bundle)
    assert (code, "labels.json cannot be read (neither a file" in error) == (7, True)


def tiff_of_huge_tiles(side):
    """A TIFF file of 16 x 16 pixels in one tile of ``side`` x ``side``."""
    tile = zlib.compress(bytes(100))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
    tags |= {324: 10 + 12 * 10 + 4, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tile


def progressive_jpeg(scans):
    buffer = io.BytesIO()
    Image.new("L", (16, 16), 99).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * scans + content[-2:]


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png_file(1, 1 << 27), "1 x 134217728 pixels in a file of"),
        (png_file(6000, 6000), "6000 x 6000 pixels in a file of"),
        (png_file(100_000, 2), "a side of more than 65,535 pixels"),
        (tiff_of_huge_tiles(46_336), "more than 134,217,728 pixels"),
        (tiff_of_huge_tiles(8192), "8192 x 8192 pixels in a file of 1"),
        (progressive_jpeg(300), r"a progressive JPEG file of 30\d scans"),
    ],
    ids=["tall", "square", "wide", "tiles", "tile", "scans"],
)
def test_small_files_that_take_much_memory_or_time_are_refused(tmp_path, content, reason):
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        decode(tmp_path / "image", size=(8, 8), channels=1)


def test_large_images_are_read_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "SMALL_PIXELS", 100)
    monkeypatch.setattr(image_files, "PIXELS_PER_BYTE", 1000)
    Image.new("L", (20, 20), 99).save(tmp_path / "a.png")
    results = []
    decode_small = functools.partial(decode, tmp_path / "a.png", size=(2, 2), channels=1)
    thread = threading.Thread(target=lambda: results.append(decode_small()))
    with _open_image(tmp_path / "a.png", "a.png"):
        thread.start()
        thread.join(0.05)
        assert not results
    thread.join()
    assert results[0].max() == 99


def test_pipes_among_the_images_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        decode(tmp_path / "a.png", size=(2, 2), channels=1)


def test_content_behind_a_link_is_not_shown(bundle, tmp_path):
    (tmp_path / "secret").write_text("password=1234")
    (bundle / "SHA256SUMS").unlink()
    (bundle / "SHA256SUMS").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="found something else behind a link") as caught:
        verify(bundle)
    assert "1234" not in str(caught.value)


def test_folders_behind_many_links_or_very_deep_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MAX_PATHS", 50)
    folder = tmp_path
    for level in range(7):
        (folder / "next").mkdir()
        for number in (0, 1):
            (folder / str(number)).symlink_to("next")
        folder = folder / "next"
        (folder / f"{level}.png").touch()
    with pytest.raises(InputError, match="more than 50 paths of links"):
        files_below(tmp_path)
    deep = tmp_path / "next" / "next" / Path(*"a" * 70)
    deep.mkdir(parents=True)
    with pytest.raises(InputError, match="more than 64 folders deep"):
        files_below(tmp_path / "next" / "next" / "a")
