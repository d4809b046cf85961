from dataclasses import replace

from support.summaries import make_arm, make_comparison, make_metrics, make_summary

from limbeck.report.adjusted_table import NOTE, adjusted_table
from limbeck.run.summary import AdjustedResult, AdjustedSeedResult


def adjusted_result(how, errors, recall):
    metrics = make_metrics(errors)
    seed = AdjustedSeedResult(seed=0, bias=(0.0, 0.1), val=metrics, test=metrics, recall=recall)
    return AdjustedResult(how=how, seeds=(seed,), mean=metrics, sd=make_metrics(None))


def study(*results):
    arm = make_arm("soft", [9])
    seed = replace(arm.seeds[0], recall=(0.5, 0.0))
    arm = replace(arm, seeds=(seed,), absent=(1,), adjusted=results)
    comparison = make_comparison("soft", "hard", how="prior")
    return make_summary([arm], adjusted_comparisons=(comparison,))


def test_adjusted_students_stand_below_those_as_trained():
    table = adjusted_table(study(adjusted_result("prior", 4, (0.5, 0.25))))
    assert table.title == "With biases set by the class prior (no labels used)"
    assert table.heading == ["arm", "biases", "errors", "recall of absent classes"]
    assert table.rows == [
        ["soft", "as trained", "9", "0.00 %"],
        ["soft", "set by the class prior", "4", "25.00 %"],
    ]
    assert table.sentences[0].text.startswith("Distillation helps: soft makes")
    assert table.note == ""


def test_biases_chosen_on_the_test_split_are_marked():
    table = adjusted_table(study(adjusted_result("chosen on test", 3, (0.5, None))))
    assert table.rows[1][1:] == ["chosen on the test split*", "3", "–"]
    assert table.note == NOTE


def test_most_studies_set_no_constants():
    assert adjusted_table(make_summary([make_arm("soft", [9])])) is None
