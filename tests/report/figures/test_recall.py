import re

import numpy as np
import pytest
from support.summaries import make_arm, make_summary
from support.svgs import texts

from limbeck.report.figures.predictions import Predictions, predict
from limbeck.report.figures.recall import recall_by_class, recall_heat_map


def test_every_cell_has_its_recall_in_percent():
    teacher, soft = np.array([0.912, 1.0, np.nan]), np.array([0.505, 0.25, 0.75])
    heat_map = recall_heat_map([("teacher", teacher), ("soft", soft)], ["cat", "dog", "eel"])
    shown_texts = texts(heat_map.svg)
    cells = [text for text in shown_texts if re.fullmatch(r"[\d.]+|–", text)]
    assert cells == ["91.2", "100", "–", "50.5", "25.0", "75.0"]
    names = [text for text in shown_texts if text not in cells]
    assert names == ["cat", "dog", "eel", "teacher", "soft"]
    assert (heat_map.classes, heat_map.lowest) == (3, 25.0)


@pytest.mark.parametrize(("classes", "drawn_classes"), [(21, 21), (101, 100)])
def test_the_hardest_of_many_classes_are_drawn(classes, drawn_classes):
    recall = np.linspace(0.999, 0.5, classes)
    heat_map = recall_heat_map([("a", recall)], [f"c{i}" for i in range(classes)])
    shown_texts = texts(heat_map.svg)
    names = [text for text in shown_texts if text.startswith("c")]
    assert heat_map.classes == drawn_classes
    assert names == [f"c{i}" for i in range(classes - drawn_classes, classes)]
    assert sum(bool(re.fullmatch(r"\d+(\.\d)?", text)) for text in shown_texts) == drawn_classes


def test_long_names_of_models_stay_different():
    names = [f"soft,temperature={t},soft_weight=0.5" for t in (1, 4)]
    shown_texts = texts(recall_heat_map([(name, np.ones(2)) for name in names], ["a", "b"]).svg)
    assert len({text for text in shown_texts if text.startswith("soft")}) == 2


def test_classes_without_names_are_numbered():
    labels = np.array([0, 1, 1])
    student = predict(np.eye(2)[[0, 1, 0]])
    predictions = Predictions(labels, 2, arms={"soft": {0: student}})
    figure = recall_by_class(make_summary([make_arm("soft", [1])], classes=("a",)), predictions)
    assert texts(figure.svg) == ["0", "1", "soft", "100", "50.0"]
    assert "from 100 % to 50.0 %" in figure.caption
    assert recall_by_class(make_summary(), Predictions(labels, 2)) is None


def test_long_names_of_classes_stand_beside_their_rows_in_full():
    names = [f"white-throated warbler {i}" for i in range(10)]
    svg = recall_heat_map([("teacher", np.ones(10)), ("soft", np.full(10, 0.5))], names).svg
    shown_texts = texts(svg)
    assert [text for text in shown_texts if text in names] == names
    assert shown_texts.count("soft") == 2, "a header for each of two blocks"
    assert "rotate(-90)" not in svg
