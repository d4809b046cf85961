"""The change of every arm against its control, with the interval that decides the verdict."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from limbeck.report.arm_styles import Style, styles_of
from limbeck.report.families import MAX_COLOURED
from limbeck.report.figures.axes import set_ticks, widen_x_limits
from limbeck.report.figures.style import (
    INK,
    PAGE,
    canvas,
    figure_settings,
    only_grid,
    shorten_apart,
)
from limbeck.report.figures.svg import ReportFigure, to_svg
from limbeck.report.measure_wording import wording_of
from limbeck.report.wording_base import MeasureWording
from limbeck.run.comparison import Comparison
from limbeck.run.summary import Summary

MAX_ROWS = 60


def changes(summary: Summary) -> ReportFigure | None:
    """Draw the mean change of each comparison and its 95 % interval over seeds and test samples.

    Returns:
        The figure, or None if no comparison has an interval.
    """
    words = wording_of(summary)
    comparisons = _best_on_validation(summary, words)
    if not any(words.measure.delta(comparison).ci95 for comparison in comparisons):
        return None
    styles = styles_of(summary)
    is_large = len(comparisons) > MAX_COLOURED
    with figure_settings():
        figure = canvas(0.8 + (0.24 if is_large else 0.36) * max(len(comparisons), 2))
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
        for row, comparison in enumerate(comparisons):
            _draw_change(axes, row, comparison, styles[comparison.arm], words)
        names = shorten_apart(_names(comparisons), 52 if is_large else 34)
        axes.set_yticks(range(len(comparisons)), names)
        axes.set_ylim(len(comparisons) - 0.4, -0.6)
        axes.margins(x=0.08)
        widen_x_limits(axes, words)
        set_ticks(axes.xaxis, 7, words)
        axes.set_xlabel(f"change in {words.title_in_sentence} (below 0 is better)")
        only_grid(axes, "x")
        axes.spines["left"].set_visible(False)
        label = f"Change in {words.title_in_sentence} of every arm against its control"
        svg = to_svg(figure, "changes", label)
    return ReportFigure("Change against the control", svg, _caption(summary, len(comparisons)))


def _caption(summary: Summary, rows: int) -> str:
    sentences = [
        "The bar is the 95 % interval that decides the verdict. If it contains 0, other seeds or "
        f"{wording_of(summary).samples_in_interval} could reverse the result."
    ]
    if any(comparison.p_holm is not None for comparison in summary.comparisons):
        sentences.append(
            "It stands for one comparison: the verdicts of several are corrected for their number, "
            "except the headline's."
        )
    if rows < len(summary.comparisons):
        sentences.append(
            f"Only {rows} of {len(summary.comparisons)} comparisons are drawn: those of the best "
            "arms on validation."
        )
    return " ".join(sentences)


def _best_on_validation(summary: Summary, words: MeasureWording) -> list[Comparison]:
    """The comparisons to draw, in their order."""
    arms = {arm.name: arm for arm in summary.arms}
    comparisons = [comparison for comparison in summary.comparisons if comparison.arm in arms]
    ranked = sorted(comparisons, key=lambda entry: words.measure.validation_mean(arms[entry.arm]))
    best = ranked[:MAX_ROWS]
    return [comparison for comparison in comparisons if comparison in best]


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    """The arms, with their controls if these differ."""
    if len({comparison.control for comparison in comparisons}) == 1:
        return [comparison.arm for comparison in comparisons]
    return [f"{comparison.arm} − {comparison.control}" for comparison in comparisons]


def _draw_change(
    axes: Axes, row: int, comparison: Comparison, style: Style, words: MeasureWording
) -> None:
    delta = words.measure.delta(comparison)
    bounds = delta.ci95_total or delta.ci95 or (delta.mean, delta.mean)
    axes.plot(bounds, [row] * 2, color=style.colour, linewidth=2.2, zorder=2)
    axes.plot(
        [delta.mean], [row], "D", color=style.colour, markersize=5.5, markeredgecolor=PAGE, zorder=3
    )
    axes.annotate(
        f"{words.change(comparison)}  {comparison.verdict}",
        (max(bounds), row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=8.5,
        bbox={"facecolor": PAGE, "edgecolor": "none", "pad": 1},  # the line of no change is behind
        zorder=4,
    )
