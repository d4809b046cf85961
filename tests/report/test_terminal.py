import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console
from support.summaries import make_arm, make_control, make_text_summary

from limbeck._base.printable import printable
from limbeck.report.terminal import print_summary
from limbeck.run.folder import RunFolder
from limbeck.run.summary import Summary, read_summary


def summary_of(run) -> Summary:
    return read_summary(RunFolder(run))


def printed(summary: Summary, width: int, **options) -> str:
    file = io.StringIO()
    print_summary(summary, Console(file=file, width=width, **options))
    return file.getvalue()


def table_in(text: str) -> list[str]:
    """The lines from the heading of the results table on."""
    return text.split("\narm ", 1)[1].splitlines()


@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("run", ["full_run", "small_run", "hostile_run", "text_run"])
def test_no_line_is_wider_than_the_terminal(run, width, request):
    text = printed(summary_of(request.getfixturevalue(run)), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("run", ["full_run", "small_run"])
def test_every_arm_has_its_row(run, width, request):
    summary = summary_of(request.getfixturevalue(run))
    table = table_in(printed(summary, width))
    for arm in summary.arms:
        (row,) = [line for line in table if line.startswith(f"{arm.name}  ")]
        errors = f"{arm.mean.errors:.0f}"
        if arm.sd.errors is not None:
            errors = f"{arm.mean.errors:.1f} ± {arm.sd.errors:.1f}"
        assert errors in row
        assert f"{100 * arm.mean.accuracy:.2f}" in row
        assert f"{arm.mean.nll:.4f}" in row


def test_the_columns_of_text(text_run):
    summary = summary_of(text_run)
    text = printed(summary, 120)
    head, *rows = table_in(text)
    columns = re.split(r"\s{2,}", head.strip())
    assert columns[:5] == ["bits/byte", "perplexity", "nats/token", "top-1 %", "ECE"]
    assert columns[5:] == ["agree %", "KL", "time"]
    for arm in summary.arms:
        (row,) = [line for line in rows if line.startswith(f"{arm.name}  ")]
        mean = arm.mean
        assert re.split(r"\s{2,}", row)[1:] == [
            f"{mean.bits_per_byte:.3f} ± {arm.sd.bits_per_byte:.3f}",
            f"{mean.perplexity:.2f}",
            f"{mean.nll:.4f}",
            f"{100 * mean.accuracy:.2f}",
            f"{mean.ece:.4f}",
            f"{100 * mean.agreement:.2f}",
            f"{mean.kl_to_teacher:.4f}",
            "42 s",
        ]
    footer = (
        "960 test tokens (3,840 bytes) of python topics, 3 seeds (mean ± sd), 3 min 41 s in total."
    )
    assert footer in text


def test_a_narrow_terminal_keeps_what_decides_and_names_what_is_missing(text_run):
    narrow = printed(summary_of(text_run), 34)
    assert table_in(narrow)[0].split() == ["bits/byte"]
    text = " ".join(narrow.split())
    assert "The terminal is too narrow for: Perplexity, Nats per token, Top-1 accuracy" in text


def test_a_wide_terminal_has_all_columns(full_run):
    wide = printed(summary_of(full_run), 140)
    for heading in ("errors", "acc. %", "NLL", "ECE", "agree %", "KL", "time"):
        assert heading in table_in(wide)[0]
    assert "too narrow" not in wide


def test_the_best_arm_of_text_is_bold():
    arms = [
        make_control("hard", [10, 10], bits=[2.5, 2.4]),
        make_arm("soft", [90, 90], bits=[2.2, 2.1]),
    ]
    text = printed(make_text_summary(arms), 120, force_terminal=True, color_system="standard")
    bold = [line for line in text.splitlines() if line.startswith("\x1b[1m")]
    names = [re.sub(r"\x1b\[\d+m", "", line).split()[0] for line in bold]
    assert names == ["arm", "soft"]


def test_hostile_names_are_no_markup(hostile_run):
    summary = summary_of(hostile_run)
    table = "\n".join(table_in(printed(summary, 140)))
    for arm in summary.arms:
        assert f"\n{printable(arm.name)} " in table


def test_verdicts_come_before_warnings_and_the_table(full_run):
    summary = replace(summary_of(full_run), warnings=("mind [bold]this",))
    text = printed(summary, 140)
    parts = ["soft + shifts makes", "soft makes", "warning: mind [bold]this", "\narm "]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_without_a_teacher_there_is_no_teacher_row(small_run):
    text = printed(summary_of(small_run), 80)
    assert "\nteacher" not in text
    assert "agree" not in text


def test_colour_is_for_terminals_only(full_run):
    summary = summary_of(full_run)
    assert "\x1b[" in printed(summary, 80, force_terminal=True, color_system="standard")
    assert "\x1b[" not in printed(summary, 80)


def test_an_ascii_terminal_gets_ascii(full_run):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_summary(summary_of(full_run), Console(file=file, width=80))
    file.flush()
    assert b"+-" in file.buffer.getvalue()
