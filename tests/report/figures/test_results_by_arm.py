import re
from dataclasses import replace

from support.summaries import (
    make_arm,
    make_comparison,
    make_control,
    make_summary,
    make_sweep,
    make_text_summary,
)
from support.svgs import texts

from limbeck.report.figures.results_by_arm import comparison_groups, results_by_arm

ARMS = [make_control("hard", [40, 42, 47]), make_arm("soft", [10, 12, 13])]


def test_means_and_the_teacher_are_written_out():
    figure = results_by_arm(make_summary(ARMS))
    assert {"hard", "soft", "43.0", "11.7", "teacher 7"} <= set(texts(figure.svg))
    assert figure.title == "Errors by arm"
    assert "Each dot is one seed." in figure.caption
    assert "The dashed line is the teacher." in figure.caption


def test_one_seed_has_no_interval_to_explain():
    figure = results_by_arm(make_summary([make_control("hard", [40])], teacher=None))
    assert "40" in texts(figure.svg)
    assert figure.caption == "One seed per arm."


def test_text_is_drawn_in_bits_per_byte():
    arms = [
        make_control("hard", [1, 1], bits=[2.512, 2.431]),
        make_arm("soft", [9, 9], bits=[2.2, 2.1]),
    ]
    figure = results_by_arm(make_text_summary(arms))
    shown_texts = texts(figure.svg)
    assert {"2.471", "2.150", "teacher 2.100"} <= set(shown_texts)
    assert "bits per byte on 1,234,567 bytes of test text (fewer is better)" in shown_texts
    ticks = [text for text in shown_texts if re.fullmatch(r"\d(\.\d{1,2})?", text)]
    assert len({len(tick) for tick in ticks}) == 1 < len(ticks), "equally many decimals"


def test_an_axis_does_not_reach_below_zero():
    figure = results_by_arm(make_summary([make_arm("soft", [1, 40])]))
    assert not any(text.startswith("−") for text in texts(figure.svg))


def test_arms_of_a_comparison_stay_together():
    names = ["hard", "other", "soft", "softer"]
    comparisons = [make_comparison("softer", "hard"), make_comparison("soft", "hard")]
    summary = make_summary([make_arm(name, [1]) for name in names], comparisons)
    assert comparison_groups(summary) == [["hard", "softer", "soft"], ["other"]]


def test_many_arms_keep_their_names_and_numbers():
    summary = make_sweep(temperatures=range(1, 14))
    figure = results_by_arm(summary)
    shown_texts = texts(figure.svg)
    for arm in summary.arms:
        assert arm.name in shown_texts
        assert f"{arm.mean.errors:.1f}" in shown_texts
    assert "Each stroke is one seed." in figure.caption
    assert "The headline arm, its control, and the arms with the fewest" in figure.caption


def test_an_arm_without_a_number_keeps_its_line():
    arm = make_arm("soft", [5])
    seed = replace(arm.seeds[0], test=replace(arm.seeds[0].test, errors=None))
    figure = results_by_arm(make_summary([replace(arm, seeds=(seed,)), ARMS[0]]))
    assert "soft" in texts(figure.svg)


def test_a_study_without_arms_has_no_figure():
    assert results_by_arm(make_summary()) is None
