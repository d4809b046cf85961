"""The commit of the working directory, in repositories that are plain, unusual and hostile."""

import os
import subprocess
import sys

import pytest

from limbeck.run.git import git_commit


def git(folder, *words):
    settings = ["-c", "user.email=a@b", "-c", "user.name=a", "-c", "protocol.file.allow=always"]
    process = subprocess.run(
        ["git", *settings, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return process.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit of one file."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a").write_text("1")
    git(folder, "add", "a")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_commit_has_a_plus_where_files_differ(repository, tmp_path):
    assert git_commit(tmp_path) is None
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "folder").mkdir()
    assert git_commit(repository) == git_commit(repository / "folder") == commit
    (repository / "untracked").write_text("")
    assert git_commit(repository) == commit
    (repository / "a").write_text("2")
    assert git_commit(repository) == f"{commit}+"
    git(repository, "add", "a")
    assert git_commit(repository) == f"{commit}+"
    git(repository, "commit", "-q", "-m", "second")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD") != commit
    (repository / "a").unlink()
    assert git_commit(repository).endswith("+")


def test_packed_references_worktrees_and_submodules_are_read(repository, tmp_path):
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert git_commit(repository) == commit
    git(repository, "worktree", "add", "-q", "../second", "-b", "other")
    assert git_commit(tmp_path / "second") == commit
    git(repository, "submodule", "add", "-q", str(repository), "part")
    assert git_commit(repository / "part") == commit
    git(repository, "commit", "-q", "-m", "submodule")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "--detach")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD")


def test_a_repository_without_a_commit_has_none(tmp_path):
    git(tmp_path, "init", "-q")
    assert git_commit(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_text("ref: ../../secret")
    assert git_commit(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_in_a_repository_is_not_read(repository):
    (repository / ".git" / "HEAD").unlink()
    os.mkfifo(repository / ".git" / "HEAD")
    assert git_commit(repository) is None


def test_changes_are_unknown_without_git(repository, monkeypatch):
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    assert git_commit(repository) == f"{commit}?"


def program(path, sentinel):
    """Write a program that leaves a sign, and return its path."""
    path.write_text(f"#!/bin/sh\ntouch {sentinel}\ncat\n")
    path.chmod(0o755)
    return path


def test_a_repository_runs_no_program(repository, tmp_path, monkeypatch):
    """Each of the settings runs the program if git itself reads them."""
    sentinel = tmp_path / "sentinel"
    evil = program(tmp_path / "evil", sentinel)
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "submodule", "add", "-q", str(repository), "part")
    (repository / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    for folder in (repository, repository / "part"):
        for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "core.pager"):
            git(folder, "config", key, str(evil))
        git(folder, "config", "core.hooksPath", str(tmp_path))
    program(tmp_path / "post-index-change", sentinel)
    program(repository / "git", sentinel)
    for folder in (repository, repository / "part"):
        (folder / "a").write_text("2")
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False)
    assert sentinel.exists()
    sentinel.unlink()

    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(evil))
    assert git_commit(repository) == f"{commit}+"
    assert git_commit(repository / "part") == f"{commit}+"
    assert not sentinel.exists()
