"""The words and the table of a plan."""

from dataclasses import replace

from support.summaries import make_arm, make_comparison, make_control, make_summary

from limbeck.evaluation.plan import Plan
from limbeck.report.plan import plan_cost, plan_sentence, plan_table

COMPARISON = make_comparison("soft", "hard", main=True)
SUMMARY = make_summary([make_arm("soft", [20] * 3), make_control("hard", [30] * 3)], [COMPARISON])
PLAN = Plan(
    comparison=COMPARISON,
    effect=10.0,
    is_margin=False,
    seeds=(3, 5),
    factors=(1, 2),
    power=((0.5, 0.75), (0.625, 1.0)),
    enough=(None, 4),
)


def test_the_table_has_a_row_for_each_number_of_seeds_and_what_is_enough():
    assert plan_table(PLAN, SUMMARY) == [
        ["seeds", "500 samples", "1,000 samples"],
        ["3", "50 %", "75 %"],
        ["5", "62 %", "100 %"],
        ["for 80 %", "over 100 seeds", "4 seeds"],
    ]


def test_the_sentence_asks_what_the_table_answers():
    effect = plan_sentence(PLAN, SUMMARY)
    assert "The probability of a verdict if the real difference is 10.0 errors:" in effect
    margin = plan_sentence(replace(PLAN, is_margin=True), SUMMARY)
    assert "If soft is as good as hard" in margin
    assert "not worse by 10.0 errors:" in margin


def test_the_cost_of_a_seed_is_that_of_the_pilot():
    seconds = replace(SUMMARY.seconds, training=30.0)
    text = plan_cost(replace(SUMMARY, seconds=seconds))
    assert text.startswith(
        "One more seed of all arms takes about 10 s of training, as in the pilot"
    )
    assert "rough" in plan_cost(replace(SUMMARY, arms=()))
