"""Searches that go on: what another process left is checked, and removed where it misleads."""

import json

import pytest
from support.searches import ModelOfSize, make_study

import limbeck.search.study as study_module
from limbeck._base.errors import UntrustedFileError
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search
from limbeck.search import needs


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    """Export and report take seconds; the tests of the command line have the real ones."""
    monkeypatch.setattr(needs, "to_onnx", lambda model, example: ModelOfSize(model))
    monkeypatch.setattr("limbeck.study.study.write_report", lambda *_: None)


@pytest.fixture
def chosen_run(tmp_path, monkeypatch):
    """Folder of a search that was killed when it had chosen a student."""
    write = study_module.write_search

    def fail(folder, search):
        write(folder, search)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "write_search", fail)
        with pytest.raises(KeyboardInterrupt):
            make_study(tmp_path / "run").run()
    return tmp_path / "run"


def change(run, update):
    file = run / "search.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    update(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def without_rate(content):
    del content["trials"][content["choice"]]["settings"]["lr"]


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (without_rate, "is damaged, or of another search: a trial has no 'lr'"),
        (lambda content: content.update(seed=0), "is that of another study: .* with seed 0"),
        (lambda content: content.update(measure="bits_per_byte"), "its measure is bits_per_byte"),
        (lambda content: content.update(validation=61), "on 61 validation samples"),
    ],
)
def test_a_choice_that_the_search_cannot_have_made_is_one_message(chosen_run, update, message):
    change(chosen_run, update)
    with pytest.raises(UntrustedFileError, match=message):
        make_study(chosen_run, resume=True).run()


def test_curves_of_the_search_are_not_those_of_the_study(chosen_run):
    """A process that was killed after the result of a cohort has not removed its logs."""
    logs = chosen_run / "logs" / "round0-short-cohort1" / "version_0"
    logs.mkdir(parents=True)
    (logs / "metrics.csv").write_text("epoch,trial2/seed1/val_acc\n0,0.5\n", encoding="utf-8")
    checkpoints = chosen_run / "checkpoints" / "round0-cohort1"
    checkpoints.mkdir(parents=True)
    make_study(chosen_run, resume=True).run()
    assert not logs.exists()
    assert not checkpoints.exists()
    assert "trial" not in (chosen_run / "metrics.csv").read_text(encoding="utf-8")
    assert read_search(RunFolder(chosen_run)).choice is not None
