"""Arms ranked across data sets."""

import pytest
from support.compared_runs import make_run, make_text_run
from support.pages import Page

from limbeck._base.errors import ConfigError
from limbeck.report.runs.page import render
from limbeck.report.runs.rank import rank_runs
from limbeck.report.runs.sentences import ranking_headline


@pytest.fixture
def runs(tmp_path):
    return [
        make_run(tmp_path / str(number), soft=0.1, hard=0.3, digest=str(number) * 64)
        for number in range(6)
    ]


def test_an_arm_that_is_always_better_is_shown_by_the_sign_test(runs):
    ranking = rank_runs(runs)
    assert ranking.arms == ("hard", "soft")
    assert ranking.test.mean_ranks.tolist() == [2, 1]
    assert ranking.test.p_value == pytest.approx(2 / 2**6)
    assert "It is better than hard (Nemenyi's test)" in ranking_headline(ranking).text


def test_few_data_sets_are_not_enough_evidence(runs):
    headline = ranking_headline(rank_runs(runs[:3]))
    assert headline.verdict == "not shown"
    assert headline.text.startswith("Not enough evidence that the arms differ: soft has the best")


def test_the_page_has_the_ranks_and_their_figure(runs):
    page = Page(render(rank_runs(runs)))
    assert page.tables["ranks"][-1] == ["mean rank", "2.00", "1.00"]
    assert page.figures == ["ranks"]


def test_two_runs_of_one_data_set_among_others_are_refused(runs, tmp_path):
    again = make_run(tmp_path / "again", digest="0" * 64)
    with pytest.raises(ConfigError, match="have the same data"):
        rank_runs([*runs, again])


def test_runs_without_common_arms_are_refused(runs, tmp_path):
    text, _ = make_text_run(tmp_path / "text", 1.0, digest="f" * 64)
    with pytest.raises(ConfigError, match=r"at least 2 arms of the same names \(0: hard, soft"):
        rank_runs([*runs, text])
