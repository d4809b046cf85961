"""A study in MLflow, read back."""

import json

import pytest
from support.logged_studies import log_study

from limbeck.training.loggers import mlflow_logger

pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'limbeck[mlflow]'")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The client, and the run of a study that was resumed."""
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        folder = tmp_path_factory.mktemp("study")
        log_study(mlflow_logger(folder / "logs"), folder, status="failed")
        log_study(mlflow_logger(folder / "logs"), folder)
    client = MlflowClient(f"sqlite:///{folder / 'logs' / 'mlflow' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("limbeck").experiment_id])
    return client, run, folder


def test_settings_results_and_verdict(study):
    _, run, folder = study
    assert run.data.params["objective.temperature"] == "4.0"
    assert run.data.metrics["test errors/soft"] == 12.5
    assert run.data.tags["verdict"] == "helps"
    assert run.info.status == "FINISHED"
    assert run.info.run_name == folder.name


def test_curves_have_epochs(study):
    client, run, _ = study
    points = client.get_metric_history(run.info.run_id, "validation accuracy/soft/mean")
    assert {(point.step, round(point.value, 6)) for point in points} == {(0, 0.6), (1, 0.7)}


def test_table_and_report_are_artifacts(study, tmp_path):
    client, run, _ = study
    path = client.download_artifacts(run.info.run_id, "report.html", str(tmp_path))
    with open(path, encoding="utf-8") as file:
        assert file.read() == "<p>report</p>"
    path = client.download_artifacts(run.info.run_id, "test_results.json", str(tmp_path))
    with open(path, encoding="utf-8") as file:
        assert json.load(file)["data"][0] == ["soft", "12.5 ± 1.0"]
