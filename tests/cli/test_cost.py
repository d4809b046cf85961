"""``limbeck cost``."""

import pytest
from support.commands import run
from support.costs import COST

from limbeck.cli.cost import cost_table


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
