"""``limbeck compare``."""

from support.commands import call
from support.compared_runs import make_run

from limbeck.run.lock import hold_lock


def test_a_comparison_is_printed_and_written(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b=1", soft=0.2, shift=3)
    code, out, err = call("compare", "a", "b=1", "to=runs.html", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "Worse: b=1/soft makes" in " ".join(out.replace("│", "").split())
    assert out.endswith("page: runs.html\n")
    assert "limbeck comparison" in (tmp_path / "runs.html").read_text(encoding="utf-8")
    code, out, _ = call("compare", "a", "b=1", "arm=hard", cwd=tmp_path)
    assert code == 0
    assert "takes part with its arm hard" in out


def test_runs_of_many_data_sets_are_ranked(tmp_path):
    for number in range(3):
        make_run(tmp_path / str(number), digest=str(number) * 64)
    code, out, err = call("compare", "0", "1", "2", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "mean rank" in out
    code, _, err = call("compare", "0", "1", "2", "arm=soft", cwd=tmp_path)
    assert code == 2
    assert "arm= is for runs of one data set" in err


def test_bad_input_is_one_message(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    make_run(tmp_path / "other", digest="c" * 64)
    (tmp_path / "mine.html").write_text("mine")
    for words, part in (
        (["a"], "two or more runs"),
        (["a", "a"], "named twice"),
        (["a", "none"], "no such folder"),
        (["a", "other"], "cannot be compared"),
        (["a", "b", "am=soft"], "Did you mean arm=soft?"),
        (["a", "b", "arm=x"], "no arm 'x'"),
        (["a", "b", "to=mine.html"], "is not replaced"),
    ):
        code, out, err = call("compare", *words, cwd=tmp_path)
        assert (code, out) == (2, ""), words
        assert part in err
        assert err.count("error:") == 1


def test_a_run_at_work_is_not_compared(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    with hold_lock(tmp_path / "b"):
        code, _, err = call("compare", "a", "b", cwd=tmp_path)
    assert code == 2
    assert "b" in err
