import numpy as np
from support.summaries import make_arm, make_summary
from support.svgs import texts

from limbeck.report.figures.predictions import Predictions, predict
from limbeck.report.figures.reliability import Diagram, draw_reliability, reliability
from limbeck.report.figures.statistics import reliability_bins

BINS = reliability_bins(np.array([0.9, 0.9]), np.array([True, False]))


def test_a_panel_has_the_given_ece_or_that_of_its_bins():
    svg = draw_reliability([Diagram("a", BINS, "#000000"), Diagram("b", BINS, "#000000", 0.0123)])
    assert {"ECE 0.4000", "ECE 0.0123"} <= set(texts(svg))


def test_teacher_and_arms_have_a_panel_each():
    model = predict(np.eye(2))
    predictions = Predictions(np.array([0, 1]), 2, teacher=model, arms={"soft": {0: model}})
    figure = reliability(make_summary([make_arm("soft", [1])]), predictions)
    assert {"teacher", "soft", "ECE 0.1000"} <= set(texts(figure.svg))
    assert reliability(make_summary(), Predictions(np.array([0]), 2)) is None
