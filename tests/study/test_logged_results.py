"""The results of a study as loggers get them."""

from support.summaries import make_arm, make_comparison, make_control, make_summary

from limbeck._base.progress import StageProgress
from limbeck.run.folder import RunFolder
from limbeck.study.engine import Engine
from limbeck.study.logged_results import logged_results
from limbeck.training.services.base import StudyLogger

ARMS = [make_control("hard", [60, 70]), make_arm("soft\x1b", [40, 44])]
SUMMARY = make_summary(ARMS, [make_comparison("soft\x1b", "hard", main=True)], warnings=("few",))


class Recorder(StudyLogger):
    """A service that keeps what it is sent."""

    def __init__(self, save_dir):
        super().__init__("recorder", save_dir)
        self.content = []

    def send_settings(self, settings):
        self.content.append(dict(settings))

    def send_curves(self, values, epoch):
        self.content.append(values)

    def send_results(self, results):
        self.content.append(results)

    def end(self, status):
        self.content.append(status)


def test_metrics_table_and_verdict(tmp_path):
    results = logged_results(SUMMARY, tmp_path)
    assert results.metrics["test errors/hard"] == 65
    assert results.metrics["test errors/soft\\x1b"] == 42
    assert results.metrics["test errors/teacher"] == 7
    assert results.metrics["test errors, change"] == -23.333
    assert [row[0] for row in results.rows] == ["teacher", "hard", "soft\\x1b"]
    assert results.verdict == "helps"
    assert results.sentences[-1] == "Warning: few"


def test_a_study_without_a_comparison_has_no_verdict(tmp_path):
    results = logged_results(make_summary(), tmp_path)
    assert results.verdict == "none"
    assert list(results.metrics) == ["test errors/teacher", "test accuracy/teacher"]


def study(folder, error=None):
    """Log a study with an engine, which may fail; return what the service has been sent."""
    recorders = []

    def create(save_dir):
        recorders.append(Recorder(save_dir))
        return recorders[-1]

    engine = Engine(RunFolder(folder), {}, [create, lambda save_dir: None], StageProgress())
    try:
        with engine.open({"epochs": 3, "data": {"token": "s3cr3t"}}):
            if error is not None:
                raise error
            engine.log_results(SUMMARY)
    except RuntimeError:
        pass
    return recorders[0].content


def test_a_logger_gets_settings_without_secrets_then_results_then_the_end(tmp_path):
    settings, results, status = study(tmp_path)
    assert settings == {"epochs": 3, "data.token": "(hidden)"}
    assert results.report == tmp_path / "report.html"
    assert status == "success"


def test_a_logger_of_a_failed_study_is_closed(tmp_path):
    assert study(tmp_path, RuntimeError("diverged"))[1:] == ["failed"]
