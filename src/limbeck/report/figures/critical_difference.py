"""The mean ranks of arms on one line, with bars over those whose difference is not shown."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from limbeck.evaluation.ranks import RankTest, groups_without_difference
from limbeck.report.arm_styles import arm_styles
from limbeck.report.figures.style import (
    INK,
    QUIET,
    canvas,
    figure_settings,
    only_grid,
    shorten_apart,
)
from limbeck.report.figures.svg import ReportFigure, to_svg

CAPTION = (
    "The mean rank of each arm over the data sets; 1 is the best. Arms that a bar connects are not "
    "shown to differ. The line at the top is the critical difference (Nemenyi's test at 5 %)."
)


def critical_difference_figure(arms: Sequence[str], test: RankTest) -> ReportFigure:
    """Draw the mean ranks of arms with their critical difference, as in Demsar 2006.

    Args:
        arms: Names of the arms.
        test: Test of their mean ranks.
    """
    order = sorted(range(len(arms)), key=lambda arm: test.mean_ranks[arm])
    groups = groups_without_difference(test.mean_ranks.tolist(), test.least_difference)
    styles = arm_styles(arms)
    names = shorten_apart(arms, 40)
    bars = 0.35 * len(groups)
    with figure_settings():
        figure = canvas(1.3 + 0.3 * len(arms) + bars)
        axes = figure.subplots()
        for y, arm in enumerate(order):
            rank, colour = test.mean_ranks[arm], styles[arms[arm]].colour
            axes.plot([rank], [y], "D", color=colour, markersize=6, markeredgecolor="white")
            axes.annotate(
                f"{rank:.2f}",
                (rank, y),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        _draw_bars(axes, groups, test, len(arms))
        axes.plot([1, 1 + test.critical_difference], [-1, -1], "|-", color=INK, linewidth=1.2)
        axes.annotate(
            f"critical difference {test.critical_difference:.2f}",
            (1 + test.critical_difference / 2, -1),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
        axes.set_yticks(range(len(order)), [names[arm] for arm in order])
        axes.set_ylim(len(arms) - 0.4 + bars, -1.8)
        axes.set_xlim(0.8, max(len(arms), 1 + test.critical_difference) + 0.4)
        axes.set_xticks(range(1, len(arms) + 1))
        axes.set_xlabel("mean rank (1 is the best)")
        only_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        svg = to_svg(figure, "ranks", "Mean ranks of the arms, and the critical difference")
    return ReportFigure("Mean ranks", svg, CAPTION)


def _draw_bars(axes: Axes, groups: Sequence[Sequence[int]], test: RankTest, arms: int) -> None:
    """Draw a bar over the ranks of each group, below the arms."""
    for number, group in enumerate(groups):
        ends = [test.mean_ranks[group[0]] - 0.03, test.mean_ranks[group[-1]] + 0.03]
        y = arms - 0.4 + 0.35 * number
        axes.plot(ends, [y, y], color=QUIET, linewidth=4, solid_capstyle="round")
