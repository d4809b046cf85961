import re
import xml.etree.ElementTree as ET

from support.summaries import make_arm, make_summary, make_sweep
from support.svgs import SVG, texts

from limbeck.report.figures.by_two_settings import by_two_settings


def test_every_cell_has_its_mean():
    summary = make_sweep()
    figure = by_two_settings(summary)
    assert figure.title == "Errors by temperature T and soft weight"
    shown_texts = texts(figure.svg)
    for arm in summary.arms[1:]:
        assert f"{arm.mean.errors:.1f}" in shown_texts
    assert {"0.1", "0.9", "1", "4", "20", "temperature T", "soft weight"} <= set(shown_texts)


def test_the_outlined_cell_is_the_best_on_validation():
    svg = by_two_settings(make_sweep()).svg
    (outline,) = re.findall(r'id="[^"]*best">\s*<path d="M ([\d.]+) [\d.]+', svg)
    column = {cell: _place(svg, cell) for cell in ("60.0", "220.0")}  # T = 4 and T = 20
    assert column["60.0"] < float(outline) < column["220.0"], "best on validation, worst on test"


def _place(svg, text):
    """Horizontal place of a text."""
    for element in ET.fromstring(svg).iter(f"{SVG}text"):
        if "".join(element.itertext()) == text:
            transform = re.search(r"translate\(([\d.]+)", element.get("transform") or "")
            return float(transform[1] if transform else element.get("x"))
    raise AssertionError(f"no text {text}")


def test_a_panel_for_each_size():
    figure = by_two_settings(make_sweep(sizes=(100, 200)))
    assert {"soft,hidden=100", "soft,hidden=200"} <= set(texts(figure.svg))
    assert len(re.findall(r'id="[^"]*best', figure.svg)) == 2
    assert "Colours are comparable only within a panel." in figure.caption


def test_one_weight_makes_no_map():
    assert by_two_settings(make_sweep(weights=(0.5,))) is None


def test_a_diagonal_makes_no_map():
    arms = [
        make_arm(f"s{i}", [9, 9], objective={"temperature": float(i), "soft_weight": i / 9})
        for i in (1, 2, 3)
    ]
    assert by_two_settings(make_summary(arms)) is None


def test_learning_rates_make_a_map_too():
    arms = [
        make_arm(
            f"soft,temperature={t},lr={rate}",
            [t, 3],
            objective={"temperature": t},
            optimizer={"name": "adam", "lr": rate},
        )
        for t in (1, 2)
        for rate in (0.01, 0.1)
    ]
    figure = by_two_settings(make_summary(arms))
    assert figure.title == "Errors by temperature T and learning rate"
