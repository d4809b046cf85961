import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console
from support.report_runs import load_summary

from limbeck.report.terminal import print_summary


def printed(run_or_summary, width: int, **options) -> str:
    summary = run_or_summary if isinstance(run_or_summary, dict) else load_summary(run_or_summary)
    file = io.StringIO()
    print_summary(summary, Console(file=file, width=width, **options))
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("run", ["full_run", "small_run", "hostile_run", "text_run"])
def test_never_wider_than_the_console(run, width, request):
    text = printed(request.getfixturevalue(run), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("run", ["full_run", "small_run"])
def test_every_arm_has_its_row(run, width, request):
    summary = load_summary(request.getfixturevalue(run))
    table = printed(summary, width).split("\narm ", 1)[1].splitlines()
    for arm in summary["arms"]:
        (row,) = [line for line in table if line.startswith(arm["name"] + "  ")]
        sd = arm["sd"]["errors"]
        errors = (
            f"{arm['mean']['errors']:.0f}"
            if sd is None
            else f"{arm['mean']['errors']:.1f} ± {sd:.1f}"
        )
        assert errors in row
        assert f"{100 * arm['mean']['accuracy']:.2f}" in row
        assert f"{arm['mean']['nll']:.4f}" in row


def test_the_columns_of_text(text_run):
    summary, text = load_summary(text_run), printed(text_run, 120)
    head, *rows = text.split("\narm ", 1)[1].splitlines()
    assert re.split(r"\s{2,}", head.strip()) == [
        "bits/byte",
        "perplexity",
        "nats/token",
        "top-1 %",
        "ECE",
        "agree %",
        "KL",
        "time",
    ]
    for arm in summary["arms"]:
        (row,) = [line for line in rows if line.startswith(arm["name"] + "  ")]
        mean = arm["mean"]
        assert row.split()[1:] == [
            f"{mean['bits_per_byte']:.3f}",
            "±",
            f"{arm['sd']['bits_per_byte']:.3f}",
            f"{mean['perplexity']:.2f}",
            f"{mean['nll']:.4f}",
            f"{100 * mean['accuracy']:.2f}",
            f"{mean['ece']:.4f}",
            f"{100 * mean['agreement']:.2f}",
            f"{mean['kl_to_teacher']:.4f}",
            "42",
            "s",
        ]
    assert (
        "960 test tokens (3,840 bytes) of python topics, 3 seeds (mean ± sd), 8 min 23 s in all."
        in text
    )


def test_a_narrow_table_of_text_keeps_what_decides(text_run):
    narrow = printed(text_run, 34)
    head = narrow.split("\narm ", 1)[1].splitlines()[0]
    assert head.split() == ["bits/byte"]
    assert "Left out for width: KL to teacher" in " ".join(narrow.split())


def test_the_best_arm_of_text_is_bold(text_run):
    summary = load_summary(text_run)
    summary["arms"][1]["mean"]["errors"] += 1000
    shown = printed(summary, 120, force_terminal=True, color_system="standard").splitlines()
    bold = [line for line in shown if line.startswith("\x1b[1m")]
    assert [
        re.sub(r"\x1b\[\d+m", "", line).split()[0] for line in bold if "arm" not in line.split()[0]
    ] == ["soft"]


def test_hostile_names_are_no_markup(hostile_run):
    table = printed(hostile_run, 140).split("\narm ", 1)[1]
    for arm in load_summary(hostile_run)["arms"]:
        assert f"\n{arm['name']} " in table


def test_verdict_warnings_table_in_that_order(full_run):
    text = printed(load_summary(full_run) | {"warnings": ["mind [bold]this"]}, 140)
    assert (
        text.index("Distilling helps: soft + shifts")
        < text.index("warning: mind [bold]this")
        < text.index("\narm ")
    )
    assert text.index("Distilling helps: soft + shifts") < text.index(
        "Distilling helps: soft makes"
    )


def test_wide_shows_all_columns_and_narrow_says_what_it_left_out(full_run):
    wide, narrow = printed(full_run, 140), printed(full_run, 50)
    assert all(head in wide for head in ("errors", "acc. %", "NLL", "ECE", "agree %", "KL", "time"))
    assert "Left out" not in wide
    assert "Left out for width: KL to teacher" in " ".join(narrow.split())
    assert "KL " not in narrow.split("\narm ", 1)[1].splitlines()[0]


def test_without_a_teacher_there_is_no_teacher_row(small_run):
    text = printed(small_run, 80)
    assert "\nteacher" not in text
    assert "agree" not in text


def test_colour_only_in_a_terminal(full_run):
    assert "\x1b[" in printed(full_run, 80, force_terminal=True, color_system="standard")


def test_an_ascii_terminal_gets_ascii(full_run):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_summary(load_summary(full_run), Console(file=file, width=80))
    file.flush()
    assert b"+-" in file.buffer.getvalue()
