import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from support.report_runs import ARMS, HOSTILE, TEXT_ARMS, load_summary

from limbeck.report.figures.curves import training_curves
from limbeck.report.figures.drawing import COLOURS, arm_styles, shorten
from limbeck.report.figures.statistics import reliability_bins
from limbeck.report.figures.students import (
    comparison_groups,
    recall_heat_map,
    reliability,
    results_by_arm,
)
from limbeck.report.judged_by import BITS_PER_BYTE
from limbeck.run.folder import RunFolder

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_recall_numbers_are_those_given():
    recall = np.array([[0.912, 1.0, np.nan], [0.505, 0.25, 0.75]])
    heat_map = recall_heat_map([("teacher", recall[0]), ("soft", recall[1])], ["cat", "dog", "eel"])
    shown = texts(heat_map.svg)
    assert [t for t in shown if re.fullmatch(r"[\d.]+|–", t)] == [
        "91.2",
        "100",
        "–",
        "50.5",
        "25.0",
        "75.0",
    ]
    assert [t for t in shown if t in ("cat", "dog", "eel", "teacher", "soft")] == [
        "cat",
        "dog",
        "eel",
        "teacher",
        "soft",
    ]
    assert heat_map[1:] == (3, 25.0)


@pytest.mark.parametrize(
    ("classes", "shown", "numbers"),
    [(2, 2, True), (37, 37, True), (100, 100, False), (250, 100, False)],
)
def test_recall_of_any_number_of_classes(classes, shown, numbers):
    values = np.linspace(0.999, 0.5, classes)
    heat_map = recall_heat_map([("a", values)], [f"c{i}" for i in range(classes)])
    names = [t for t in texts(heat_map.svg) if t.startswith("c")]
    assert heat_map.shown == shown
    assert names == [f"c{i}" for i in range(classes - shown, classes)]
    assert any(re.fullmatch(r"\d\d(\.\d)?", t) for t in texts(heat_map.svg)) == numbers


def test_errors_by_arm_writes_means_and_teacher(full_run):
    summary = load_summary(full_run)
    shown = texts(results_by_arm(summary))
    for arm in summary["arms"]:
        assert f"{arm['mean']['errors']:.1f}" in shown
        assert arm["name"] in shown
    assert f"teacher {summary['teacher']['test']['errors']}" in shown


def test_bits_per_byte_by_arm(text_run):
    summary = load_summary(text_run)
    shown = texts(results_by_arm(summary))
    for arm in summary["arms"]:
        assert f"{arm['mean']['bits_per_byte']:.3f}" in shown
    assert f"teacher {summary['teacher']['test']['bits_per_byte']:.3f}" in shown
    assert "bits per byte on 3,840 bytes of test text (fewer is better)" in shown
    ticks = [text for text in shown if re.fullmatch(r"\d\.\d\d", text)]
    assert len(ticks) >= 3, "equally many decimals"
    assert not any(re.fullmatch(r"\d|\d\.\d", text) for text in shown)


def test_curves_of_text_are_validation_losses(text_run):
    rows = RunFolder(text_run).read_scalars()
    shown = texts(training_curves(rows, TEXT_ARMS, measure=BITS_PER_BYTE))
    assert "Validation loss, nats per token" in shown
    assert "Validation error, %" not in shown
    assert "teacher" in shown
    known = [
        row | {"value": 7.0 if row["metric"] == "val_loss" else 0.5}
        for row in rows
        if row["stage"] == "students"
    ]
    shown = texts(training_curves(known, TEXT_ARMS, measure=BITS_PER_BYTE))
    assert "7.0" in shown or "7" in shown, "nats as they were logged"


def test_a_comparison_stays_together(full_run):
    summary = load_summary(full_run)
    summary["comparisons"] = [
        {"arm": "soft + shifts", "control": "hard"},
        {"arm": "soft", "control": "hard"},
    ]
    assert comparison_groups(summary) == [["hard", "soft + shifts", "soft"], ["hard + shifts"]]


def test_curves_draw_each_arm_in_its_colour(full_run):
    svg = training_curves(RunFolder(full_run).read_scalars(), ARMS)
    for colour in COLOURS[: len(ARMS)]:
        assert len(re.findall(rf"<path [^>]*style=\"[^\"]*stroke: {colour}", svg)) >= 3
    assert COLOURS[len(ARMS)] not in svg
    assert [t for t in texts(svg) if t in ARMS] == list(ARMS)


def test_curves_cope_with_nothing_one_epoch_and_nan():
    assert training_curves([], ["a"]) is None
    row = {
        "stage": "students",
        "arm": "a",
        "seed": 0,
        "epoch": 0,
        "metric": "val_acc",
        "value": 1.0,
    }
    assert "Validation error, %" in texts(training_curves([row], ["a"]))
    assert training_curves([row | {"value": float("nan")}], ["a"]) is None


def test_reliability_writes_the_given_ece_or_its_own():
    bins = reliability_bins(np.array([0.9, 0.9]), np.array([True, False]))
    shown = texts(reliability([("a", bins, "#000000", None), ("b", bins, "#000000", 0.0123)]))
    assert "ECE 0.4000" in shown
    assert "ECE 0.0123" in shown


def test_hostile_names_stay_text():
    bins = reliability_bins(np.array([0.9]), np.array([True]))
    svg = reliability([(name, bins, "#000000", 0.1) for name in HOSTILE])
    assert "<script" not in svg
    assert [t for t in texts(svg) if t in [shorten(n, 24) for n in HOSTILE]] == [
        shorten(n, 24) for n in HOSTILE
    ]
    rows = [
        {"stage": "students", "arm": name, "seed": 0, "epoch": e, "metric": "val_acc", "value": 0.5}
        for name in HOSTILE
        for e in range(4)
    ]
    assert set(texts(training_curves(rows, HOSTILE))) >= set(HOSTILE)


def test_ids_are_stable_and_do_not_clash(full_run):
    summary = load_summary(full_run)
    bins = reliability_bins(np.array([0.9]), np.array([True]))
    before = dict(matplotlib.rcParams)
    made = [results_by_arm(summary), reliability([("a", bins, "#000000", 0.1)])]
    assert made[0] == results_by_arm(summary)
    assert dict(matplotlib.rcParams) == before
    ids = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in made]
    assert len(ids[0]) > 10
    assert not ids[0] & ids[1]
    for svg, own in zip(made, ids, strict=True):
        used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
        assert used
        assert {a or b for a, b in used} <= own
        assert "metadata" not in svg


def test_styles_differ_beyond_the_palette():
    styles = arm_styles([str(i) for i in range(20)])
    assert len({(s.colour, s.dash) for s in styles.values()}) == 20


def test_shorten_keeps_both_ends():
    assert shorten("class number 12", 15) == "class number 12"
    assert shorten("class  number\n123", 10) == "class… 123"
    assert len(shorten("x" * 50, 11)) == 11
