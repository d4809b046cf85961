"""The settings of the group ``launcher``."""

import pytest

from limbeck._base.errors import ConfigError
from limbeck.study.cluster.launcher import Launcher


def test_names_groups_and_nothing_are_accepted():
    assert Launcher.of(None) == Launcher.of("local") == Launcher.of({"name": "local"})
    launcher = Launcher.of({"name": "ray", "cpus": 2, "gpus": 0.25, "address": "auto"})
    assert Launcher.of(launcher) is launcher
    assert launcher.threads == 2
    assert Launcher(name="ray", cpus=0.5).threads == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("slurm", r"launcher='slurm' is unknown; choose one of local, ray\."),
        (3, r"launcher=3 should be a name, as in ray, or a group of settings\."),
        ({"name": "ray", "gpu": 1}, r"Unknown key `launcher\.gpu`\. Did you mean `launcher\.gpus`"),
        ({"name": "ray", "cpus": 1.5}, r"launcher\.cpus=1\.5 should be a whole number, or a part"),
        ({"name": "ray", "cpus": 0}, r"launcher\.cpus=0 should be above 0"),
        ({"name": "ray", "gpus": -1}, r"launcher\.gpus=-1 should be a whole number"),
        ({"name": "ray", "gpus": True}, r"launcher\.gpus=True should be a whole number"),
        ({"name": "ray", "gpus": "a"}, r"launcher\.gpus='a' should be a whole number"),
        ({"name": "ray", "gpus": float("nan")}, r"launcher\.gpus=nan should be a whole number"),
        ({"name": "ray", "retries": -1}, r"launcher\.retries=-1 should be a whole number"),
        ({"name": "ray", "students": 0}, r"launcher\.students=0 should be"),
        ({"name": "ray", "address": 5}, r"launcher\.address=5 should be a string"),
        ({"name": "ray", "address": "ray://h:10001"}, r"has to run on a machine of the cluster"),
    ],
)
def test_other_values_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Launcher.of(settings)
