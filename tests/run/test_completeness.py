"""What a run lacks, and verbs that do not fit it."""

import pytest
import yaml

from limbeck._base.errors import UntrustedFileError
from limbeck.run.completeness import check_verb, missing_results, untrained_models
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import Manifest


def make(path, verb="run", command="limbeck run epochs=2"):
    run = RunFolder(path)
    settings = {"arms": {"soft": {}}, "teacher": {"model": {"_target_": "limbeck.models.MLP"}}}
    run.config.write_text(yaml.safe_dump(settings))
    return run, Manifest(seeds=(0, 1), facts={"verb": verb, "command": command})


def test_models_and_results_that_are_missing(tmp_path):
    run, manifest = make(tmp_path)
    assert untrained_models(run, manifest) == ["soft/seed0", "soft/seed1", "teacher 0"]
    run.student("soft", 1).mkdir(parents=True)
    (run.student("soft", 1) / "model.json").touch()
    assert untrained_models(run, manifest) == ["soft/seed0", "teacher 0"]
    assert missing_results(run) == ["summary.json", "metrics.csv", "predictions.npz", "report.html"]
    run.summary.touch()
    assert missing_results(run)[0] == "metrics.csv"


@pytest.mark.parametrize(
    ("verb", "command", "reason"),
    [
        ("train", "limbeck run epochs=2", "but the command is 'limbeck run epochs=2'"),
        ("train", "limbeck train epochs=2", "has students"),
        ("nope", "limbeck nope", "expected one of run, train, distill"),
        (3, "limbeck run", "expected one of"),
        ("run", [1], r"but the command is \[1\]"),
        (None, "limbeck run", "expected one of"),
    ],
)
def test_a_verb_that_does_not_fit_is_refused(tmp_path, verb, command, reason):
    """Such a verb would turn an unfinished study into a finished run without students."""
    run, manifest = make(tmp_path, verb, command)
    (run.logs / "cohort0").mkdir(parents=True)
    with pytest.raises(UntrustedFileError, match=f"manifest.json is damaged: verb.*{reason}"):
        untrained_models(run, manifest)


def test_sound_verbs(tmp_path):
    for verb in ("run", "train", "distill"):
        check_verb(*make(tmp_path, verb, f"limbeck {verb} -m a=1"))
    check_verb(RunFolder(tmp_path), Manifest())
