"""``limbeck plan``."""

from dataclasses import replace

from support.summaries import make_arm, make_comparison, make_control, make_summary

from limbeck.cli.main import main
from limbeck.run.comparison import Delta, VarianceParts
from limbeck.run.folder import RunFolder
from limbeck.run.summary import write_summary

PARTS = VarianceParts(seeds=20.0, samples=60.0, residual=8.0, number_of_samples=500)


def make_pilot(folder, variances=PARTS):
    delta = Delta(mean=-10.0, ci95=(-30.0, 10.0), per_seed=(-9.0, -10.0, -11.0))
    comparison = make_comparison("soft", "hard", delta_errors=delta, main=True)
    arms = [make_arm("soft", [20] * 3), make_control("hard", [30] * 3)]
    folder.mkdir()
    summary = make_summary(arms, [replace(comparison, variances=variances)])
    write_summary(RunFolder(folder), summary)
    return str(folder)


def test_plan_prints_a_table(tmp_path, capsys):
    run = make_pilot(tmp_path / "run")
    assert main(["plan", run, "effect=2%", "arm=soft"]) == 0
    out = capsys.readouterr().out
    assert "soft makes 10.0 fewer errors than hard" in out
    assert "5,000 samples" in out
    assert "real difference is 10.0 errors" in out


def test_plan_without_variances_is_a_message(tmp_path, capsys):
    run = make_pilot(tmp_path / "run", variances=None)
    assert main(["plan", run]) == 2
    assert "Run a pilot with seeds=3 or more" in capsys.readouterr().err
