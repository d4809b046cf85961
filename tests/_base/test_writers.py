"""Files are written by ``_base/files.py`` alone, so that a file that exists is complete."""

import ast
from pathlib import Path

import pytest

import limbeck

SOURCE = Path(limbeck.__file__).parent
WRITERS = {
    "write_text",
    "write_bytes",
    "save",
    "save_file",
    "save_pretrained",
    "savez",
    "savez_compressed",
    "savefig",
    "to_csv",
    "tofile",
    "rename",
    "mkstemp",
    "mkdtemp",
    "NamedTemporaryFile",
    "TemporaryFile",
    "TemporaryDirectory",
    "copy2",
    "copyfile",
    "copyfileobj",
    "copytree",
    "move",
    "FileHandler",
}
"""Names of functions that write a file, or create a temporary one."""
OWN = {"write_text", "write_bytes", "write_json", "move"}
"""Functions of ``_base/files.py``, which are called by their bare names."""
FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}
ADVICE = (
    "Use write_text, write_bytes, write_json or open_atomically of limbeck._base.files, "
    "write_atomically where a library needs a path, or move for complete files and folders. If "
    "none fits, add the call to ALLOWED with a reason."
)
"""What to do about a new writer."""
STREAM = "into a stream of open_atomically, or into memory"
SCRATCH = "into a temporary folder that is removed"
ALLOWED = {
    "_base/bundle_signature.py": {"TemporaryDirectory": SCRATCH, "write_bytes": SCRATCH},
    "_base/mirror.py": {
        "save": "a method of the mirror",
        "os.replace": "of downloaded copies, which are downloaded again after a crash",
    },
    "_base/open_folder.py": {"os.replace": "relative to an open folder, after a sync"},
    "_base/ownership.py": {"TemporaryFile": "a probe without a name"},
    "_base/runtime/command_line.py": {"open": "the null device", "os.open": "the null device"},
    "_base/runtime/output_file.py": {
        "open": "the runtime of bundles imports nothing of limbeck",
        "os.replace": "the runtime of bundles imports nothing of limbeck",
    },
    "_base/runtime/predictions.py": {"save": "into memory"},
    "_base/scratch.py": {"TemporaryDirectory": SCRATCH},
    "_base/tokenizer_calls.py": {"TemporaryFile": "a file without a name"},
    "_base/streams.py": {"os.open": "the null device"},
    "cli/check.py": {"TemporaryDirectory": SCRATCH},
    "cli/main.py": {"os.open": "the null device"},
    "data/images/cache.py": {"TemporaryFile": "a file without a name"},
    "data/text/text_list.py": {"TemporaryFile": "a file without a name"},
    "deploy/bundle.py": {"savez_compressed": STREAM, "ZipFile": STREAM},
    "deploy/cost.py": {"TemporaryFile": "a file without a name", "save": SCRATCH},
    "deploy/destination.py": {"os.replace": "of complete bundles, with a way back"},
    "deploy/executorch/export.py": {"savez_compressed": "into memory"},
    "deploy/executorch/runtime.py": {"TemporaryFile": "a file without a name"},
    "deploy/executorch/worker.py": {"fdopen": "standard output"},
    "deploy/latency.py": {"fdopen": "standard output"},
    "deploy/cost_models.py": {"write_text": SCRATCH},
    "deploy/sentence_modules.py": {"save": "into memory"},
    "models/files/weights.py": {
        "save": "a model with files of its own, which are moved when complete",
        "save_file": "into a path of write_atomically",
    },
    "models/huggingface/base.py": {"save_pretrained": "into a temporary folder, then moved"},
    "report/examples.py": {"save": STREAM},
    "report/figures/svg.py": {"savefig": STREAM},
    "run/folder.py": {"open": "into a path of write_atomically"},
    "run/git.py": {"copy2": SCRATCH, "write_text": SCRATCH},
    "run/lock.py": {
        "os.open": "the lock, which is no result",
        "rename": "of a new folder, or of the lock",
    },
    "run/remote.py": {"save": "a method of the mirror"},
    "study/output_files.py": {"savez_compressed": STREAM},
    "study/run_folder.py": {"copytree": SCRATCH},
    "teacher/answer_files/write.py": {"savez": STREAM, "save": STREAM},
    "teacher/program.py": {"save": "into memory"},
    "training/cohort/checkpoint_file.py": {"save": STREAM},
    "training/cohort/shards.py": {"save": "a new folder; the file that lists its sums comes last"},
    "training/csv_logger.py": {"open": "rows are appended; half a row is cut off or skipped"},
    "training/cohort/loop.py": {"save": "a method of the checkpoints"},
}


def mode_of(call):
    """The mode of a call of ``open`` or ``ZipFile``; an empty text if it is for reading."""
    texts = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    texts += call.args[:2]
    for text in texts:
        is_text = isinstance(text, ast.Constant) and isinstance(text.value, str)
        if is_text and len(text.value) <= 4 and set(text.value) & set("wax+"):
            return text.value
    return ""


def writer_of(call):
    """The name of the function that a call uses to write a file; None for other calls."""
    function = call.func
    is_bare = isinstance(function, ast.Name)
    if not is_bare and not isinstance(function, ast.Attribute):
        return None
    name = function.id if is_bare else function.attr
    owner = "" if is_bare or not isinstance(function.value, ast.Name) else function.value.id
    if owner == "os" and name == "open":
        names = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
        return "os.open" if names & FLAGS else None
    if name in ("open", "fdopen", "ZipFile"):
        return name if mode_of(call) else None
    if owner == "os" and name in ("replace", "link", "symlink", "truncate"):
        return f"os.{name}"
    if is_bare and name in OWN:
        return None
    return name if name in WRITERS else None


def writers(source):
    """The names of the writers in the text of a module, with their lines."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted({(writer_of(call), call.lineno) for call in calls if writer_of(call)})


def test_files_are_written_by_one_module():
    lines = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        if name == "_base/files.py":
            continue
        for writer, line in writers(file.read_text(encoding="utf-8")):
            if writer not in ALLOWED.get(name, {}):
                lines.append(f"{file}:{line}: {writer}")
    assert not lines, "\n".join([*lines, ADVICE])


def test_no_call_is_allowed_in_vain():
    for name, reasons in ALLOWED.items():
        names = {writer for writer, _ in writers((SOURCE / name).read_text(encoding="utf-8"))}
        assert set(reasons) <= names, name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("open(path, 'w')", "open"),
        ("path.open('ab')", "open"),
        ("path.open(mode='x')", "open"),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", "os.open"),
        ("path.write_text('a')", "write_text"),
        ("torch.save(state, path)", "save"),
        ("np.savez(path, a=a)", "savez"),
        ("os.replace(a, b)", "os.replace"),
        ("shutil.copytree(a, b)", "copytree"),
        ("zipfile.ZipFile(path, 'w')", "ZipFile"),
        ("open(path)", None),
        ("path.open('rb')", None),
        ("write_text(path, 'a')", None),
        ("text.replace('a', 'b')", None),
    ],
)
def test_writers_are_recognised(source, name):
    assert [writer for writer, _ in writers(source)] == ([] if name is None else [name])
