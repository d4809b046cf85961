"""Arguments of the command line of bundles."""

import pytest

from limbeck._base.runtime.command_line import parse, parser


@pytest.mark.parametrize(
    ("words", "paths", "texts"),
    [
        ("predict B a.csv b.csv --text x", ["a.csv", "b.csv"], ["x"]),
        ("predict B --text x a.csv", ["a.csv"], ["x"]),
        ("predict --top 2 B --text x a.csv --text y b.csv", ["a.csv", "b.csv"], ["x", "y"]),
        ("predict --text x B", [], ["x"]),
    ],
)
def test_files_may_stand_before_and_after_options(words, paths, texts):
    arguments = parse(parser("limbeck", inside=False), words.split())
    assert (str(arguments.bundle), arguments.paths, arguments.texts) == ("B", paths, texts)


def test_the_program_of_a_bundle_takes_files_alone():
    arguments = parse(parser("run.py", inside=True), ["predict", "--top", "2", "a.png", "b.png"])
    assert (arguments.paths, arguments.top) == (["a.png", "b.png"], 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict B --text x a.csv --tpo 2", "unrecognized arguments: --tpo"),
        ("verify B other", "unrecognized arguments: other"),
        ("verify B --text x", "unrecognized arguments: --text x"),
    ],
)
def test_what_no_argument_takes_is_an_error(words, message, capsys):
    with pytest.raises(SystemExit) as error:
        parse(parser("limbeck", inside=False), words.split())
    assert error.value.code == 2
    assert message in capsys.readouterr().err
