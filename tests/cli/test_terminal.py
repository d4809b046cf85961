"""What people read in a terminal holds no control characters of names and files."""

import warnings
from contextlib import suppress

import pytest

from limbeck._base.errors import LimbeckWarning
from limbeck.cli.main import main
from limbeck.cli.terminal import show_warnings_in_one_line, text_table

HOSTILE = "\x1b[2J\x1b[31mred\u202e[red]x[/red]"
HARMLESS = "\\x1b[2J\\x1b[31mred\\u202e[red]x[/red]"


@pytest.mark.parametrize(
    "words",
    [
        ["report", HOSTILE],
        ["resume", HOSTILE],
        ["run", HOSTILE],
        ["run", f"recipe={HOSTILE}"],
        ["run", "quick=true", f"student.{HOSTILE}=1"],
        ["store", "list", "--folder", HOSTILE],
        ["store", "verify", HOSTILE],
        ["store", f"--{HOSTILE}"],
        [HOSTILE],
        ["predict", HOSTILE, HOSTILE],
    ],
)
def test_messages_show_arguments_as_escapes(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with suppress(SystemExit):  # argparse
        main(words)
    out = "".join(capsys.readouterr())
    assert out.replace("\n", "").isprintable(), out
    assert "Traceback" not in out


def test_recipes_with_escapes_in_their_description(tmp_path, capsys):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "mine\u202e.yaml").write_text(f"# {HOSTILE}\nepochs: 1\n", encoding="utf-8")
    assert main(["recipes", "--config-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert HARMLESS in out
    assert out.replace("\n", "").isprintable()


def test_warnings_show_names_as_escapes(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    show_warnings_in_one_line()
    text = warnings.formatwarning(LimbeckWarning(f"{HOSTILE}\nerror: b"), LimbeckWarning, "f", 1)
    assert text == f"warning: {HARMLESS}\n  error: b\n"


def test_columns_are_aligned_also_below_wide_letters():
    rows = [["run", "errors"], ["数字", "7"], ["digits", "12"]]
    assert text_table(rows, names=1) == "run     errors\n数字         7\ndigits      12"
    assert text_table([["a", "b"], ["long", ""]], names=2) == "a     b\nlong"
