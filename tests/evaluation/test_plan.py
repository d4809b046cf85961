"""Plans of larger studies."""

import pytest
from support.summaries import make_arm, make_comparison, make_control, make_metrics, make_summary

from limbeck._base.errors import ConfigError
from limbeck.evaluation.plan import plan_study
from limbeck.evaluation.power import needed
from limbeck.evaluation.statistics import CrossedTest, Variances
from limbeck.run.comparison import Delta, VarianceParts
from limbeck.run.summary import TeacherResult

PARTS = VarianceParts(seeds=20.0, samples=60.0, residual=8.0, number_of_samples=500)


def pilot(mean=-10.0, variances=PARTS, seeds=3, **fields):
    comparison = make_comparison(
        "soft",
        "hard",
        delta_errors=Delta(mean=mean, ci95=(-30.0, 5.0), per_seed=(mean,) * seeds),
        variances=variances,
        main=True,
    )
    arms = [make_arm("soft", [20] * 3), make_control("hard", [30] * 3)]
    return make_summary(arms, [comparison], **fields)


def test_the_plan_agrees_with_the_seeds_that_a_report_asks_for():
    plan = plan_study(pilot())
    variances = Variances(PARTS.seeds, PARTS.samples, PARTS.residual)
    want = needed(CrossedTest(-10.0, None, 0.3, 1.0, 5.0, variances), seeds=3, samples=500)
    assert plan.enough[0] == want.seeds
    assert plan.power[plan.seeds.index(3)][0] == pytest.approx(want.power)
    assert plan.effect == 10.0


def test_power_grows_with_seeds_samples_and_effect():
    small, large = plan_study(pilot(), effect="1%"), plan_study(pilot(), effect=20)
    assert small.effect == 5.0
    for plan in (small, large):
        for row, next_row in zip(plan.power, plan.power[1:], strict=False):
            assert all(a <= b + 1e-9 for a, b in zip(row, next_row, strict=True))
        assert all(list(row) == sorted(row) for row in plan.power)
    assert small.power < large.power


def test_the_power_within_a_margin_is_that_of_the_side_that_matters():
    """The other side of a two-sided test adds little."""
    two_sided, one_sided = plan_study(pilot(), effect=20), plan_study(pilot(), margin=20)
    assert one_sided.is_margin
    for first, second in zip(two_sided.power, one_sided.power, strict=True):
        assert all(a - 0.01 < b <= a for a, b in zip(first, second, strict=True))


def test_rows_hold_the_pilot_and_no_single_seed():
    assert plan_study(pilot()).seeds == (3, 5, 10, 20, 50)


@pytest.mark.parametrize(
    ("summary", "options", "message"),
    [
        (make_summary(), {}, "compares no arms"),
        (pilot(variances=None), {}, "no estimate of its variance"),
        (pilot(mean=0.0), {}, "saw no difference"),
        (pilot(), {"arm": "x"}, "Arms with a control: soft"),
        (pilot(), {"effect": 1, "margin": 2}, "Choose one"),
        (pilot(), {"effect": "0"}, r"effect='0' is not a difference above 0.*effect=20"),
        (pilot(), {"margin": "600"}, "margin=600 is as large as the test split"),
        (pilot(), {"margin": "0.5%"}, "less than 3.7 errors"),
        (pilot(seeds=0), {"effect": 5}, "no estimate of its variance"),
        (
            pilot(teacher=TeacherResult(name="net", params=1, test=make_metrics(50))),
            {"margin": "10%gap"},
            "the teacher is no better",
        ),
    ],
)
def test_what_cannot_be_planned(summary, options, message):
    with pytest.raises(ConfigError, match=message):
        plan_study(summary, **options)
