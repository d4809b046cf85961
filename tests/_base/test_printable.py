"""Control characters and turned text never reach people."""

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

import limbeck
from limbeck._base.printable import (
    cut,
    path_from_here,
    printable,
    printable_lines,
    printable_record,
)
from limbeck._base.progress import StageProgress

HOSTILE = "\x1b[2J\x1b]8;;http://evil\x07a\r\nerror: b\x85\u202ec\u2066\udcff[red]x[/red]\x00"
HARMLESS = "Ünïcödé 猫 👩‍🔬 a b 5 ± 1 − ² [x] \\ 'quote'"


@dataclass(frozen=True)
class Record:
    name: str
    parts: tuple[str, ...]
    values: dict[str, object]


def test_harmful_characters_become_escapes():
    text = printable(HOSTILE)
    assert text.isascii()
    assert text.isprintable()
    assert "\\x1b[2J" in text
    assert "\\u202ec\\u2066\\udcff[red]" in text


def test_other_characters_stay():
    assert printable(HARMLESS) == HARMLESS


def test_a_line_break_in_a_name_does_not_start_a_message():
    assert printable_lines("a\nerror: b\tc", indent="  ") == "a\n  error: b    c"


def test_every_text_of_a_record_is_harmless():
    record = Record("a\x1b", ("b\nc", "d"), {"e\u202e": ["f\x00", 1, None]})
    expected = Record("a\\x1b", ("b c", "d"), {"e\\u202e": ["f\\x00", 1, None]})
    assert printable_record(record) == expected


def test_long_texts_of_a_record_lose_their_middle():
    (text,) = printable_record(["a" * 5000 + "b" * 5000])
    assert len(text) == 2000
    assert (text[0], text[1333], text[-1]) == ("a", "\N{HORIZONTAL ELLIPSIS}", "b")
    assert printable_record("a" * 2000) == "a" * 2000
    assert cut("abcdef", 5) == "abc\N{HORIZONTAL ELLIPSIS}f"


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_names_as_they_are(terminal, tmp_path):
    with (tmp_path / "log").open("w+", encoding="utf-8", newline="") as file:
        console = Console(file=file, force_terminal=terminal, width=200, color_system=None)
        progress = StageProgress(console=console)
        progress.say(HOSTILE)
        with progress.stage(HOSTILE, 1.0) as advance:
            advance(1.0, HOSTILE)
        file.seek(0)
        text = file.read()
    assert text.count("[red]x[/red]") >= 3
    assert text.count("\\x1b[2J") >= 3
    assert not any(sequence in text for sequence in ("\x1b[2J", "\x07", "\x85", "\u202e", "\x00"))


# The code -----------------------------------------------------------------------------------------

SOURCE = Path(limbeck.__file__).parent
OUTPUTS = {
    "__main__.py",  # prints nothing but constants
    "_base/bundle_program.py",  # prints names of its own files
    "_base/progress.py",
    "_base/runtime/command_line.py",
    "_base/runtime/predict.py",  # the number of inputs, and a range
    "_base/runtime/predictions.py",
    "cli/terminal.py",
    "cli/run.py",  # prints YAML for files and pipes as it is
    "deploy/demo/server.py",
    "deploy/latency.py",  # a protocol between two processes
    "deploy/sample.py",
    "report/runs/terminal.py",
    "report/terminal.py",
}
"""The modules that print; a new one needs a look at what it prints."""


def prints(file: Path) -> bool:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                return True
            case ast.Call(func=ast.Attribute(attr="print" | "print_exc" | "print_json")):
                return True
            case ast.Call(func=ast.Attribute(value=value, attr="write" | "writelines")):
                if ast.unparse(value) in ("sys.stdout", "sys.stderr"):
                    return True
    return False


def test_only_these_modules_print():
    modules = {str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*.py") if prints(file)}
    assert modules == OUTPUTS


def test_messages_have_no_control_characters(capsys, monkeypatch):
    from limbeck.cli.terminal import fail, note, say

    monkeypatch.setenv("COLUMNS", "200")
    say(HOSTILE)
    note(HOSTILE)
    assert fail(HOSTILE, 7) == 7
    for text in capsys.readouterr():
        assert text.replace("\n", "").isprintable(), text
        assert "[red]x[/red]" in text


def test_a_path_inside_the_working_directory_is_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_from_here(tmp_path / "runs" / "a") == "runs/a"
    assert path_from_here(Path("runs/a")) == "runs/a"
    assert path_from_here(tmp_path.parent / "b") == str(tmp_path.parent / "b")
