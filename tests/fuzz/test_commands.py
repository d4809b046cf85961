"""Odd command lines of all verbs."""

import functools
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st
from support.fuzz import attempt, examples, fuzz, snapshot, stop
from support.fuzz_values import TEXTS, texts

import limbeck
from limbeck.cli import compare, demo, export, plan, sample
from limbeck.cli.config.compose import compose
from limbeck.study.study import Study

CONF = Path(limbeck.__file__).parent / "conf"
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
FILES = ("file.csv", "file.pt", "file.txt", "folder", "nix", "", ".", "/dev/null", "/", "file/x")
TINY = ("epochs=1", "teacher.epochs=1", "seeds=1", "student.hidden=[2]", "data.test=20")


@pytest.fixture(autouse=True)
def without_training(monkeypatch):
    """Command lines that pass all checks end before the training."""
    monkeypatch.setattr(Study, "run", stop)
    monkeypatch.setattr(Study, "fit_teacher", stop)


@functools.cache
def keys():
    """Keys of settings: those of the default study, and those of all groups."""
    names = []

    def add(content, path):
        if path:
            names.append(path)
        if isinstance(content, dict):
            for key, value in content.items():
                add(value, f"{path}.{key}" if path else str(key))

    from omegaconf import OmegaConf

    add(OmegaConf.to_container(compose([])), "")
    for group in GROUPS:
        for file in sorted((CONF / group).glob("*.yaml")):
            for key in yaml.safe_load(file.read_text(encoding="utf-8")) or {}:
                names.append(f"{group}.{key}" if group != "recipe" else key)
    return sorted(set(names))


@st.composite
def setting(draw):
    """An override, mostly with a key that exists."""
    kind = draw(st.integers(0, 9))
    key = draw(st.sampled_from(keys()))
    value = draw(texts)
    if kind < 5:
        return f"{key}={value}"
    if kind == 5:
        group = draw(st.sampled_from(GROUPS))
        names = [file.stem for file in (CONF / group).glob("*.yaml")]
        choice = draw(st.sampled_from(sorted(names)) | st.sampled_from(TEXTS))
        return f"{group}={choice}"
    if kind == 6:
        model = draw(st.sampled_from(["torchvision", "timm", "huggingface", "mlp", ""]))
        group = draw(st.sampled_from(["student", "teacher", "arms.soft.student"]))
        return f"{group}={model}/{value}"
    if kind == 7:
        return draw(st.sampled_from(["+", "++", "~", "~~", "-", "@", "=", "#"])) + f"{key}={value}"
    end = draw(st.sampled_from(["", ".x", "[0]", "@x", "@x:y", ".", "=", ".0", " "]))
    return f"{key}{end}={value}" if kind == 8 else f"{key}{end}"


OPTIONS = (
    ["--cfg", "job"],
    ["--cfg", "all"],
    ["--cfg"],
    ["-m"],
    ["--config-dir", "folder"],
    ["--config-dir", "nix"],
    ["--config-dir="],
    ["--nix"],
    ["--"],
    ["-h"],
)
OUT = ("o", "o/p/q", "folder", "file.csv", "file.csv/o", "null", "[1]", "x" * 300, "ü b", "'a,b'")


@st.composite
def study_words(draw):
    """Words of run, train or distill."""
    words = draw(st.lists(setting(), min_size=1, max_size=3))
    words = [word for word in words if not word.lstrip("+~").startswith("out")]
    if draw(st.booleans()):
        words.append(f"out={draw(st.sampled_from(OUT))}")
    for option in draw(st.lists(st.sampled_from(OPTIONS), max_size=2)):
        place = draw(st.integers(0, len(words)))
        words[place:place] = option
    return [draw(st.sampled_from(["run", "run", "run", "train", "distill"])), *words]


SETTINGS = {"export": export.SETTINGS, "sample": sample.SETTINGS, "demo": demo.SETTINGS}
SETTINGS |= {"plan": plan.SETTINGS, "compare": compare.SETTINGS}
VERBS = ("resume", "report", "plan", "export", "cost", "demo", "sample", "verify", "predict")
READERS = ("compare", "runs", "open", "answers")


@st.composite
def other_words(draw):
    """Words of the verbs that take a run, a bundle or a store."""
    verb = draw(
        st.sampled_from((*VERBS, *READERS, "recipes", "store", "nix", "", "-h", "--version"))
    )
    words = draw(st.lists(st.sampled_from(FILES) | texts, max_size=2))
    if verb == "store":
        words.insert(0, draw(st.sampled_from(["list", "verify", "clear", "nix", ""])))
        words += draw(st.lists(st.sampled_from(["--all", "--folder", "folder", "ab12"])))
    for _ in range(draw(st.integers(0, 2)) if verb in SETTINGS else 0):
        words.append(f"{draw(st.sampled_from(sorted(SETTINGS[verb])))}={draw(texts)}")
    return [verb, *words]


def write_files(folder):
    (folder / "folder").mkdir()
    (folder / "file.csv").write_text("file,label\na.png,1\n")
    (folder / "file.txt").write_text("text\n")
    (folder / "file.pt").write_bytes(b"PK\x03\x04 no checkpoint")
    return snapshot(folder)


def check_words(folder, words):
    files = write_files(folder)
    attempt(folder, *words)
    assert files.items() <= snapshot(folder).items()


@examples(0.07)
def test_studies_end_with_an_exit_code(count):
    fuzz(count, check_words, study_words())


@examples(0.15)
def test_other_verbs_end_with_an_exit_code(count):
    fuzz(count, check_words, other_words())


@examples(0.03)
def test_settings_are_printed(count):
    def check(folder, words):
        attempt(folder, "run", *words, "--cfg", "job")

    fuzz(count, check, st.lists(setting(), max_size=3))
