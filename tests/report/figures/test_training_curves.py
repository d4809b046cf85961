import re

import pytest
from support.report_runs import scalars
from support.summaries import make_arm, make_control, make_summary, make_sweep, make_text_summary
from support.svgs import texts

from limbeck.report.arm_styles import COLOURS
from limbeck.report.families import highlighted_arms
from limbeck.report.figures.style import shorten_apart
from limbeck.report.figures.training_curves import training_curves

NAMES = ("hard", "soft")
STUDY = make_summary([make_control("hard", [9, 9]), make_arm("soft", [8, 8])])
ROW = {"stage": "students", "arm": "soft", "seed": 0, "epoch": 0, "metric": "val_acc"}


def test_each_arm_has_a_line_in_its_colour():
    figure = training_curves(STUDY, scalars(NAMES, 2, teacher=True))
    for colour in COLOURS[:2]:
        assert (
            len(
                re.findall(rf"<path [^>]*style=\"[^\"]*stroke: var\(--[\w-]+, {colour}", figure.svg)
            )
            >= 3
        )
    assert COLOURS[2] not in figure.svg
    shown_texts = texts(figure.svg)
    assert [text for text in shown_texts if text in NAMES] == list(NAMES)
    assert {"teacher", "Validation error, %"} <= set(shown_texts)
    assert figure.caption == (
        "Lines are means over seeds. Bands span the lowest to the highest seed. The dashed line is "
        "the teacher. Validation errors are comparable between arms; training losses of different "
        "objectives are not."
    )


def test_text_is_drawn_as_validation_losses():
    arms = [make_control("hard", [9], bits=[2.0]), make_arm("soft", [8], bits=[2.0])]
    rows = []
    for epoch, loss in enumerate((7.5, 7.0, 6.5)):
        rows.append({**ROW, "epoch": epoch, "metric": "val_loss", "value": loss})
    figure = training_curves(make_text_summary(arms), rows)
    shown_texts = texts(figure.svg)
    assert {"Validation loss, nats per token", "7"} <= set(shown_texts)
    assert "Validation error, %" not in shown_texts
    assert "Validation losses are comparable" in figure.caption


def test_one_epoch_is_enough():
    figure = training_curves(STUDY, [ROW | {"value": 1.0}])
    assert "Validation error, %" in texts(figure.svg)


@pytest.mark.parametrize("rows", [[], [ROW | {"value": float("nan")}], [ROW | {"arm": "gone"}]])
def test_without_logged_values_there_is_no_figure(rows):
    assert training_curves(STUDY, [{"value": 1.0, **row} for row in rows]) is None


def test_arms_that_are_not_highlighted_share_a_legend_entry():
    summary = make_sweep(temperatures=range(1, 14))
    rows = [
        ROW | {"arm": arm.name, "epoch": epoch, "value": 0.5 + epoch / 10}
        for arm in summary.arms
        for epoch in range(2)
    ]
    names = shorten_apart([*highlighted_arms(summary), "other arms"], 44)
    shown_texts = texts(training_curves(summary, rows).svg)
    assert sorted(text for text in shown_texts if text in names) == sorted(names)
