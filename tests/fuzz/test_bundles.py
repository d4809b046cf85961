"""Bundles with changed files, and odd images for them."""

import shutil
import zipfile

import pytest
from hypothesis import strategies as st
from support.bundles import write_bundle, write_sums, write_table_bundle
from support.fuzz import attempt, examples, fuzz, snapshot
from support.fuzz_images import image_bytes
from support.fuzz_values import changed_bytes, changed_file, texts
from support.image_files import picture

from limbeck._base.runtime.file_names import GOLDEN, KINDS, LABELS, METADATA, PREPROCESS, SUMS

FILES = (
    SUMS,
    METADATA,
    LABELS,
    PREPROCESS,
    PREPROCESS,
    GOLDEN,
    *KINDS.values(),
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@st.composite
def damages(draw, bundle):
    """Contents of one or two files, and whether the checksums fit them."""
    names = draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=2, unique=True))
    return {name: draw(changed_file(bundle / name)) for name in names}, draw(st.booleans())


@examples(0.08)
def test_changed_bundles_end_with_an_exit_code(count, bundle):
    def check(folder, verb, damage):
        contents, has_sums = damage
        copy = folder / "bundle"
        shutil.copytree(bundle, copy)
        for name, content in contents.items():
            (copy / name).write_bytes(content)
        if has_sums and SUMS not in contents:
            write_sums(copy)
        picture(0).save(folder / "x.png")
        before = snapshot(folder)
        attempt(folder, verb, "bundle", *(["x.png"] if verb == "predict" else []))
        assert snapshot(folder) == before

    fuzz(count, check, st.sampled_from(["verify", "predict"]), damages(bundle))


@examples(0.02)
def test_changed_archives_end_with_an_exit_code(count, bundle, tmp_path):
    file = tmp_path / "bundle.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(bundle.rglob("*")):
            archive.write(path, path.relative_to(bundle.parent))

    def check(folder, content):
        (folder / "bundle.zip").write_bytes(content)
        attempt(folder, "verify", "bundle.zip")

    fuzz(count, check, changed_bytes(file.read_bytes()))


CELLS = ("1", "-2.5", "3,5", "1e99", "nan", "NA", "", "red", "blue", "pink", "x y", "0\0", '"', "ü")


@st.composite
def tables(draw):
    """A CSV file with odd cells, names of columns, separators and encodings."""
    names = draw(st.permutations(["age", "colour", "note"]))
    cells = st.sampled_from(CELLS) | st.text(max_size=4)
    rows = [names, *draw(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=5))]
    if not draw(st.integers(0, 3)):
        rows[draw(st.integers(0, len(rows) - 1))] = draw(st.lists(cells, max_size=5))
    delimiter, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    text = end.join(delimiter.join(row) for row in rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]))
    return text.encode(encoding, "replace")


@examples(0.02, is_quick=False)
def test_odd_tables_end_with_an_exit_code(count, tmp_path_factory):
    bundle = write_table_bundle(tmp_path_factory.mktemp("rows") / "bundle")

    def check(folder, content, damage):
        (folder / "rows.csv").write_bytes(content)
        shutil.copytree(bundle, folder / "bundle")
        if damage is not None:
            (folder / "bundle" / PREPROCESS).write_bytes(damage)
            write_sums(folder / "bundle")
        before = snapshot(folder)
        attempt(folder, "predict", "bundle", "rows.csv")
        assert snapshot(folder) == before

    damages = st.none() | changed_file(bundle / PREPROCESS)
    fuzz(count, check, tables() | changed_bytes(b"age,colour\n1,red\n,\n2,blue\n"), damages)


NAMES = ("x.png", "=1+1.png", "-x.png", "x\ny.png", "x,y.jpg", "\x1b[2J.png", '".png', "ü", ".png")
WORDS = st.lists(
    st.sampled_from(
        [
            "--top",
            "--model",
            "--format",
            "--abstain",
            "--invert",
            "--out",
            "jsonl",
            "int8",
            "2",
            "t.csv",
            "images",
            "nix",
            "bundle",
            "images/x.png",
            "",
            "--",
            "nan",
            "-1",
            "1e9",
            "/",
        ]
    )
    | texts,
    max_size=3,
)


@examples(0.06)
def test_odd_images_end_with_an_exit_code(count, bundle):
    def check(folder, content, name, words):
        (folder / "images").mkdir()
        (folder / "images" / name).write_bytes(content)
        picture(1).save(folder / "images" / "fine.png")
        (folder / "bundle").symlink_to(bundle)
        before = snapshot(folder)
        attempt(folder, "predict", "bundle", "images", *[word for word in words if word != "/"])
        assert before.items() <= snapshot(folder).items()

    fuzz(count, check, image_bytes, st.sampled_from(NAMES), WORDS)
