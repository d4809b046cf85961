"""``limbeck answers``, and studies with a file of answers on the command line."""

import json
import shutil

import numpy as np
import pytest
from support.commands import QUICK, call
from support.image_studies import same_students
from support.object_storage import BUCKET, machine, s3_server

from limbeck._base.errors import UntrustedFileError
from limbeck.cli.config.trust import Trust


@pytest.fixture(scope="module")
def file(quick_run):
    """The answers of the teacher of a run."""
    to = quick_run.parent / "answers.npz"
    code, out, err = call("answers", quick_run, f"to={to}")
    assert code == 0, err
    assert f"limbeck run teacher.answers={to}" in out
    return to


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A run on digits whose teacher answers in every step."""
    folder = tmp_path_factory.mktemp("live")
    code, _, err = call("run", *QUICK, "store=off", "out=run", cwd=folder)
    assert code == 0, err
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv", "a.jsonl", "a.parquet", "parts"])
def test_students_of_digits_equal_those_of_the_live_teacher(live, tmp_path, name):
    if name in ("a.parquet", "parts"):
        pytest.importorskip("pyarrow")
    code, _, err = call("answers", live, f"to={name}", cwd=tmp_path)
    assert code == 0, err
    code, _, err = call("distill", *QUICK, f"teacher.answers={name}", "out=run", cwd=tmp_path)
    assert code == 0, err
    assert "1,797 answers, logits of 10 classes" in err
    assert same_students(live, tmp_path / "run")
    if name == "a.npz":
        check_other_verbs(live, tmp_path / "run")


def check_other_verbs(live, run):
    code, out, err = call("report", run)
    assert code == 0, err
    assert "the teacher" in out
    code, _, err = call("compare", live, run)
    assert code == 0, err
    code, _, err = call("export", run, "int8=false")
    assert code == 0, err
    assert "a file of 1,797 answers" in (run / "bundle" / "model_card.md").read_text()
    code, _, err = call("answers", run, f"to={run.parent}/again.npz")
    assert (code, "has no model of a teacher" in err) == (2, True)


@pytest.mark.slow
def test_a_summary_without_test_answers_says_so(file, tmp_path):
    arrays = np.load(file)
    rows = arrays["splits"] != "test"
    np.savez(tmp_path / "a.npz", ids=arrays["ids"][rows], logits=arrays["logits"][rows])
    code, out, err = call("run", *QUICK, "teacher.answers=a.npz", "out=run", cwd=tmp_path)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["teacher"] is None
    assert summary["answers"]["samples"] == rows.sum()
    assert "does not answer all test samples" in out
    assert "does not answer all test samples" in (tmp_path / "run" / "report.html").read_text()


def test_a_run_answers_another_dataset(quick_run, tmp_path):
    to = tmp_path / "few.csv"
    teacher = ["teacher=mlp", "teacher.model.hidden=[32]"]
    code, _, err = call("answers", quick_run, f"to={to}", "data.test=100", *teacher)
    assert code == 0, err
    lines = to.read_text().splitlines()
    assert lines[0] == "id,split," + ",".join(f"logit_{digit}" for digit in range(10))
    assert len(lines) == 1798
    assert sum(",test," in line for line in lines) == 100


@pytest.mark.slow
def test_a_cluster_writes_the_same_folder(quick_run, tmp_path):
    for module in ("ray", "pyarrow"):
        pytest.importorskip(module)
    folders = {}
    for name, words in (("local", []), ("ray", ["launcher=ray"])):
        code, out, err = call("answers", quick_run, f"to={name}", *words, cwd=tmp_path)
        assert code == 0, err
        assert "1,797 answers" in out
        assert "Warning" not in err
        folders[name] = {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
    assert folders["local"] == folders["ray"]


@pytest.mark.slow
def test_answers_in_a_bucket_teach_the_same_students(live, tmp_path, monkeypatch):
    for module in ("s3fs", "moto.server", "pyarrow"):
        pytest.importorskip(module)
    with s3_server() as server:
        for variable, value in machine(server, tmp_path).items():
            monkeypatch.setenv(variable, value)
        for name in ("answers", "answers.csv"):
            to = f"s3://{BUCKET}/folder/{name}"
            code, out, err = call("answers", live, f"to={to}", cwd=tmp_path)
            assert code == 0, err
            assert f"limbeck run teacher.answers={to}" in out
            code, _, err = call(
                "distill", *QUICK, f"teacher.answers={to}", f"out={name}", cwd=tmp_path
            )
            assert code == 0, err
            assert same_students(live, tmp_path / name)
            code, _, err = call("answers", live, f"to={to}", cwd=tmp_path)
            assert (code, "exists already" in err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} <= {
        "answers",
        "answers.csv",
        "cache",
        "store",
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "needs one file to write"),
        (["to=a.xlsx"], 2, "unknown kind of file"),
        (["to=s3://bucket/a.xlsx"], 2, "unknown kind of file"),
        (["to=s3://"], 2, "names no place"),
        (["to=nosuch://bucket/answers"], 2, "nosuch"),
        (["to=a.csv", "data=nosuch"], 2, "nosuch"),
        (["to=a.csv", "teacher.from=x"], 2, "leave out teacher.from"),
        (["to=a.csv", "top=x"], 2, "top=x should be a number of classes"),
        (["to=a.csv", "top=1", "top=2"], 2, "top= is given 2 times"),
        (["to=a.csv", "top=11"], 2, "top=11 should be from 1 to 10"),
        (["to=a.npz", "top=2"], 2, "cannot be written to .npz"),
        (["to=a.csv", "launcher=slurm"], 2, "slurm"),
        (["to=a.csv", "launcher=ray", "launcher.cpus=-1"], 2, "launcher.cpus=-1"),
        (["to=a.csv", "launcher=ray", "launcher.address=here"], 2, "HOST:PORT"),
    ],
)
def test_mistakes_are_one_message(quick_run, tmp_path, words, code, message):
    result = call("answers", quick_run, *words, cwd=tmp_path)
    assert result[0] == code
    assert message in result[2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["teacher.kind=logits"], "teacher.kind is for a file of answers"),
        (["teacher.answers=a.npz", "teacher.from=x"], "cannot be combined"),
        (["teacher.answers=gone.npz"], "gone.npz is missing"),
        (["teacher.answers=a.npz", "views=shift"], "teacher.every_view=true"),
        (["teacher.answers=a.npz", "teacher.kind=probabilities"], "are no probabilities"),
    ],
)
def test_settings_that_do_not_fit_are_one_message(file, tmp_path, settings, message):
    shutil.copy(file, tmp_path / "a.npz")
    code, _, err = call("run", *settings, "out=run", cwd=tmp_path)
    assert code in (2, 4)
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_stranger_reads_no_answers_over_the_network(tmp_path):
    settings = {"teacher": {"answers": "https://example.org/answers.csv"}}
    with pytest.raises(UntrustedFileError, match=r"teacher\.answers=https://example\.org"):
        Trust().check(tmp_path, settings, ())


def test_the_command_to_learn_from_answers_names_the_data(quick_run, tmp_path):
    words = ("data.test=100", "teacher=mlp", "teacher.model.hidden=[32]")
    code, out, err = call("answers", quick_run, "to=few.csv", *words, cwd=tmp_path)
    assert code == 0, err
    assert "limbeck run teacher.answers=few.csv data.test=100" in out
    assert "teacher=mlp" not in out


@pytest.mark.slow
def test_a_run_with_a_teacher_for_each_split_says_whose_answers_it_writes(tmp_path):
    code, _, err = call("run", *QUICK, "seeds=2", "splits=2", "out=run", cwd=tmp_path)
    assert code == 0, err
    code, out, err = call("answers", "run", "to=a.csv", cwd=tmp_path)
    assert code == 0, err
    assert "run has 2 teachers, one for each training split." in err
    assert "teacher.answers=" in out
    assert "splits=1" in out
