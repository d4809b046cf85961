"""``limbeck run`` on text, and the other verbs on such a run."""

import gzip
import json
import os
import signal
import time

import pytest
from safetensors.torch import load_file
from support.commands import call, killed_at_the_end, run, start
from support.markov import markov_text

from limbeck.cli.main import main

SMALL = (
    "recipe=text",
    "data.path=chain.txt",
    "data.block=16",
    "data.cache=cache",
    "teacher.model.width=16",
    "teacher.model.layers=1",
    "teacher.model.heads=1",
    "teacher.model.dropout=0",
    "teacher.epochs=2",
    "student.width=8",
    "student.layers=1",
    "student.heads=1",
    "seeds=2",
    "epochs=2",
    "store.folder=store",
    "logger=csv",
    "trainer.precision=32-true",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "chain.txt").write_text(markov_text("abcdef", 20_000, seed=3)[0])
    return folder


@pytest.fixture(scope="module")
def finished(place):
    code, out, err = call("run", *SMALL, "out=run", cwd=place)
    assert code == 0, err
    return place / "run", out


@pytest.mark.slow
def test_the_recipe_runs_quickly(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, err = call("run", "recipe=text", "quick=true", "logger=csv", "out=run", cwd=tmp_path)
    assert code == 0, err
    assert "bits" in out
    assert "A quick run is only a smoke test" in out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["measure"] == "bits_per_byte"


def test_text_without_a_recipe_uses_the_recipe_of_text(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    assert main(["run", "data=text_folder", "data.root=.", "--cfg", "job"]) == 0
    out = capsys.readouterr().out
    assert "recipe: text\n" in out
    assert "_target_: limbeck.data.text_folder" in out


def test_a_run_ends_in_bits_per_byte(finished):
    folder, out = finished
    summary = json.loads((folder / "summary.json").read_text())
    assert {arm["name"] for arm in summary["arms"]} >= {"hard", "soft"}
    assert "bits" in out
    page = (folder / "report.html").read_text()
    assert "bits per byte" in page
    assert "McNemar" not in page


def test_the_models_of_a_run_generate_text(finished):
    def sample(*settings):
        code, out, err = call(
            "sample", finished[0], "abca", "tokens=40", "temperature=0.5", *settings
        )
        assert code == 0, err
        return out

    out = sample()
    for model in ("teacher", "control: hard", "student: soft"):
        assert model in out
    texts = [line.removeprefix("abca") for line in out.splitlines() if line.startswith("abca")]
    assert [len(text) for text in texts] == [40] * 3
    assert sum(letter in "abcdef" for letter in "".join(texts)) > 100
    assert sample() == out
    assert sample("seed=1") != out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["", "tokens=5"], "The prompt is empty"),
        (["ab", "tokens=0"], "tokens=0 should be a whole number of at least 1"),
        (["ab", "temperature=-1"], "temperature=-1.0 should be a number of at least 0"),
        (["ab", "token=3"], "Did you mean tokens=200?"),
        (["ab", "arm=sofd"], "Did you mean soft?"),
    ],
)
def test_wrong_settings_of_sample_are_refused(finished, capsys, words, message):
    assert main(["sample", str(finished[0]), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_changed_text_is_refused(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chain.txt").write_text((place / "chain.txt").read_text())
    bpe = (
        "data.tokenizer=bpe",
        "data.vocabulary=260",
        "data.name=5",
        "epochs=1",
        "teacher.epochs=1",
        "seeds=1",
    )
    assert main(["run", *SMALL, *bpe, "out=run"]) == 0
    tokenizer = json.loads(
        (tmp_path / "run" / "students" / "soft" / "seed0" / "tokenizer.json").read_text()
    )
    assert tokenizer["model"]["type"] == "BPE"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["data"]["name"] == "5"
    assert main(["sample", "run", "abc", "tokens=3"]) == 0
    (tmp_path / "chain.txt").write_text(markov_text("abcdefgh", 20_000, seed=4)[0])
    capsys.readouterr()
    assert main(["sample", "run", "abc", "tokens=3"]) == 3
    assert "the text differs from the one the run used" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["export", "cost", "demo"])
def test_verbs_for_classifiers_refuse_text(finished, capsys, verb):
    assert main([verb, str(finished[0])]) == 2
    err = capsys.readouterr().err
    assert "needs classifiers" in err or "limbeck sample" in err
    assert len(err.splitlines()) == 1


def weights(folder):
    return {
        f.relative_to(folder): load_file(f) for f in sorted(folder.glob("**/model.safetensors"))
    }


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_the_same_students(place):
    out = place / "killed"
    settings = [*SMALL, "epochs=12", "student.width=16"]
    assert call("run", *settings, "out=whole", cwd=place)[0] == 0
    process = start("run", *settings, "out=killed", cwd=place)
    with killed_at_the_end(process):
        for _ in range(1200):
            if list(out.glob("checkpoints/cohort0/*.ckpt")) or process.poll() is not None:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (out / "summary.json").exists(), "the run finished before it was killed"
    code, _, err = call("resume", "killed", cwd=place)
    assert code == 0, err
    whole, resumed = weights(place / "whole"), weights(out)
    assert whole.keys() == resumed.keys()
    for file, tensors in whole.items():
        for name, tensor in tensors.items():
            assert (tensor == resumed[file][name]).all(), (file, name)


@pytest.mark.slow
def test_two_processes_train_the_same_students_as_one(place):
    exact = (
        *SMALL,
        "trainer.precision=64-true",
        "trainer.accelerator=cpu",
        "transfer.samples=121",
        "epochs=1",
    )
    ddp = ("trainer.devices=2", "trainer.strategy=ddp")
    assert run("run", *exact, "out=one", cwd=place)[0] == 0
    code, _, err = run("run", *exact, *ddp, "out=two", cwd=place)
    assert code == 0, err
    one, two = weights(place / "one"), weights(place / "two")
    assert len(one) == 1 + 2 * 2
    assert one.keys() == two.keys()
    for file, tensors in one.items():
        for name, tensor in tensors.items():
            assert (tensor - two[file][name]).abs().max() < 1e-6, (file, name)


# Wrong input --------------------------------------------------------------------------------------


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fine.txt").write_text(markov_text("abcdef", 20_000, seed=3)[0])
    (tmp_path / "runs").mkdir()

    def command(code, *arguments):
        assert main(["run", "recipe=text", "logger=csv", "out=run", *arguments]) == code
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if not line.startswith("warning")]
        assert len(lines) == 1, captured.err
        assert not (tmp_path / "run").exists()
        return lines[0]

    return command


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02binary\xff" * 500, "binary"),
        (b"caf\xe9 " * 5000, "UTF-8"),
        (b"too short", "9 tokens are too few"),
    ],
)
def test_files_that_are_not_text_are_refused(fails, tmp_path, content, message):
    (tmp_path / "input.txt").write_bytes(content)
    assert message in fails(3, "data.path=input.txt")
    (tmp_path / "input.txt.gz").write_bytes(gzip.compress(content))
    assert message in fails(3, "data.path=input.txt.gz")


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (3, ["data.path=nowhere.txt"], "nowhere.txt"),
        (3, ["data.path=fine.txt", "data.block=50000"], "block"),
        (2, ["data.path=fine.txt", "data.tokenizer=bites"], "Did you mean bytes?"),
        (2, ["data.path=fine.txt", "views=shift"], "need images"),
        (2, ["data.path=fine.txt", "views=mixup"], "views=none"),
        (2, ["data.path=fine.txt", "teacher.views=elastic"], "need images"),
        (2, ["data.path=fine.txt", "teacher=convnet"], "images"),
        (
            2,
            ["data.path=fine.txt", "transfer.source={_target_: limbeck.data.UniformNoise}"],
            "cannot generate text",
        ),
        (2, ["data.path=fine.txt", "arms.soft.control=[{a: 1}]"], "should be the name of an arm"),
        (
            2,
            ["data.path=fine.txt", "student=huggingface", "student.config=x"],
            "should be settings",
        ),
        (4, ["data.path=fine.txt", "teacher.from=typo.safetensors"], "Choose a run folder"),
        (4, ["data.path=fine.txt", "teacher.from=runs/typo"], "Choose a run folder"),
        (4, ["data.path=fine.txt", "teacher.from=/nowhere/at/all"], "Choose a run folder"),
        (2, ["data.path=fine.txt", "student=mlp"], "student"),
        (2, ["data=digits", "student=gpt"], "blocks of tokens"),
        (
            2,
            ["data.path=fine.txt", "transfer.without=[a]"],
            "the labels of text are next tokens",
        ),
        (2, ["data.path=fine.txt", "objective=dist"], "whole distribution"),
    ],
)
def test_settings_that_text_does_not_allow_are_refused(fails, code, arguments, message):
    assert message in fails(code, *arguments)


def test_a_teacher_with_another_tokenizer_or_block_is_refused(finished, fails):
    teacher = f"teacher.from={finished[0]}"
    message = fails(
        4,
        "data.path=fine.txt",
        "data.block=16",
        "data.tokenizer=bpe",
        "data.vocabulary=300",
        teacher,
    )
    assert "token" in message
    message = fails(4, "data.path=fine.txt", "data.block=32", teacher)
    assert "cannot read inputs of shape [32]" in message


def test_stores_differ_by_block_and_tokenizer(place, finished):
    teacher = f"teacher.from={finished[0]}"
    code, _, err = call(
        "run", *SMALL, "data.block=8", "epochs=1", teacher, "out=shorter", cwd=place
    )
    assert code == 0, err
    assert "differ in the tokenizer or the block length" in " ".join(err.split())
    assert len([f for f in os.listdir(place / "store") if len(f) == 32]) >= 2
