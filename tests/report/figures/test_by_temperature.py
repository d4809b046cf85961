from support.summaries import make_arm, make_comparison, make_control, make_summary, make_sweep
from support.svgs import markers, texts

from limbeck.report.arm_styles import COLOURS, FAMILIES
from limbeck.report.figures.by_temperature import by_temperature

HARD = make_control("hard", [40, 42, 44])


def study(arms, **fields):
    comparisons = [make_comparison(arm.name, "hard") for arm in arms if not arm.control]
    return make_summary(arms, comparisons, **fields)


def soft(temperature, errors):
    return make_arm(f"t{temperature}", errors, objective={"temperature": float(temperature)})


def test_a_line_has_a_point_per_temperature_and_a_dot_per_seed():
    arms = [HARD, *(soft(t, [10 + t, 12 + t, 14 + t]) for t in (2, 1, 8, 20))]
    figure = by_temperature(study(arms))
    assert figure.title == "Errors against temperature"
    shown_texts = texts(figure.svg)
    for text in ("1", "2", "8", "20", "distilled", "control", "teacher", "temperature T"):
        assert text in shown_texts
    assert "errors on 500 test samples" in shown_texts
    counts = [markers(figure.svg, colour) for colour in COLOURS[1:5]]
    assert counts == [4] * 4, "mean and seeds of each arm"
    assert "Small dots are single seeds." in figure.caption


def test_two_temperatures_make_no_line():
    assert by_temperature(study([HARD, soft(1, [10, 11]), soft(2, [10, 11])])) is None


def test_controls_make_no_line():
    arms = [
        make_arm(f"hard{t}", [1, 2], objective={"soft_weight": 0, "temperature": float(t)})
        for t in (1, 2, 4)
    ]
    assert by_temperature(study(arms)) is None


def test_a_panel_for_each_control_and_a_line_for_each_weight():
    figure = by_temperature(make_sweep(sizes=(100, 200)))
    shown_texts = texts(figure.svg)
    for name in ("soft,soft_weight=0.1", "soft,soft_weight=0.9"):
        assert shown_texts.count(name) == 1
    for control in ("hard,hidden=100", "hard,hidden=200"):
        assert shown_texts.count(control) == 1
    assert shown_texts.count("temperature T") == 2
    families = [markers(figure.svg, colour) for colour in FAMILIES[:2]]
    assert families == [1 + 4, 1 + 4], "the legend, and arms without a colour of their own"
    assert sum(markers(figure.svg, colour) for colour in COLOURS) == 4
    assert "There is a panel for each control" in figure.caption


def test_lines_beyond_eight_are_counted():
    figure = by_temperature(make_sweep(weights=tuple(i / 10 for i in range(1, 12))))
    assert "3 lines with more validation errors are not drawn." in figure.caption
    shown_texts = texts(figure.svg)
    assert "soft,soft_weight=1.1" in shown_texts, "validation prefers large weights"
    assert "soft,soft_weight=0.1" not in shown_texts


def test_one_seed_without_a_teacher_is_enough():
    arms = [make_control("hard", [40]), *(soft(t, [10 + t]) for t in (1, 2, 4))]
    figure = by_temperature(study(arms, teacher=None))
    assert sum(markers(figure.svg, colour) for colour in COLOURS[1:4]) == 3
