"""Pages of reports in a real browser: nothing is cut off, on any screen."""

import pytest
from support.browser import open_browser
from support.report_runs import build_run

from limbeck.report.page import write_report

OVERFLOW = """
[...document.querySelectorAll("main, main *")]
  .filter((element) => !element.closest("svg, .unseen, thead"))
  .filter((element) => getComputedStyle(element).overflowX !== "auto")
  .filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
  .map((element) => `${element.tagName}.${element.className}: ${element.textContent.slice(0, 60)}`)
"""
"""The elements that are wider inside than outside, and do not scroll."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tab():
    with open_browser() as browser:
        yield browser.new_page()


def show(tab, page, width, *, dark=False):
    """Show a page in a window of a width."""
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme="dark" if dark else "light")
    tab.goto(page.resolve().as_uri())


@pytest.fixture(scope="module")
def sweep_run(tmp_path_factory):
    """Sixty arms with long names."""
    arms = [f"soft,temperature={number},objective.soft_weight=0.25" for number in range(60)]
    return build_run(tmp_path_factory.mktemp("sweep"), arms=arms, seeds=2)


@pytest.fixture(scope="module")
def hundred_run(tmp_path_factory):
    """A hundred classes with long names."""
    names = [f"white-throated nightingale {number}" for number in range(100)]
    folder = tmp_path_factory.mktemp("hundred")
    return build_run(folder, arms=("hard", "soft"), classes=100, class_names=names)


@pytest.mark.parametrize("name", ["full", "small", "text", "hostile", "sweep", "hundred"])
def test_no_page_is_wider_than_the_screen(tab, request, name):
    page = write_report(request.getfixturevalue(f"{name}_run"))
    for width in (360, 400, 700, 1200):
        show(tab, page, width)
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
        assert tab.evaluate(OVERFLOW) == [], f"at {width} pixels"


def test_figures_can_be_read_on_a_phone(tab, full_run):
    show(tab, write_report(full_run), 360)
    heights = tab.evaluate(
        '[...document.querySelectorAll(".card svg text")]'
        ".map((text) => text.getBoundingClientRect().height).filter((height) => height > 0)"
    )
    assert len(heights) > 20
    assert min(heights) >= 8
    sign = 'getComputedStyle(document.querySelector("figure:has(.card) h3"), "::after").content'
    assert "scroll" in tab.evaluate(sign)


def test_figures_are_dark_on_a_dark_page(tab, full_run):
    page = write_report(full_run)
    colours = []
    for dark in (False, True):
        show(tab, page, 800, dark=dark)
        script = 'getComputedStyle(document.querySelector("svg text")).fill'
        colours.append(
            (tab.evaluate("getComputedStyle(document.body).color"), tab.evaluate(script))
        )
    light, dark = colours
    assert light[0] == light[1] != dark[0] == dark[1]
