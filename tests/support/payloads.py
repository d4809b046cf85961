"""Files that create a canary when an unsafe program reads them: one kind of attack each."""

import json
import pickle
import subprocess
from pathlib import Path

import numpy as np
import yaml
from hydra.utils import instantiate

KINDS = ("pickle", "array", "yaml", "object", "module", "git")


class Payload:
    """An object that creates a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (Path(self.canary),))


class Canaries:
    """The files that attacks would create, one for each kind.

    Args:
        folder: Folder of the canaries.
    """

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def path(self, kind):
        return self.folder / kind

    @property
    def alive(self):
        """The kinds of attack that were successful."""
        return sorted(path.name for path in self.folder.iterdir())

    def pickled(self):
        """A pickle, as it may be in any file of weights or checkpoint."""
        return pickle.dumps(Payload(self.path("pickle")))

    def save_array(self, file):
        """Write an ``.npz`` with pickled objects under the names that limbeck reads."""
        objects = np.array([Payload(self.path("array"))], dtype=object)
        names = ("labels", "logits", "inputs", "hard", "soft", "fp32", "int8", "teacher", "x")
        np.savez(file, **dict.fromkeys(names, objects))

    def yaml(self):
        """YAML whose tag calls a function."""
        path = str(self.path("yaml"))
        return f"data: !!python/object/apply:builtins.open [{json.dumps(path)}, w]\n"

    def object(self):
        """Settings that name an object to call."""
        return {"_target_": "pathlib.Path.touch", "self": str(self.path("object"))}

    def module(self):
        """The code of a module."""
        return f"open({str(self.path('module'))!r}, 'w').close()\n"

    def make_repository(self, folder):
        """Make a folder a repository whose settings name a program that git runs."""
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        hook = folder / ".git" / "hook.sh"
        hook.write_text(f"#!/bin/sh\ntouch '{self.path('git')}'\n", encoding="utf-8")
        hook.chmod(0o755)
        identity = ["-c", "user.email=a@b", "-c", "user.name=a"]
        commit = ["commit", "-q", "--allow-empty", "-m", "x"]
        subprocess.run(["git", *identity, *commit], cwd=folder, check=True)
        with (folder / ".git" / "config").open("a", encoding="utf-8") as config:
            config.write(f"[core]\n\tfsmonitor = '{hook}'\n")

    def read_unsafely(self, kind, folder):
        """Do what an unsafe program does with a kind of file."""
        match kind:
            case "pickle":
                pickle.loads(self.pickled())
            case "array":
                self.save_array(folder / "array.npz")
                np.load(folder / "array.npz", allow_pickle=True)["x"]
            case "yaml":
                yaml.unsafe_load(self.yaml())
            case "object":
                instantiate(self.object())
            case "module":
                exec(self.module())
            case "git":
                self.make_repository(folder)
                subprocess.run(["git", "status"], cwd=folder, check=True, capture_output=True)
