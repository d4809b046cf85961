import re

from support.summaries import make_arm, make_control, make_summary, make_sweep
from support.svgs import markers, texts

from limbeck.evaluation.measure import BITS_PER_BYTE, ERRORS
from limbeck.report.arm_styles import COLOURS, OTHER
from limbeck.report.figures.by_size import by_size, pareto_front
from limbeck.report.figures.style import INK


def test_points_teacher_and_front_are_drawn():
    arms = []
    for size, errors in ((610, 60), (2410, 30), (5000, 35)):
        arms.append(make_control(f"hard,hidden={size}", [errors, errors + 4], params=size))
        arms.append(make_arm(f"soft,hidden={size}", [errors - 20, errors - 18], params=size))
    figure = by_size(make_summary(arms))
    ticks = {"610", "2.41k", "5k", "9k"}
    assert {"hard", "soft", "teacher", "Pareto front", "parameters"} | ticks <= set(
        texts(figure.svg)
    )
    for colour in COLOURS[:6]:
        assert markers(figure.svg, colour) == 1, "each arm has its own colour"
    (front,) = re.findall(
        r'<path d="([^"]+)"[^>]*stroke-dasharray: [^"]*stroke: var\(--ink', figure.svg
    )[:1]
    assert len(re.findall("[ML]", front)) == 3, "one step; a smaller student beats the largest"


def test_one_size_makes_no_figure():
    assert by_size(make_summary([make_control("hard", [3]), make_arm("soft", [1])])) is None


def test_the_front_is_not_chosen_on_the_test_split():
    arms = [
        make_arm("a", [30], val=5),
        make_arm("b", [21], val=20),
        make_arm("c", [25], params=200, val=4),
    ]
    beaten = make_arm("d", [26], params=300, val=1)
    front = [(100, 30), (200, 25)]
    assert pareto_front(arms, ERRORS) == front
    assert pareto_front(arms[::-1], ERRORS) == front
    assert pareto_front([*arms, beaten], ERRORS) == front, "a smaller student beats the largest"


def test_the_front_of_text_is_in_bits_per_byte():
    arms = [make_arm("a", [1], bits=[2.5]), make_arm("b", [9], bits=[2.1], params=200)]
    assert pareto_front(arms, BITS_PER_BYTE) == [(100, 2.5), (200, 2.1)]


def test_many_families_become_three_kinds():
    figure = by_size(make_sweep(weights=(0.1, 0.5, 0.9), sizes=(100, 200)))
    kinds = ["other distilled", "control", "distilled, chosen"]
    assert [text for text in texts(figure.svg) if text in kinds] == kinds
    assert markers(figure.svg, INK) == 3
    assert markers(figure.svg, OTHER.colour) == 20 - 6, "six of twenty arms have a colour"
    assert "“Chosen” is" in figure.caption
