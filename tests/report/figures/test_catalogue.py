from dataclasses import replace
from pathlib import Path

from support.summaries import (
    make_arm,
    make_control,
    make_metrics,
    make_summary,
    make_sweep,
    make_text_summary,
)
from support.svgs import texts

from limbeck.report.figures import catalogue
from limbeck.report.figures.catalogue import FIGURES, draw_figures
from limbeck.run.folder import RunFolder


def sweep_figures(summary):
    return draw_figures(RunFolder("missing"), summary).sweep


def test_a_large_sweep_has_all_figures_and_none_is_large():
    figures = sweep_figures(make_sweep((1, 4, 20), (0.1, 0.5, 0.9), (100, 200)))
    assert [figure.title for figure in figures] == [
        "Errors against temperature",
        "Errors by temperature T and soft weight",
        "Errors against size",
    ]
    assert all(len(figure.svg) < 100_000 for figure in figures)


def test_two_arms_are_no_sweep():
    assert sweep_figures(make_summary([make_control("hard", [3]), make_arm("soft", [1])])) == []


def test_figures_of_text_show_bits_per_byte_and_choose_by_them():
    """Bits per byte are the errors over 1,000; the errors themselves prefer the opposite."""
    sweep = make_sweep(sizes=(100, 200))
    arms = []
    for arm in sweep.arms:
        errors = [seed.test.errors for seed in arm.seeds]
        arms.append(
            make_arm(
                arm.name,
                [10_000 - wrong for wrong in errors],
                bits=[wrong / 1000 for wrong in errors],
                objective=dict(arm.objective),
                params=arm.params,
            )
        )
    comparisons = [
        replace(comparison, delta_bits_per_byte=comparison.delta_errors)
        for comparison in sweep.comparisons
    ]
    figures = sweep_figures(make_text_summary(arms, comparisons))
    assert [figure.title for figure in figures] == [
        "Bits per byte against temperature",
        "Bits per byte by temperature T and soft weight",
        "Bits per byte against size",
    ]
    for figure in figures:
        assert "errors" not in figure.caption + "".join(texts(figure.svg))
    assert "bits per byte on 1,234,567 bytes" in texts(figures[0].svg)
    cells = texts(figures[1].svg)
    for arm in arms:
        assert arm.control or f"{arm.mean.bits_per_byte:.3f}" in cells


def test_every_module_that_draws_has_an_entry():
    modules = {figure.draw.__module__.rpartition(".")[2] for figure in FIGURES}
    shared = {
        "__init__",
        "axes",
        "catalogue",
        "critical_difference",  # of `limbeck compare`
        "panels",
        "predictions",
        "statistics",
        "style",
        "svg",
    }
    files = {file.stem for file in Path(catalogue.__file__).parent.glob("*.py")}
    assert modules == files - shared


def test_an_arm_without_a_result_leaves_no_figures():
    sweep = make_sweep()
    unmeasured = replace(sweep.arms[3], mean=make_metrics(None))
    assert sweep_figures(replace(sweep, arms=(*sweep.arms[:3], unmeasured, *sweep.arms[4:]))) == []
