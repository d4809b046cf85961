"""The commit of the working directory, without running anything that its repository names.

The settings of a repository can name programs that git runs, so they are never read: the commit is
read from the files of the repository, and git compares the working directory on behalf of an empty
repository elsewhere, which borrows only objects and index.
"""

import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from limbeck._base.scratch import scratch_folder

MAX_LINE = 4096
MAX_REFS_BYTES = 64 << 20
MAX_LINKS = 5
"""Maximum number of references that point to another one."""
SECONDS = 10
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SWITCHED_OFF = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}")


@dataclass(frozen=True)
class _Repository:
    """A repository, and the worktree in it.

    Attributes:
        worktree: Folder of the files.
        folder: Folder with ``HEAD`` and index of the worktree.
        common: Folder with references and objects, which worktrees of one repository share.
    """

    worktree: Path
    folder: Path
    common: Path


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in a folder.

    The commit ends in ``+`` if tracked files have changed, or in ``?`` if that is unknown because
    git is not installed or fails. The result is None outside a repository.
    """
    try:
        repository = _find_repository(folder.resolve())
        commit = None if repository is None else _read_commit(repository)
    except (OSError, ValueError):  # such as a path with a null byte
        return None
    if repository is None or commit is None:
        return None
    try:
        is_changed = _has_changes(repository, commit)
    except (OSError, ValueError, subprocess.SubprocessError):
        return f"{commit}?"
    return f"{commit}+" if is_changed else commit


def _find_repository(folder: Path) -> _Repository | None:
    for worktree in (folder, *folder.parents):
        git = worktree / ".git"
        if git.is_file():  # of a further worktree or a submodule
            git = worktree / _read_line(git).removeprefix("gitdir:").strip()
        if _read_line(git / "HEAD"):
            common = _read_line(git / "commondir")
            return _Repository(worktree, git, git / common if common else git)
    return None


def _read_commit(repository: _Repository) -> str | None:
    """Follow the references from ``HEAD`` to a commit."""
    value = _read_line(repository.folder / "HEAD")
    for _ in range(MAX_LINKS):
        if _COMMIT.fullmatch(value):
            return value
        name = value.removeprefix("ref:").strip()
        if not name.startswith("refs/") or ".." in name:
            return None
        value = (
            _read_line(repository.folder / name)
            or _read_line(repository.common / name)
            or _read_packed(repository.common / "packed-refs", name)
        )
    return None


def _read_packed(file: Path, name: str) -> str:
    """Read a reference from the file that lists many of them; empty if it is not there."""
    if not _is_regular(file) or file.stat().st_size > MAX_REFS_BYTES:
        return ""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            value, _, other = line.strip().partition(" ")
            if other == name:
                return value
    return ""


def _read_line(file: Path) -> str:
    """Read the first line of a small file; empty if there is no such file."""
    if not _is_regular(file):
        return ""
    with file.open(encoding="utf-8", errors="replace") as content:
        return content.readline(MAX_LINE).strip()


def _is_regular(file: Path) -> bool:
    """Whether a file can be read without waiting for another process, unlike a pipe."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except (OSError, ValueError):
        return False


def _has_changes(repository: _Repository, commit: str) -> bool:
    """Whether tracked files differ from a commit.

    Raises:
        OSError: If git is not installed, or a file cannot be read.
        SubprocessError: If git fails or takes too long.
    """
    program = _find_git()
    with scratch_folder() as folder:
        twin = folder / "twin.git"
        twin.mkdir()
        _write_twin(twin, repository, commit)
        process = subprocess.run(
            [
                program,
                "--no-optional-locks",
                *(word for setting in _SWITCHED_OFF for word in ("-c", setting)),
                f"--git-dir={twin}",
                f"--work-tree={repository.worktree}",
                "status",
                "--porcelain",
                "--untracked-files=no",
                "--ignore-submodules=dirty",
            ],
            cwd=twin,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    return bool(process.stdout.strip())


def _write_twin(twin: Path, repository: _Repository, commit: str) -> None:
    """Write a repository without settings, with the objects and the index of another one."""
    (twin / "refs").mkdir()
    (twin / "objects" / "info").mkdir(parents=True)
    objects = (repository.common / "objects").resolve()
    (twin / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
    (twin / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
    settings = "[core]\nrepositoryformatversion = 1\n"
    if os.name == "nt":
        settings += "filemode = false\n"
    if len(commit) == 64:
        settings += "[extensions]\nobjectformat = sha256\n"
    (twin / "config").write_text(settings, encoding="utf-8")
    index = repository.folder / "index"
    if not _is_regular(index):
        raise FileNotFoundError(index)
    shutil.copy2(index, twin / "index")  # git compares its time with those of the files


def _find_git() -> str:
    """Return the path of git on the search path, but never one in the working directory.

    Raises:
        FileNotFoundError: If git is not installed.
    """
    for folder in os.get_exec_path():
        program = shutil.which("git", path=folder) if os.path.isabs(folder) else None
        if program is not None and os.path.isabs(program):
            return program
    raise FileNotFoundError("git")


def _environment() -> dict[str, str]:
    """Environment variables without those of git, which may name another repository."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {
        **inherited,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
