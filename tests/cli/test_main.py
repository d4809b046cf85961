"""Help, version, recipes and start-up: verbs that need no PyTorch do not import it."""

import os
import re
import subprocess
import sys
from importlib import import_module

import pytest
from PIL import Image
from support.commands import SOURCE, run

import limbeck
from limbeck.cli.config.compose import compose
from limbeck.cli.config.groups import GROUPS, choices
from limbeck.cli.main import main, parsers

LIGHT_VERBS = [
    "--help",
    "--version",
    "recipes",
    "store list --folder stores",
    "run --cfg job",
    "report run",
    "verify bundle",
    "predict bundle image.png",
]
SCRIPT = """
import sys
from limbeck.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
assert code == 0, code
print(*sys.modules)
"""


def modules_of(words, cwd):
    """Names of the modules that a verb imports in a new process."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert process.returncode == 0, process.stderr
    return set(process.stdout.splitlines()[-1].split())


@pytest.fixture(scope="module")
def files(tmp_path_factory, mlp_run, mlp_bundle):
    """A folder with a run, a bundle and an image."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "run").symlink_to(mlp_run)
    (folder / "bundle").symlink_to(mlp_bundle)
    Image.new("L", (10, 12)).save(folder / "image.png")
    (folder / "matplotlibrc").write_bytes(b"\xff\x00")  # no verb reads Matplotlib's settings
    return folder


@pytest.mark.parametrize("command", LIGHT_VERBS)
def test_light_verbs_do_not_import_torch(files, command):
    modules = modules_of(command.split(), files)
    assert "limbeck.cli.main" in modules
    assert not {"torch", "lightning", "lightning_fabric", "torchvision"} & modules


def test_the_help_imports_nothing_heavy(tmp_path):
    modules = modules_of(["--help"], tmp_path)
    assert not {"hydra", "numpy", "rich", "matplotlib", "yaml"} & modules


def test_the_help_lists_verbs_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: limbeck")
    for word in ("run", "train", "resume", "report", "recipes", "verify", "exit codes"):
        assert word in out


@pytest.mark.parametrize("verb", sorted(parsers()[1]))
def test_every_verb_has_a_description(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    usage, description = capsys.readouterr().out.split("\n\n")[:2]
    assert usage.startswith(f"usage: limbeck {verb}")
    assert len(description.split()) >= 3


@pytest.mark.parametrize("verb", ["export", "demo", "sample"])
def test_the_help_of_a_verb_lists_its_settings(verb, capsys):
    settings = import_module(f"limbeck.cli.{verb}").SETTINGS
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    out = capsys.readouterr().out
    for setting in settings.values():
        assert f"{setting.example} " in out
        assert setting.meaning in out


@pytest.mark.parametrize("verb", ["run", "train", "distill"])
def test_the_help_shows_the_groups_and_the_main_settings(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    out = capsys.readouterr().out
    for group in GROUPS:
        assert re.search(rf"^  {group} ", out, re.MULTILINE), group
    for name in choices("data"):
        assert name in out
    settings = re.findall(r"^  ([a-z._]+=\S+)  ", out, re.MULTILINE)
    assert len(settings) >= 20
    config = compose(["data=mnist", *settings])
    assert config.optimizer.lr == 0.001
    assert config.teacher["from"] == "RUN"


@pytest.mark.parametrize(
    ("words", "is_terminal", "expected"),
    [
        (["run", "epochs=0"], True, True),
        (["run", "epochs=0"], False, False),
        (["report", "nowhere"], True, False),
        (["export", "nowhere"], True, True),
    ],
)
def test_a_terminal_shows_a_line_before_pytorch_is_imported(
    words, is_terminal, expected, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    assert main(words) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert (first == f"limbeck {limbeck.__version__}: loading PyTorch") == expected


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"limbeck {limbeck.__version__}\n"


def test_recipes_are_listed_with_descriptions(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {"digits", "mnist"}
    assert all(len(line.split()) > 3 for line in lines)


def test_recipes_fit_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["recipes"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_settings_may_stand_on_both_sides_of_an_option(capsys):
    assert main(["run", "epochs=7", "--cfg", "job", "seeds=3"]) == 0
    out = capsys.readouterr().out
    assert "\nepochs: 7\n" in out
    assert "\nseeds: 3\n" in out


@pytest.mark.parametrize(
    "arguments", [[], ["runn"], ["run", "--nope"], ["resume"], ["run", "--cfg", "all"]]
)
def test_unknown_verbs_and_options_show_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: limbeck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted."),
        (MemoryError(), 6, "Memory ran out. Lower batch_size or seeds."),
        (ImportError("libtorch_cpu.so: failed to map segment"), 6, "('ulimit -v')."),
        (RuntimeError("could not create a primitive"), 6, "(could not create a primitive)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 6, "Memory ran out ("),
        (RuntimeError("unable to open file <a>: Too many open files (24)"), 6, "open file <a>"),
        (OSError(12, "Cannot allocate memory"), 6, "Memory ran out: [Errno 12]"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), 6, "set TMPDIR"),
        (OSError(28, "No space left on device"), 6, "The disk is full"),
        (OSError(27, "File too large"), 6, "Raise the limit ('ulimit -f') and try again."),
        (OSError(24, "Too many open files"), 6, "Raise the limit ('ulimit -n') and try again."),
        (OSError(5, "Input/output error", "there"), 6, "The disk reports an error"),
        (OSError(13, "Permission denied", "there"), 2, "there cannot be written"),
        (OSError(20, "Not a directory", "there"), 2, "Cannot create the folder there"),
    ],
)
def test_errors_of_the_system_are_explained(monkeypatch, capsys, error, code, message):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr("limbeck.cli.config.compose.compose", fail)
    assert main(["run"]) == code
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminal_that_is_not_utf8_shows_escapes(quick_run, tmp_path):
    folder = tmp_path / "größe"
    folder.symlink_to(quick_run)
    code, out, _ = run("report", str(folder), cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert code == 0
    assert out.endswith("gr\\xf6\\xdfe/report.html\n")


@pytest.mark.slow
def test_a_terminal_of_no_width_shows_the_table(quick_run, tmp_path):
    _, expected, _ = run("report", str(quick_run), cwd=tmp_path, COLUMNS="80")
    code, out, _ = run("report", str(quick_run), cwd=tmp_path, COLUMNS="0", LINES="0")
    assert code == 0
    assert out == expected


def test_other_errors_keep_their_traceback(monkeypatch):
    def fail(*arguments, **settings):
        raise OSError("no number")

    monkeypatch.setattr("limbeck.cli.config.compose.compose", fail)
    with pytest.raises(OSError, match="no number"):
        main(["run"])


@pytest.mark.parametrize("words", [["run"], ["recipes"], ["resume", "there"], ["report", "there"]])
def test_a_deleted_working_directory_is_named(tmp_path, monkeypatch, capsys, words):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(words) == 2
    assert "The working directory no longer exists" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["report", "resume"])
def test_a_folder_whose_name_begins_with_a_dash(verb, capsys):
    assert main([verb, "--", "-run"]) == 2
    assert "-run " in capsys.readouterr().err  # a message about this folder, not about options
