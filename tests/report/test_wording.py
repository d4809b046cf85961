import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.report_runs import load_summary

from limbeck.report import formats, wording


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formats.count, 1234, "1,234"),
        (formats.count, 85.25, "85.2"),
        (formats.count, -3.0, "−3"),
        (formats.count, None, "–"),
        (formats.count, float("nan"), "–"),
        (formats.count, -0.01, "0.0"),
        (formats.tenths, -30.06, "−30.1"),
        (formats.tenths, -0.04, "0.0"),
        (formats.tenths, 7, "7.0"),
        (formats.percent, 0.99154, "99.15 %"),
        (formats.percent, -0.5, "−50.00 %"),
        (formats.percent, -0.000001, "0.00 %"),
        (formats.nats, 0.01234, "0.0123"),
        (formats.nats, 12.345, "12.35"),
        (formats.nats, -0.00001, "0.0000"),
        (formats.seconds, 0.84, "0.8 s"),
        (formats.seconds, 59.6, "1 min 00 s"),
        (formats.seconds, 185, "3 min 05 s"),
        (formats.seconds, 3599.7, "1 h 00 min"),
        (formats.seconds, 7620, "2 h 07 min"),
        (formats.p_value, 0.00041, "p = 0.0004"),
        (formats.p_value, 1e-9, "p < 0.0001"),
        (formats.p_value, 0.0321, "p = 0.032"),
        (formats.p_value, 1.0, "p = 1.00"),
        (formats.p_value, 0.0499, "p = 0.0499"),
        (formats.p_value, 0.04999, "p < 0.05"),
        (formats.bits, 2.3456, "2.346"),
        (formats.bits, None, "–"),
        (formats.perplexity, 5.066, "5.07"),
        (formats.perplexity, 213.44, "213.4"),
        (formats.perplexity, 18204.3, "18,204"),
        (formats.perplexity, 1e304, "1e+304"),
        (formats.perplexity, float("inf"), "–"),
    ],
)
def test_numbers(function, value, text):
    assert function(value) == text


@given(st.floats(-1e9, 1e9), st.integers(0, 6), st.booleans())
def test_fixed_is_the_number_rounded(value, decimals, signed):
    text = formats.fixed(value, decimals, signed=signed)
    back = float(text.replace(",", "").replace("−", "-"))
    assert abs(back - value) <= 0.5 * 10**-decimals + 1e-6
    assert text[0] in ("−" if back < 0 else "+" if signed and back > 0 else "0123456789")


def summary_with(**comparison):
    base = {
        "arm": "soft",
        "control": "hard",
        "delta_errors": {"mean": -23.333, "ci95": [-30.1, -16.5], "per_seed": [1, 2, 3]},
        "mcnemar_p": 0.00041,
        "gap_closed": {"errors": 0.62, "nll": 0.5},
        "verdict": "helps",
    }
    return {"data": {"test": 10000}, "teacher": {}, "arms": [], "comparisons": [base | comparison]}


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            {},
            "Distilling helps: soft makes 23.3 fewer errors of 10,000 than hard (95 % interval "
            "−30.1 to −16.5 over "
            "3 seeds, McNemar p = 0.0004); it closes 62 % of the gap to the teacher.",
        ),
        (
            {
                "verdict": "hurts",
                "delta_errors": {"mean": 4.0, "ci95": [1, 7], "per_seed": [4, 4]},
                "gap_closed": {"errors": -0.2, "nll": None},
            },
            "Distilling hurts: soft makes 4.0 more errors of 10,000 than hard (95 % interval 1.0 "
            "to 7.0 over 2 seeds, "
            "McNemar p = 0.0004); it widens the gap to the teacher by 20 %.",
        ),
        (
            {
                "verdict": "not shown",
                "delta_errors": {"mean": -4.0, "ci95": [-9.0, 1.0], "per_seed": [1, 2]},
            },
            "No difference shown: soft makes 4.0 fewer errors of 10,000 than hard (95 % interval "
            "−9.0 to 1.0 over "
            "2 seeds, McNemar p = 0.0004); the interval holds 0, so other seeds could reverse it.",
        ),
        (
            {"verdict": "not shown", "mcnemar_p": 0.2},
            "No difference shown: soft makes 23.3 fewer errors of 10,000 than hard (95 % interval "
            "−30.1 to −16.5 over "
            "3 seeds, McNemar p = 0.20); the seeds agree, but these test samples are too few to be "
            "sure.",
        ),
        (
            {
                "verdict": "not shown",
                "delta_errors": {"mean": 0.0, "ci95": None, "per_seed": [0]},
                "mcnemar_p": None,
            },
            "No difference shown: soft makes as many errors of 10,000 as hard (one seed, so no "
            "interval); one seed "
            "cannot tell the method from luck.",
        ),
        (
            {"gap_closed": {"errors": None, "nll": None}},
            "Distilling helps: soft makes 23.3 fewer errors of 10,000 than hard (95 % interval "
            "−30.1 to −16.5 over "
            "3 seeds, McNemar p = 0.0004); the teacher itself is not better than the control, so "
            "there is no gap to "
            "close.",
        ),
    ],
    ids=["helps", "hurts", "interval", "mcnemar", "one seed", "no gap"],
)
def test_headline(comparison, sentence):
    summary = summary_with(**comparison)
    assert wording.headlines(summary) == [(summary["comparisons"][0]["verdict"], sentence)]


def text_with(**comparison):
    base = {
        "arm": "soft",
        "control": "hard",
        "mcnemar_p": None,
        "p_value": 0.00041,
        "verdict": "helps",
        "delta_bits_per_byte": {
            "mean": -0.0524,
            "ci95": [-0.0611, -0.0434],
            "per_seed": [-0.05] * 5,
        },
        "delta_errors": {"mean": 9.0, "ci95": [8.0, 10.0], "per_seed": [9] * 5},
        "gap_closed": {"errors": -1.0, "nll": 0.312, "nll_ci95": [0.25, 0.37]},
    }
    arms = [
        {
            "name": "soft",
            "mean": {"bits_per_byte": 2.3412},
            "sd": {"bits_per_byte": 0.0021},
            "seeds": [],
        }
    ]
    return {
        "measure": "bits_per_byte",
        "data": {"test": 63},
        "teacher": {"test": {"bits_per_byte": 2.1}},
        "arms": arms,
        "comparisons": [base | comparison],
    }


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            {},
            "Distilling helps: soft needs 2.341 bits per byte, 0.052 fewer than hard (95 % "
            "interval −0.061 to −0.043 "
            "over 5 seeds, p = 0.0004 over stretches of the test text); it closes 31 % of the gap "
            "to the teacher.",
        ),
        (
            {
                "verdict": "hurts",
                "delta_bits_per_byte": {
                    "mean": 0.0041,
                    "ci95": [0.00123, 0.0069],
                    "per_seed": [1, 1],
                },
                "gap_closed": {"errors": 1.0, "nll": -0.2},
                "p_value": 1e-9,
            },
            "Distilling hurts: soft needs 2.341 bits per byte, 0.0041 more than hard (95 % "
            "interval 0.0012 to 0.0069 over "
            "2 seeds, p < 0.0001 over stretches of the test text); it widens the gap to the "
            "teacher by 20 %.",
        ),
        (
            {
                "verdict": "not shown",
                "delta_bits_per_byte": {"mean": -0.02, "ci95": [-0.05, 0.01], "per_seed": [1, 2]},
            },
            "No difference shown: soft needs 2.341 bits per byte, 0.020 fewer than hard (95 % "
            "interval −0.050 to 0.010 "
            "over 2 seeds, p = 0.0004 over stretches of the test text); the interval holds 0, so "
            "other seeds could "
            "reverse it.",
        ),
        (
            {"verdict": "not shown", "p_value": 0.2},
            "No difference shown: soft needs 2.341 bits per byte, 0.052 fewer than hard (95 % "
            "interval −0.061 to −0.043 "
            "over 5 seeds, p = 0.20 over stretches of the test text); the seeds agree, but this "
            "test text is too short "
            "to be sure.",
        ),
        (
            {"verdict": "not shown", "p_value": None},
            "No difference shown: soft needs 2.341 bits per byte, 0.052 fewer than hard (95 % "
            "interval −0.061 to −0.043 "
            "over 5 seeds); the seeds agree, but this test text is too short to be sure.",
        ),
        (
            {
                "verdict": "not shown",
                "p_value": None,
                "delta_bits_per_byte": {"mean": 0.0, "ci95": None, "per_seed": [0.0]},
            },
            "No difference shown: soft needs 2.341 bits per byte, as many as hard (one seed, so no "
            "interval); one seed "
            "cannot tell the method from luck.",
        ),
        (
            {"gap_closed": {"errors": 0.5, "nll": None}},
            "Distilling helps: soft needs 2.341 bits per byte, 0.052 fewer than hard (95 % "
            "interval −0.061 to −0.043 over "
            "5 seeds, p = 0.0004 over stretches of the test text); the teacher itself is not "
            "better than the control, so "
            "there is no gap to close.",
        ),
        (
            {"gap_closed": {"errors": 0.5, "nll": 1.1}},
            "Distilling helps: soft needs 2.341 bits per byte, 0.052 fewer than hard (95 % "
            "interval −0.061 to −0.043 over "
            "5 seeds, p = 0.0004 over stretches of the test text); it closes 110 % of the gap to "
            "the teacher, so it needs "
            "fewer bits than the teacher.",
        ),
    ],
    ids=["helps", "hurts", "interval", "p", "no p", "one seed", "no gap", "past the teacher"],
)
def test_headline_of_text(comparison, sentence):
    summary = text_with(**comparison)
    assert wording.headlines(summary) == [(summary["comparisons"][0]["verdict"], sentence)]


def test_text_without_a_comparison():
    summary = text_with() | {"comparisons": []}
    found = "soft needs 2.341 ± 0.002 bits per byte of test text"
    assert wording.headlines(summary) == [
        ("none", f"Nothing to compare: {found}, and no other arm was trained.")
    ]
    alone = wording.headlines(summary | {"arms": []})
    assert alone == [("none", "The teacher alone: 2.100 bits per byte of test text.")]


def test_labels_alone_are_not_called_distilling():
    summary = summary_with()
    summary["arms"] = [{"name": "soft", "control": True, "seeds": [], "mean": {}}]
    assert wording.headline(summary["comparisons"][0], summary).startswith(
        "It helps: soft makes 23.3 fewer errors"
    )


def test_the_choice_counts_arms_not_comparisons(text_run):
    summary = load_summary(text_run)
    assert len(summary["comparisons"]) == 3
    assert wording.choice(summary).startswith(
        "Of the 2 arms with a control, soft has the fewest bits per byte on the validation split;"
    )
    summary["comparisons"] = [c for c in summary["comparisons"] if c["arm"] == "soft"]
    assert wording.choice(summary) == "", "one arm, two controls: nothing was chosen"


def test_the_main_comparison_comes_first(full_run):
    summary = load_summary(full_run)
    assert [c["arm"] for c in summary["comparisons"]] == ["soft", "soft + shifts"]
    first, second = wording.headlines(summary)
    assert "soft + shifts makes" in first[1]
    assert "soft makes" in second[1]


def test_no_comparison_still_has_a_headline(full_run):
    summary = load_summary(full_run) | {"comparisons": []}
    assert wording.headlines(summary) == [
        ("none", "No comparison: none of the 4 arms is paired with a control.")
    ]
    summary["arms"] = summary["arms"][:1]
    arm = summary["arms"][0]
    shown = f"{arm['mean']['errors']:.1f} ± {arm['sd']['errors']:.1f}"
    assert f"hard makes {shown} errors of 600" in wording.headlines(summary)[0][1]


def test_objective_in_words():
    soft = {
        "hard_weight": 0.1,
        "soft_weight": 0.9,
        "temperature": 4.0,
        "soft": "kl",
        "scale_by_t2": False,
    }
    assert (
        wording.objective(soft)
        == "hard_weight 0.1, soft_weight 0.9, temperature 4, soft kl, not scaled by T²"
    )
    assert wording.objective({**soft, "hard_weight": 1, "soft_weight": 0}) == "labels only"
    assert wording.objective({}) == "–"


def test_objective_names_what_is_not_the_default():
    """Of labels, of the newer soft losses, and of layers that guide."""
    guide = {"kind": "hint", "student": "a.1", "teacher": "b", "weight": 2.0}
    settings = {
        "hard_weight": 1.0,
        "soft_weight": 0.0,
        "hard": "cross_entropy",
        "class_weights": "balanced",
    }
    assert wording.objective(settings) == "labels only, class weights balanced"
    guided = settings | {"features": [guide], "class_weights": None, "hard": "squared_error"}
    assert (
        wording.objective(guided) == "hard_weight 1, hint a.1 from b (weight 2), hard squared_error"
    )
    soft = {
        "soft_weight": 1.0,
        "temperature": 4.0,
        "soft": "dkd",
        "target_weight": 1.0,
        "nontarget_weight": 8.0,
    }
    found = wording.objective(settings | soft | {"standardise": True, "class_weights": [1.0, 2.5]})
    assert found == (
        "hard_weight 1, soft_weight 1, temperature 4, soft dkd, target_weight 1, nontarget_weight "
        "8, standardised, "
        "class weights 1 2.5"
    )
    settings = {
        "soft_weight": 0.5,
        "hard_weight": 0.5,
        "temperature": 1.0,
        "soft": "jensen_shannon",
    }
    found = wording.objective(
        settings | {"teacher_share": 0.3, "label_smoothing": 0.1, "shuffled": True}
    )
    assert found == (
        "hard_weight 0.5, soft_weight 0.5, temperature 1, soft jensen_shannon, teacher_share 0.3, "
        "shuffled teacher, "
        "label_smoothing 0.1"
    )
    unset = {"teacher_share": 0.5, "label_smoothing": 0.0, "shuffled": False, "soft": "kl"}
    assert (
        wording.objective(settings | unset)
        == "hard_weight 0.5, soft_weight 0.5, temperature 1, soft kl"
    )
    labels = {"hard_weight": 1.0, "soft_weight": 0.0, "label_smoothing": 0.1}
    assert wording.objective(labels) == "labels only, label_smoothing 0.1"
