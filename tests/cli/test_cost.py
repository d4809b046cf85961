"""``limbeck cost``."""

import fsspec
import pytest
from support.commands import run
from support.costs import COST
from support.object_storage import faulty_storage

from limbeck.cli import cost as cost_module
from limbeck.cli.cost import cost_table
from limbeck.cli.main import main

faulty = pytest.fixture(faulty_storage)


def test_costs_are_printed_as_a_table():
    heading, cells, *_ = cost_table(COST).splitlines()
    assert heading.startswith("Model")
    assert cells.split()[:3] == ["teacher", "PyTorch", "7"]


@pytest.mark.slow
def test_costs_are_added_to_the_report(quick_run):
    code, out, err = run("cost", "run", cwd=quick_run.parent)
    assert code == 0, err
    assert out.splitlines()[0].startswith("Model")
    assert sum(line.startswith("teacher") for line in out.splitlines()) == 3
    assert 'id="cost"' in (quick_run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_estimator_is_not_measured_and_a_note_says_so(tmp_path):
    words = ["recipe=table", "teacher.folds=null", "teacher.estimator.max_iter=5", "epochs=1"]
    code, _, err = run("run", *words, "seeds=2", "splits=1", "out=run", cwd=tmp_path)
    assert code == 0, err
    code, out, err = run("cost", "run", cwd=tmp_path)
    assert code == 0, err
    assert "The teacher is not measured: it is an estimator" in err
    assert not any(line.startswith("teacher") for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs/first", "data=digits"], "takes one run folder, or settings of the form KEY=VALUE"),
        (["data=digits", "student.hiden=[3]"], "student.hidden"),
        (["data=text"], "needs classifiers"),
    ],
)
def test_mistakes_in_settings_are_one_message(words, message, capsys):
    assert main(["cost", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") <= 2


def test_a_student_that_starts_from_its_teacher_is_measured_after_a_run(capsys):
    words = ["recipe=text_class", "data.tokenizer=bytes", "student.init=teacher"]
    assert main(["cost", *words]) == 2
    assert "the student starts from its teacher" in capsys.readouterr().err


def test_a_run_at_an_address_is_measured_in_its_copy(faulty, tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("faulty").pipe_file("/bucket/run/manifest.json", b"{}")
    copies = []

    def measure(arguments):
        copies.append(arguments.run)
        (arguments.run / "cost.json").write_text("{}")
        return 0

    monkeypatch.setattr(cost_module, "_measure_run", measure)
    assert main(["cost", "faulty://bucket/run"]) == 0
    assert (copies[0] / "manifest.json").read_bytes() == b"{}"
    assert fsspec.filesystem("faulty").cat_file("/bucket/run/cost.json") == b"{}"
