"""Standard streams that are closed, full, or whose reader has gone."""

import os
import subprocess
import sys

import pytest
from support.commands import SOURCE

PREPARE = """
import os, sys
from limbeck._base.streams import prepare_standard_streams
prepare_standard_streams()
"""
RECIPES = [sys.executable, "-m", "limbeck", "recipes"]
NO_RUN = [sys.executable, "-m", "limbeck", "resume", "nowhere"]


def execute(words, redirection="", **options):
    """Run a command whose standard streams a shell has redirected."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *words],
        env={**os.environ, "PYTHONPATH": SOURCE},
        timeout=60,
        check=False,
        **options,
    )


def python(code):
    """Words of a command that prepares its streams and then runs code."""
    return [sys.executable, "-c", PREPARE + code]


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    script = python(
        "sys.stdout.write('lost'); print('lost', file=sys.stderr); sys.stdin.read()\n"
        "with open('file', 'w') as file:\n"
        "    file.write(str(file.fileno()))\n"
        "    os.write(2, b'a message of a library')\n"
    )
    assert execute(script, "<&- >&- 2>&-", cwd=tmp_path).returncode == 0
    number = (tmp_path / "file").read_text()
    assert int(number) > 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_verb_runs_without_standard_streams(closed, tmp_path):
    assert execute(RECIPES, closed, cwd=tmp_path, capture_output=True).returncode == 0
    assert execute(NO_RUN, closed, cwd=tmp_path, capture_output=True).returncode == 2


@pytest.mark.parametrize("target", ["2>/dev/full", "2>&1 | true"])
def test_messages_that_nobody_can_read_end_no_process(target, tmp_path):
    code = """
for _ in range(3):
    print('x' * 100_000, file=sys.stderr, flush=True)
open('end', 'w').close()
"""
    execute(python(code), target, cwd=tmp_path)
    assert (tmp_path / "end").exists()


def test_messages_keep_their_encoding_and_escape_the_rest():
    process = execute(python("print('\\u00e9\\udcff', file=sys.stderr)"), capture_output=True)
    assert process.stderr.decode() == "\u00e9\\udcff\n"


def test_a_reader_that_goes_away_is_left_to_the_program():
    code = """
from limbeck._base.console import OutputConsole
try:
    OutputConsole().print('x')
except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(5)
"""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as pipe:
        assert execute(python(code), stdout=pipe).returncode == 5
