"""What the loggers of all services have in common."""

import warnings

import pytest
from support.logged_studies import log_study

from limbeck._base.errors import LimbeckWarning
from limbeck.training.services.base import StudyLogger, StudyResults, curves


class Recorder(StudyLogger):
    """A service that records calls, and fails from a given one on."""

    def __init__(self, folder, fails_at="", error=None):
        super().__init__("recorder", folder)
        self.calls, self.fails_at, self.error = [], fails_at, error

    def call(self, name, *values):
        self.calls.append(name)
        if name == self.fails_at:
            raise self.error

    def send_settings(self, settings):
        self.call("settings")

    def send_curves(self, values, epoch):
        self.call("curves")

    def send_results(self, results):
        self.call("results")

    def end(self, status):
        self.call(status)


def test_curves_have_names_for_people_and_a_mean_of_each_arm():
    values = {
        "soft/seed0/val_acc": 0.5,
        "soft/seed1/val_acc": 0.7,
        "a/b/seed0/train_loss": 2.0,
        "learning rate": 0.1,
    }
    assert curves(values) == pytest.approx(
        {
            "validation accuracy/soft/seed 0": 0.5,
            "validation accuracy/soft/seed 1": 0.7,
            "validation accuracy/soft/mean": 0.6,
            "training loss/a/b/seed 0": 2.0,
            "learning rate": 0.1,
        }
    )


def test_a_study_is_one_run_with_settings_curves_and_results(tmp_path):
    logger = Recorder(tmp_path)
    log_study(logger, tmp_path)
    assert logger.calls == ["settings", "curves", "curves", "curves", "results", "success"]


@pytest.mark.parametrize("call", ["settings", "curves", "results", "success"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyError("x"), RuntimeError()])
def test_a_logger_that_fails_is_one_warning(tmp_path, call, error):
    logger = Recorder(tmp_path, fails_at=call, error=error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log_study(logger, tmp_path)
    assert [entry.category for entry in caught] == [LimbeckWarning]
    assert "The study goes on without this logger" in str(caught[0].message)
    assert logger.calls[-1] == call  # it is left alone afterwards


def test_an_interrupt_is_no_failure_of_a_logger(tmp_path):
    logger = Recorder(tmp_path, fails_at="curves", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        log_study(logger, tmp_path)


def test_the_run_of_a_service_is_the_same_after_a_restart(tmp_path):
    first = Recorder(tmp_path).run_id()
    assert Recorder(tmp_path).run_id() == first
    (tmp_path / "recorder.id").write_text("../../evil")
    assert Recorder(tmp_path).run_id() not in (first, "../../evil")


def test_the_results_are_a_table_in_markdown(tmp_path):
    results = StudyResults({}, ["arm", "errors"], [["a|b", "1"]], "helps", ["It helps."], tmp_path)
    assert results.markdown() == "It helps.\n\n| arm | errors |\n| --- | --- |\n| a/b | 1 |"
