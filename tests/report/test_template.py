import re

from limbeck.report.palette import PALETTE
from limbeck.report.template import asset, breakable, class_name, style


def test_names_break_between_settings_and_never_inside_a_number():
    name = "soft,temperature=20,soft_weight=0.5,weights=[1,2]"
    html = breakable(name)
    assert re.sub(r"<[^>]*>", "", html) == name
    assert [re.sub(r"<[^>]*>", "", part) for part in html.split("<wbr>")] == [
        "soft,",
        "temperature=20,",
        "soft_weight=0.5,",
        "weights=[1,2]",
    ]
    assert html.count('<span class="part">') == 4
    assert breakable("1,372,242") == '<span class="part">1,372,242</span>'


def test_names_with_spaces_and_very_long_parts_may_break_anywhere():
    assert breakable("hard + shifts") == "hard + shifts"
    assert breakable("x=" + "9" * 40) == "x=" + "9" * 40
    assert breakable("<b>") == '<span class="part">&lt;b&gt;</span>'


def test_every_variable_of_the_style_sheet_is_a_colour():
    assert set(re.findall(r"var\(--([\w-]+)", asset("report.css"))) <= set(PALETTE)
    assert style().startswith(":root {")


def test_names_of_classes_break_between_their_words():
    assert class_name("golden_oyster-catcher") == "golden_<wbr>oyster-<wbr>catcher"
    assert class_name("<b> -1") == "&lt;b&gt; -<wbr>1"
