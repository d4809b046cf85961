"""The figures of sweeps show the numbers of the summary, and stay readable with many arms."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from limbeck.report.families import MANY, families, labels, shown
from limbeck.report.figures.axes import apart
from limbeck.report.figures.curves import training_curves
from limbeck.report.figures.drawing import COLOURS, OTHER, arm_styles, shorten_apart
from limbeck.report.figures.size import _front, by_size
from limbeck.report.figures.students import results_by_arm
from limbeck.report.figures.sweeps import by_temperature, over_two_settings, sweep_figures
from limbeck.report.judged_by import BITS_PER_BYTE, ERRORS

SVG = "{http://www.w3.org/2000/svg}"
NLL = {"accuracy": 0.9, "nll": 0.3, "ece": 0.1, "agreement": None, "kl_to_teacher": None}


def texts(svg):
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def marks(svg, colour):
    """How many markers have a colour."""
    return len(re.findall(rf"<use [^>]*fill: {colour}", svg))


def arm(name, errors, *, params=100, val=None, transfer="all", **objective):
    settings = {
        "hard_weight": 0.1,
        "soft_weight": 0.9,
        "temperature": 4.0,
        "soft": "kl",
        "scale_by_t2": True,
    }
    settings |= objective
    return {
        "name": name,
        "student": f"mlp {params}",
        "params": params,
        "control": settings["soft_weight"] == 0,
        "objective": settings,
        "transfer": transfer,
        "views": "none",
        "optimizer": {"name": "adam", "lr": 0.001},
        "seeds": [
            {
                "seed": i,
                "val": {"errors": e if val is None else val, **NLL},
                "test": {"errors": e, **NLL},
            }
            for i, e in enumerate(errors)
        ],
        "mean": {"errors": float(np.mean(errors)), **NLL},
        "sd": {"errors": float(np.std(errors)), **NLL},
    }


def summary(arms, control="hard", teacher=7):
    names = [a["name"] for a in arms]
    pairs = []
    for name in names:
        if not name.startswith("hard"):
            own = [
                other for other in names if other.startswith("hard,") and name.endswith(other[4:])
            ]
            pairs.append({"arm": name, "control": control if control in names else own[0]})
    told = {"name": "big", "params": 9000, "test": {"errors": teacher, **NLL}} if teacher else None
    return {
        "arms": arms,
        "comparisons": pairs,
        "teacher": told,
        "data": {"name": "digits", "test": 500},
    }


HARD = arm("hard", [40, 42, 44], soft_weight=0.0, hard_weight=1.0)


def grid(temperatures=(1, 4, 20), weights=(0.1, 0.9), sizes=(100,)):
    """Errors are 10 T + 100 weight + 1000 / size; validation likes the largest T."""
    arms = []
    for size in sizes:
        end = f",hidden={size}" if len(sizes) > 1 else ""
        arms.append(
            arm(f"hard{end}", [200 + size, 210 + size], params=size, soft_weight=0, hard_weight=1)
        )
        for t in temperatures:
            for w in weights:
                mean = 10 * t + 100 * w + 1000 / size
                name = f"soft,temperature={t},soft_weight={w}{end}"
                arms.append(
                    arm(
                        name,
                        [mean - 1, mean + 1],
                        params=size,
                        val=1000 - t - w,
                        temperature=t,
                        soft_weight=w,
                    )
                )
    return arms


# Temperature --------------------------------------------------------------------------------------


def test_errors_against_temperature():
    arms = [
        HARD,
        *(arm(f"t{t}", [10 + t, 12 + t, 14 + t], temperature=float(t)) for t in (2, 1, 8, 20)),
    ]
    drawn = by_temperature(summary(arms))
    assert drawn.title == "Errors against temperature"
    found = texts(drawn.svg)
    assert [text for text in found if text in ("1", "2", "8", "20")] == [
        "1",
        "2",
        "8",
        "20",
    ] or "20" in found
    for word in ("distilled", "control", "teacher", "temperature T", "errors of 500 test samples"):
        assert word in found
    line = COLOURS[0]
    assert marks(drawn.svg, line) == 1 + 4 + 4 * 3, "legend, means, seeds"
    assert "Dots: seeds." in drawn.caption


def test_two_temperatures_make_no_line_and_controls_none():
    arms = [HARD, *(arm(f"t{t}", [10, 11], temperature=float(t)) for t in (1, 2))]
    assert by_temperature(summary(arms)) is None
    controls = [arm(f"hard{t}", [1, 2], soft_weight=0, temperature=float(t)) for t in (1, 2, 4)]
    assert by_temperature(summary(controls, control="hard1")) is None


def test_a_line_for_each_weight_and_a_panel_for_each_control():
    drawn = by_temperature(summary(grid(sizes=(100, 200))))
    found = texts(drawn.svg)
    for word in (
        "soft,soft_weight=0.1",
        "soft,soft_weight=0.9",
        "hard,hidden=100",
        "hard,hidden=200",
    ):
        assert found.count(word) == 1
    assert found.count("temperature T") == 2
    for colour in COLOURS[:2]:
        assert marks(drawn.svg, colour) == 1 + 2 * 3
    assert "A panel for each control" in drawn.caption


def test_lines_beyond_eight_are_left_out_and_told_of():
    drawn = by_temperature(summary(grid(weights=tuple(i / 10 for i in range(1, 12)))))
    assert "Left out: 3 lines with more validation errors." in drawn.caption
    assert "soft,soft_weight=1.1" in texts(drawn.svg), "validation likes large weights"
    assert "soft,soft_weight=0.1" not in texts(drawn.svg)


def test_without_teacher_and_with_one_seed():
    arms = [
        arm("hard", [40], soft_weight=0.0),
        *(arm(f"t{t}", [10 + t], temperature=float(t)) for t in (1, 2, 4)),
    ]
    drawn = by_temperature(summary(arms, teacher=None))
    assert marks(drawn.svg, COLOURS[0]) == 1 + 3


# Two settings -------------------------------------------------------------------------------------


def test_the_heat_map_has_the_means_and_outlines_the_best_on_validation():
    arms = grid()
    drawn = over_two_settings(summary(arms))
    assert drawn.title == "Errors by temperature T and soft weight"
    found = texts(drawn.svg)
    for entry in arms[1:]:
        assert f"{entry['mean']['errors']:.1f}" in found
    assert {"0.1", "0.9", "1", "4", "20", "temperature T", "soft weight"} <= set(found)
    assert len(re.findall(r'id="[^"]*best"', drawn.svg)) == 1
    best = re.search(r'id="[^"]*best">\s*<path d="M ([\d.]+) ([\d.]+)', drawn.svg)
    assert best, "an outline"
    x = {t: place for t, place in zip((1, 4, 20), sorted(_ticks(drawn.svg)), strict=True)}
    assert x[4] < float(best[1]) < x[20], (
        "the column of T = 20, which validation likes best and test least"
    )


def _ticks(svg):
    """Horizontal places of the three columns, from the numbers in the cells."""
    places = {}
    for element in ET.fromstring(svg).iter(f"{SVG}text"):
        text, at = "".join(element.itertext()), element.get("transform") or ""
        found = re.search(r"translate\(([\d.]+)", at)
        if text in ("30.0", "60.0", "220.0") and found:
            places[text] = float(found[1])
        elif text in ("30.0", "60.0", "220.0"):
            places[text] = float(element.get("x"))
    return places.values()


def test_a_panel_for_each_size_and_none_for_a_diagonal():
    drawn = over_two_settings(summary(grid(sizes=(100, 200))))
    assert {"soft,hidden=100", "soft,hidden=200"} <= set(texts(drawn.svg))
    assert len(re.findall(r'id="[^"]*best', drawn.svg)) == 2
    assert over_two_settings(summary(grid(weights=(0.5,)))) is None
    arms = [
        HARD,
        *(arm(f"s{i}", [9, 9], temperature=float(i), soft_weight=i / 9) for i in (1, 2, 3)),
    ]
    assert over_two_settings(summary(arms)) is None


def test_learning_rates_make_a_map_too():
    arms = [HARD]
    for t in (1, 2):
        for rate in (0.01, 0.1):
            arms.append(arm(f"soft,temperature={t},lr={rate}", [t, 3], temperature=t))
            arms[-1]["optimizer"] = {"name": "adam", "lr": rate}
    assert over_two_settings(summary(arms)).title == "Errors by temperature T and learning rate"


# Size ---------------------------------------------------------------------------------------------


def test_errors_against_size_with_the_teacher_and_the_front():
    arms = []
    for size, wrong in ((610, 60), (2410, 30), (5000, 35)):
        arms.append(arm(f"hard,hidden={size}", [wrong, wrong + 4], params=size, soft_weight=0))
        arms.append(arm(f"soft,hidden={size}", [wrong - 20, wrong - 18], params=size))
    drawn = by_size(summary(arms))
    found = texts(drawn.svg)
    for word in (
        "hard",
        "soft",
        "teacher",
        "Pareto front",
        "parameters",
        "610",
        "2.41k",
        "5k",
        "9k",
    ):
        assert word in found
    for colour in COLOURS[:2]:
        assert marks(drawn.svg, colour) == 1 + 3
    front = re.search(r'<path d="([^"]+)"[^>]*stroke-dasharray: [^"]*stroke: #2b2e33', drawn.svg)
    assert len(re.findall("[ML]", front[1])) == 3, (
        "a step: 610 to 2410; the largest student is beaten"
    )
    assert by_size(summary([HARD, arm("soft", [1, 2])])) is None


def test_the_front_is_not_chosen_on_the_test_split():
    arms = [arm("a", [30], val=5), arm("b", [21], val=20), arm("c", [25], params=200, val=4)]
    assert _front(arms, ERRORS) == [(100, 30), (200, 25)]
    assert _front(arms[::-1], ERRORS) == [(100, 30), (200, 25)]
    assert _front([*arms, arm("d", [26], params=300, val=1)], ERRORS) == [(100, 30), (200, 25)], (
        "beaten by a smaller one"
    )


def test_many_families_become_three_kinds():
    arms = grid(weights=(0.1, 0.5, 0.9), sizes=(100, 200))
    drawn = by_size(summary(arms))
    assert [
        t for t in texts(drawn.svg) if t in ("control", "distilled, chosen", "other distilled")
    ] == [
        "other distilled",
        "control",
        "distilled, chosen",
    ]
    assert marks(drawn.svg, OTHER.colour) == 1 + 2 * 8
    assert marks(drawn.svg, COLOURS[1]) == 1 + 2
    assert "fewest validation errors" in drawn.caption


# Many arms ----------------------------------------------------------------------------------------


def test_families_of_arms_that_a_summary_cannot_tell_apart():
    arms = [
        arm(f"soft,temperature={t},dropout={d}", [1], temperature=t)
        for t in (1, 2, 4)
        for d in (0, 0.5)
    ]
    found = families(arms, ["objective.temperature"])
    assert [[a["name"][-3:] for a in family] for family in found] == [["t=0"] * 3, ["0.5"] * 3]
    assert labels(found, ["objective.temperature"]) == ["soft,dropout=0", "soft,dropout=0.5"]


def test_views_of_one_name_and_other_settings_are_families_apart():
    arms = [arm(f"{'ab'[wide]}{t}", [1], temperature=t) for wide in (0, 1) for t in (1, 2)]
    for entry in arms:
        affine = {"kind": "Affine", "degrees": 60.0 if entry["name"][0] == "b" else 5.0}
        entry |= {
            "views": "affine distortions",
            "views_settings": {"kind": "Chain", "views": [affine]},
        }
    found = families(arms, ["objective.temperature"])
    assert [[a["name"] for a in family] for family in found] == [["a1", "a2"], ["b1", "b2"]]
    assert labels(found, ["objective.temperature"]) == ["views.0.degrees 5", "views.0.degrees 60"]


def test_labels_of_arms_named_by_hand():
    arms = [arm(f"t{t}w{w}", [1], temperature=t, soft_weight=w) for t in (1, 2) for w in (0.5, 0.9)]
    found = families(arms, ["objective.temperature"])
    assert labels(found, ["objective.temperature"]) == ["soft_weight 0.5", "soft_weight 0.9"]


@pytest.mark.parametrize(("temperatures", "size"), [((1, 4), 12), (tuple(range(1, 14)), 40)])
def test_many_arms_are_grey_but_for_the_headline_and_the_best(temperatures, size):
    sizes = (100,) if size == 12 else (100, 200, 300)
    weights = (0.1, 0.2, 0.3, 0.4, 0.5) if size == 12 else (0.5,)
    found = summary(grid(temperatures, weights, sizes))
    names = [a["name"] for a in found["arms"]]
    for entry in found["comparisons"]:
        entry["main"] = entry["arm"] == names[1]
    picked = shown(found)
    if len(names) <= MANY:
        assert picked is None
        return
    assert len(picked) == 6
    assert {names[0], names[1]} <= set(picked), "headline and control"
    styles = arm_styles(names, picked)
    assert sum(style == OTHER for style in styles.values()) == len(names) - 6
    svg = results_by_arm(found, picked)
    assert set(names) <= set(texts(svg)), "no name is cut"
    for entry in found["arms"]:
        assert f"{entry['mean']['errors']:.1f}" in texts(svg)
    rows = [
        {
            "stage": "students",
            "arm": name,
            "seed": 0,
            "epoch": e,
            "metric": "val_acc",
            "value": 0.5 + e / 10,
        }
        for name in names
        for e in range(4)
    ]
    wanted = shorten_apart([*picked, "other arms"], 44)
    assert [
        text for text in texts(training_curves(rows, names, picked)) if text in wanted
    ] == wanted


def test_all_figures_of_a_large_sweep_are_small_enough_and_nothing_without_one():
    drawn = sweep_figures(summary(grid((1, 2, 4, 8, 20), (0.1, 0.5, 0.9), (100, 200, 300))))
    assert [figure.title for figure in drawn] == [
        "Errors against temperature",
        "Errors by temperature T and soft weight",
        "Errors against size",
    ]
    assert all(len(figure.svg) < 100_000 for figure in drawn)
    assert sweep_figures(summary([HARD, arm("soft", [1, 2])])) == []


def test_tick_labels_have_room_and_names_stay_apart():
    assert apart([1, 1.01, 2, 100]) == [1, 2, 100]
    assert apart([3]) == [3]
    long = [f"soft,temperature={t},soft_weight=0.{w},hidden=128" for t in (4, 20) for w in (1, 5)]
    assert len(set(shorten_apart(long, 20))) == 4
    assert shorten_apart(["a", "b"], 1) == ["a", "b"]


# Text ---------------------------------------------------------------------------------------------


def judged_by_bits(found):
    """The same summary, its errors divided by 1,000 as bits per byte; the errors themselves then
    say the opposite.
    """
    every = [found["teacher"]["test"]] if found["teacher"] else []
    for entry in found["arms"]:
        every += [
            entry["mean"],
            *(seed[split] for seed in entry["seeds"] for split in ("val", "test")),
        ]
    for metrics in every:
        metrics["bits_per_byte"] = metrics["errors"] / 1000
        metrics["errors"] = 10_000 - metrics["errors"]
    sizes = {"bytes": {"test": 1_234_567}, "tokens": {"test": 400_000}, "tokenizer": "bytes"}
    return found | {"measure": "bits_per_byte", "data": found["data"] | sizes}


def test_figures_of_text_choose_by_bits_per_byte():
    arms = grid((1, 2, 4, 8, 20), (0.1, 0.9), (100, 200))
    names = shown(summary(arms))
    front = _front([entry for entry in arms if not entry["control"]], ERRORS)
    assert len(front) == 2
    found = judged_by_bits(summary(arms))
    assert shown(found) == names
    soft = [entry for entry in found["arms"] if not entry["control"]]
    assert _front(soft, BITS_PER_BYTE) == [(size, errors / 1000) for size, errors in front]
    assert [drawn.title for drawn in sweep_figures(found)] == [
        "Bits per byte against temperature",
        "Bits per byte by temperature T and soft weight",
        "Bits per byte against size",
    ]
    for drawn in sweep_figures(found):
        assert "errors" not in drawn.caption + "".join(texts(drawn.svg))
    assert "bits per byte on 1,234,567 bytes" in texts(by_temperature(found).svg)
    cells = texts(over_two_settings(found).svg)
    for entry in found["arms"]:
        if not entry["control"]:
            assert f"{entry['mean']['bits_per_byte']:.3f}" in cells


def test_arms_that_train_longer_are_families_apart():
    arms = [arm(f"t{t}e{e}", [1], temperature=t) | {"epochs": e} for t in (1, 2) for e in (10, 20)]
    found = families(arms, ["objective.temperature"])
    assert [[a["name"] for a in family] for family in found] == [
        ["t1e10", "t2e10"],
        ["t1e20", "t2e20"],
    ]
    assert labels(found, ["objective.temperature"]) == ["epochs 10", "epochs 20"]


def test_an_arm_without_a_number_is_never_chosen():
    found = judged_by_bits(summary([HARD, *(arm(f"s{i}", [9, 9]) for i in range(14))]))
    found["arms"][3]["seeds"][0]["val"]["bits_per_byte"] = None
    assert "s2" not in shown(found, most=14)
    found["arms"][3]["mean"]["bits_per_byte"] = None
    assert sweep_figures(found) == []
    assert "s2" in texts(results_by_arm(found))
