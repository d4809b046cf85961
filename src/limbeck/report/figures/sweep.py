"""The figures of a sweep."""

from limbeck.evaluation.measure import measure_of
from limbeck.report.figures.by_size import by_size
from limbeck.report.figures.by_temperature import by_temperature
from limbeck.report.figures.by_two_settings import by_two_settings
from limbeck.report.figures.svg import ReportFigure
from limbeck.run.summary import Summary

FIGURES = (by_temperature, by_two_settings, by_size)


def sweep_figures(summary: Summary) -> list[ReportFigure]:
    """Draw the figures that a study's arms support.

    Each figure needs arms that are equal except for the settings that it shows. If an arm has no
    result, there are no figures.
    """
    measure = measure_of(summary)
    if any(measure.value(arm.mean) is None for arm in summary.arms):
        return []
    figures = [draw(summary) for draw in FIGURES]
    return [figure for figure in figures if figure is not None]
