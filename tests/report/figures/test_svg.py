import re

import pytest
from support.summaries import make_sweep

from limbeck.report.figures.by_two_settings import by_two_settings
from limbeck.report.figures.results_by_arm import results_by_arm


@pytest.fixture(scope="module")
def drawings():
    summary = make_sweep()
    return [results_by_arm(summary).svg, by_two_settings(summary).svg]


def test_a_drawing_is_reproducible(drawings):
    assert results_by_arm(make_sweep()).svg == drawings[0]


def test_ids_of_different_figures_do_not_clash(drawings):
    ids = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in drawings]
    assert all(len(own) > 10 for own in ids)
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_references_stay_inside_the_drawing(drawings):
    for svg in drawings:
        ids = set(re.findall(r'\sid="([^"]+)"', svg))
        references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)
        assert references
        assert {a or b for a, b in references} <= ids


def test_a_drawing_describes_itself_and_has_no_metadata(drawings):
    for svg in drawings:
        name = re.match(r'<svg role="img" aria-labelledby="(\w+)-title" data-figure="\1" ', svg)
        assert re.search(rf'><title id="{name[1]}-title">[^<]{{20,}}</title>', svg)
        assert "metadata" not in svg


def test_every_colour_of_a_drawing_follows_the_page(drawings):
    for svg in drawings:
        styles = " ".join(re.findall(r'style="([^"]*)"', svg))
        assert not re.search(r"#[0-9a-f]{6}", re.sub(r"var\(--[\w-]+, #[0-9a-f]{6}\)", "", styles))
