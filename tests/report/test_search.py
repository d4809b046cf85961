"""The search for a student in words: the budget, the choice and its price."""

from dataclasses import replace

import pytest
from support.searches import make_search, make_trial
from support.summaries import make_arm, make_control, make_summary

from limbeck.report.search import (
    cost_axis,
    describe_latency,
    describe_round,
    front_heading,
    front_rows,
    latency_models,
    limits_text,
    price_of_choosing,
    search_sentences,
)

TRIALS = (
    make_trial(0, 0.5, 20),
    make_trial(1, 0.2, 30),
    make_trial(2, 1.4, None, "over budget"),
    make_trial(3, 0.9, 10),
    make_trial(4, 0.8, None, "failed"),
)
SUMMARY = make_summary([make_control("control", [60, 62]), make_arm("distilled", [40, 44], val=15)])


@pytest.fixture
def search():
    return make_search(*TRIALS, choice=3, size=1000)


def test_the_sentences_say_what_was_limited_chosen_and_paid(search):
    extent, choice, price = search_sentences(search, SUMMARY)
    assert extent == (
        "Budget: size 1.0 kB (fp32). 4 students trained in 1 min 07 s, 1 of them diverged; "
        "1 proposal was over the budget and not trained."
    )
    assert choice == (
        "Chosen student: mlp3, 1,234 parameters, 900 B. It has the best result on validation: "
        "10 errors of 200 samples."
    )
    assert price == (
        "Price of choosing: 10 of 200 (5.0 %) on validation in the search, the best of 3; 15 of "
        "200 (7.5 %) on validation with 2 fresh seeds (mean); 42 of 500 (8.4 %) on the test split, "
        "which the search has not seen."
    )


def test_a_goal_that_is_met_and_one_that_is_not_have_sentences_of_their_own():
    met = make_search(*TRIALS, choice=0, errors=20)
    assert "the cheapest student tried with at most 20 errors on validation: 20 of" in "".join(
        search_sentences(met, SUMMARY)
    )
    missed = make_search(*TRIALS, choice=3, errors=5)
    sentence = search_sentences(missed, SUMMARY)[1]
    assert (
        "No student makes at most 5 errors on validation; this one is nearest with 10" in sentence
    )


def test_a_search_that_goes_on_has_no_sentences(search):
    assert search_sentences(replace(search, choice=None), SUMMARY) == []


def test_without_a_distilled_arm_there_is_no_price(search):
    summary = make_summary([make_control("control", [60, 62])])
    assert price_of_choosing(search, summary) == ""
    assert len(search_sentences(search, summary)) == 2


def test_other_measures_have_no_shares(search):
    search = replace(
        search, measure="squared_error", trials=(make_trial(0, 0.5, 0.05213),), choice=0
    )
    sentence = search_sentences(search, make_summary([]))[1]
    assert "0.05213 squared error of 200 samples" in sentence


def test_all_limits_and_the_device_are_named():
    search = make_search(size=2e4, latency=0.1, memory=8e7, errors=7)
    search = replace(search, device="Cortex-A53", precision="int8")
    assert limits_text(search) == (
        "size 20 kB, latency 0.1 ms, memory 80 MB, 7 errors on validation (int8) on Cortex-A53"
    )


def test_a_round_is_described_in_one_line(search):
    assert describe_round(search, 8) == (
        "search: 4 of up to 8 students trained, 1 proposal over the budget; best: mlp3 with 10 "
        "errors on validation, 900 B"
    )
    assert describe_round(make_search(make_trial(0, 1, None, "failed")), None) == (
        "search: 1 student trained"
    )


def test_proposals_that_are_too_costly_are_counted():
    costly = [make_trial(number, 0.6, None, "too costly") for number in (1, 2)]
    search = make_search(make_trial(0, 0.5, 20), *costly, choice=0, errors=30)
    assert describe_round(search, None).startswith("search: 1 student trained, 2 too costly; best:")
    assert search_sentences(search, make_summary([]))[0].endswith(
        "; 2 proposals needed no less than a student that met the goal, and were not trained."
    )
    search = make_search(make_trial(0, 0.5, 20), costly[0], choice=0, errors=30)
    assert (
        "1 proposal needed no less than a student that met the goal, and was not trained."
        in (search_sentences(search, make_summary([]))[0])
    )


def test_the_front_is_a_table_with_what_was_measured(search):
    assert front_heading(search) == [
        "Student",
        "Settings",
        "Validation errors",
        "Size",
        "Multiply-adds",
        "Parameters",
    ]
    rows = front_rows(search)
    assert [row[0] for row in rows] == ["mlp1", "mlp0", "mlp3\nchosen"]
    assert rows[0][1:] == ["T = 4.2, soft 0.9, lr 0.012", "30", "200 B", "1,200", "1,234"]
    timed = make_search(make_trial(0, 0.5, 20, latency=0.0123, memory=6e7), latency=1)
    assert front_heading(timed)[4:6] == ["Latency", "Memory"]
    assert front_rows(timed)[0][4:6] == ["0.012 ms", "60 MB"]


def test_the_cost_is_the_limited_quantity_or_the_share_of_several():
    trial = make_trial(0, 0.5, 20, latency=0.25)
    assert cost_axis(make_search(trial, latency=0.5)).value(trial) == 0.25
    assert cost_axis(make_search(trial, latency=0.5)).limit == 0.5
    both = cost_axis(make_search(trial, latency=0.5, size=2000))
    assert (both.value(trial), both.limit, both.text(0.5)) == (0.5, 1.0, "50 %")
    assert cost_axis(make_search(trial, errors=9)).value(trial) == 500
    assert cost_axis(make_search(trial, errors=9)).limit is None


def test_students_that_could_not_be_built_were_not_trained():
    unusable = make_trial(5, 1.0, None, "failed", params=0)
    extent, *_ = search_sentences(make_search(*TRIALS, unusable, choice=3, size=1000), SUMMARY)
    assert "4 students trained in 1 min 07 s, 1 of them diverged; 1 proposal could not be" in extent


def test_the_latency_model_and_its_error_are_described():
    trials = [
        make_trial(number, 0.1, 9, latency=0.004 + 1e-6 * macs, macs=macs, params=100)
        for number, macs in enumerate((1e3, 5e3, 2e4, 1e5, 3e5, 1e6))
    ]
    slow = make_trial(6, 9.0, None, "over budget", latency=100.0, macs=1e8, is_predicted=True)
    models = latency_models(make_search(*trials, slow, latency=1.0))
    assert list(models) == ["mlp"]
    sentence = describe_latency("mlp", models["mlp"])
    assert sentence.startswith("Latency of mlp: 0.004 ms + 1 ms per million multiply-adds")
    assert sentence.endswith("is off by 0 % (median of 6; at most 0 %).")
    assert "parameters" not in sentence
    assert latency_models(make_search(*trials[1:], slow, latency=1.0)) == {}
