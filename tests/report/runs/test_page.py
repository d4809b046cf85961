"""The page of a comparison."""

import pytest
from support.compared_runs import make_run
from support.pages import Page

from limbeck._base.errors import ConfigError
from limbeck.report.runs.compare import compare_runs
from limbeck.report.runs.page import check_page, render, write_page


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    names = ("a", "<script>alert(1)</script>\x1b[31m")
    return compare_runs(
        [make_run(folder / names[0]), make_run(folder / names[1].replace("/", "_"))]
    )


def test_the_page_is_self_contained_and_names_are_text(result):
    page = Page(render(result))
    assert set(page.tables) == {"results", "comparisons", "differences"}
    assert page.figures == ["errors"]
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe"}
    assert "\x1b" not in page.html
    assert "<script>" in page.text


def test_only_a_page_of_this_command_is_replaced(result, tmp_path):
    page = tmp_path / "runs.html"
    write_page(result, page)
    write_page(result, page)
    assert "limbeck comparison" in page.read_text(encoding="utf-8")
    page.write_text("<p>mine</p>", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not a page of 'limbeck compare'"):
        write_page(result, page)
    assert page.read_text(encoding="utf-8") == "<p>mine</p>"


def test_the_name_of_a_page_ends_in_html(tmp_path):
    for name, words in (("runs", r"ends in \.html"), ("x.html", "is a folder")):
        (tmp_path / "x.html").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=words):
            check_page(tmp_path / name)
