"""A study in TensorBoard, read back."""

import pytest
from support.logged_studies import log_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from limbeck._base.errors import LimbeckWarning
from limbeck.training.loggers import tensorboard_logger


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    log_study(tensorboard_logger(folder, name="tensorboard", version=""), folder)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_curves_are_in_one_chart_for_each_metric(events):
    points = events.Scalars("validation accuracy/soft/seed 1")
    assert [point.step for point in points] == [0, 1]
    assert [point.value for point in points] == pytest.approx([0.7, 0.8])
    assert events.Scalars("validation accuracy/soft/mean")[0].value == pytest.approx(0.6)
    assert events.Scalars("training loss/soft/seed 0")[0].value == 2.0


def test_settings_and_test_results_are_hyperparameters(events):
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["recipe"].string_value == "digits"
    assert values["objective.temperature"].number_value == 4.0
    assert events.Scalars("test errors/soft")[0].value == 12.5
    assert "hp_metric" not in events.Tags()["scalars"]


def test_verdict_and_table_are_text(events):
    (tensor,) = events.Tensors("verdict/text_summary")
    text = tensor.tensor_proto.string_val[0].decode()
    assert "Distillation helps" in text
    assert "| soft | 12.5 ± 1.0 |" in text
    assert "report.html" in text


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.warns(LimbeckWarning, match="The study goes on without this logger") as warnings:
        log_study(tensorboard_logger(tmp_path / "logs", name="tensorboard", version=""), tmp_path)
    assert len(warnings) == 1
