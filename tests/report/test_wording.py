import pytest
from report_runs import load_summary

from limbeck.report import wording


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (wording.count, 1234, "1,234"), (wording.count, 85.25, "85.2"), (wording.count, -3.0, "−3"),
        (wording.count, None, "–"), (wording.count, float("nan"), "–"), (wording.count, -0.01, "0.0"),
        (wording.tenths, -30.06, "−30.1"), (wording.tenths, -0.04, "0.0"), (wording.tenths, 7, "7.0"),
        (wording.percent, 0.99154, "99.15 %"), (wording.percent, -0.5, "−50.00 %"),
        (wording.percent, -0.000001, "0.00 %"),
        (wording.nats, 0.01234, "0.0123"), (wording.nats, 12.345, "12.35"), (wording.nats, -0.00001, "0.0000"),
        (wording.seconds, 0.84, "0.8 s"), (wording.seconds, 59.6, "1 min 00 s"), (wording.seconds, 185, "3 min 05 s"),
        (wording.seconds, 3599.7, "1 h 00 min"), (wording.seconds, 7620, "2 h 07 min"),
        (wording.p_value, 0.00041, "p = 0.0004"), (wording.p_value, 1e-9, "p < 0.0001"),
        (wording.p_value, 0.0321, "p = 0.032"), (wording.p_value, 1.0, "p = 1.00"),
        (wording.p_value, 0.0499, "p = 0.0499"),
        (wording.p_value, 0.04999, "p < 0.05"),
    ],
)  # fmt: skip
def test_numbers(function, value, text):
    assert function(value) == text


def summary_with(**comparison):
    base = {
        "arm": "soft", "control": "hard",
        "delta_errors": {"mean": -23.333, "ci95": [-30.1, -16.5], "per_seed": [1, 2, 3]},
        "mcnemar_p": 0.00041, "gap_closed": {"errors": 0.62, "nll": 0.5}, "verdict": "helps",
    }  # fmt: skip
    return {"data": {"test": 10000}, "teacher": {}, "arms": [], "comparisons": [base | comparison]}


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        ({}, "Distilling helps: soft makes 23.3 fewer errors of 10,000 than hard (95 % interval −30.1 to −16.5 over "
             "3 seeds, McNemar p = 0.0004); it closes 62 % of the gap to the teacher."),
        ({"verdict": "hurts", "delta_errors": {"mean": 4.0, "ci95": [1, 7], "per_seed": [4, 4]},
          "gap_closed": {"errors": -0.2, "nll": None}},
         "Distilling hurts: soft makes 4.0 more errors of 10,000 than hard (95 % interval 1.0 to 7.0 over 2 seeds, "
         "McNemar p = 0.0004); it widens the gap to the teacher by 20 %."),
        ({"verdict": "not shown", "delta_errors": {"mean": -4.0, "ci95": [-9.0, 1.0], "per_seed": [1, 2]}},
         "No difference shown: soft makes 4.0 fewer errors of 10,000 than hard (95 % interval −9.0 to 1.0 over "
         "2 seeds, McNemar p = 0.0004); the interval holds 0, so other seeds could reverse it."),
        ({"verdict": "not shown", "mcnemar_p": 0.2},
         "No difference shown: soft makes 23.3 fewer errors of 10,000 than hard (95 % interval −30.1 to −16.5 over "
         "3 seeds, McNemar p = 0.20); the seeds agree, but these test samples are too few to be sure."),
        ({"verdict": "not shown", "delta_errors": {"mean": 0.0, "ci95": None, "per_seed": [0]}, "mcnemar_p": None},
         "No difference shown: soft makes as many errors of 10,000 as hard (one seed, so no interval); one seed "
         "cannot tell the method from luck."),
        ({"gap_closed": {"errors": None, "nll": None}},
         "Distilling helps: soft makes 23.3 fewer errors of 10,000 than hard (95 % interval −30.1 to −16.5 over "
         "3 seeds, McNemar p = 0.0004); the teacher itself is not better than the control, so there is no gap to "
         "close."),
    ],
    ids=["helps", "hurts", "interval", "mcnemar", "one seed", "no gap"],
)  # fmt: skip
def test_headline(comparison, sentence):
    summary = summary_with(**comparison)
    assert wording.headlines(summary) == [(summary["comparisons"][0]["verdict"], sentence)]


def test_the_main_comparison_comes_first(full_run):
    summary = load_summary(full_run)
    assert [c["arm"] for c in summary["comparisons"]] == ["soft", "soft + shifts"]
    first, second = wording.headlines(summary)
    assert "soft + shifts makes" in first[1]
    assert "soft makes" in second[1]


def test_no_comparison_still_has_a_headline(full_run):
    summary = load_summary(full_run) | {"comparisons": []}
    assert wording.headlines(summary) == [("none", "No comparison: none of the 4 arms is paired with a control.")]
    summary["arms"] = summary["arms"][:1]
    arm = summary["arms"][0]
    shown = f"{arm['mean']['errors']:.1f} ± {arm['sd']['errors']:.1f}"
    assert f"hard makes {shown} errors of 600" in wording.headlines(summary)[0][1]


def test_objective_in_words():
    soft = {"hard_weight": 0.1, "soft_weight": 0.9, "temperature": 4.0, "soft": "kl", "scale_by_t2": False}
    assert wording.objective(soft) == "hard_weight 0.1, soft_weight 0.9, temperature 4, soft kl, not scaled by T²"
    assert wording.objective({**soft, "hard_weight": 1, "soft_weight": 0}) == "labels only"
    assert wording.objective({}) == "–"


def test_objective_names_what_is_not_the_default():
    """Of labels, of the newer soft losses, and of layers that guide."""
    guide = {"kind": "hint", "student": "a.1", "teacher": "b", "weight": 2.0}
    settings = {"hard_weight": 1.0, "soft_weight": 0.0, "hard": "cross_entropy", "class_weights": "balanced"}
    assert wording.objective(settings) == "labels only, class weights balanced"
    guided = settings | {"features": [guide], "class_weights": None, "hard": "squared_error"}
    assert wording.objective(guided) == "hard_weight 1, hint a.1 from b (weight 2), hard squared_error"
    soft = {"soft_weight": 1.0, "temperature": 4.0, "soft": "dkd", "target_weight": 1.0, "nontarget_weight": 8.0}
    found = wording.objective(settings | soft | {"standardise": True, "class_weights": [1.0, 2.5]})
    assert found == (
        "hard_weight 1, soft_weight 1, temperature 4, soft dkd, target_weight 1, nontarget_weight 8, standardised, "
        "class weights 1 2.5"
    )
