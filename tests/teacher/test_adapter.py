import pytest
import torch
from safetensors.torch import save_file
from support.onnx_files import content
from torch import nn

from limbeck._base.errors import TeacherError
from limbeck.models import MLP, Normalized
from limbeck.teacher.adapter import PROBES, adapter_of, identify, probes_of
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.onnx_model import OnnxTeacher

INPUTS = torch.randint(
    256, (100, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
WEIGHT = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def teacher(change=0.0):
    return FunctionTeacher(lambda x: x.flatten(1) @ (WEIGHT + change))


def test_probes_are_samples_and_means_of_two():
    probes = probes_of(INPUTS)
    assert len(probes) == 2 * PROBES
    torch.testing.assert_close(probes[:PROBES], INPUTS[:PROBES] / 255)
    torch.testing.assert_close(probes[PROBES + 1], (probes[0] + probes[1]) / 2)
    tokens = torch.randint(9, (5, 7), dtype=torch.int32)
    assert torch.equal(probes_of(tokens), tokens.long())


def test_models_that_differ_only_between_samples_are_told_apart(tmp_path):
    def certain(x, threshold):
        """Certain of every sample; only means of two are near the threshold."""
        is_second = x.flatten(1).mean(1) > threshold
        return torch.stack([(~is_second).float(), is_second.float()], 1) * 16

    x = torch.tensor([0, 255], dtype=torch.uint8).repeat(40).view(80, 1, 1, 1)
    models = [FunctionTeacher(lambda x, t=t: certain(x, t)) for t in (0.4, 0.6)]
    for model in models:
        identify(model, x, tmp_path)
    assert torch.equal(models[0].answers[:PROBES], models[1].answers[:PROBES])
    assert not torch.equal(models[0].answers, models[1].answers)


def save(model, folder):
    save_file({"net.answers": model.answers}, folder / "model.safetensors")


def test_answers_of_a_run_are_kept_if_they_differ_by_rounding(tmp_path):
    first, again, other = teacher(), teacher(1e-6), teacher(0.5)
    identify(first, INPUTS, tmp_path)
    save(first, tmp_path)
    identify(again, INPUTS, tmp_path)
    assert torch.equal(again.answers, first.answers)
    with pytest.raises(TeacherError, match="the teacher has changed since this run was started"):
        identify(other, INPUTS, tmp_path)


def test_a_damaged_file_of_a_run_is_left_alone(tmp_path):
    model = teacher()
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    identify(model, INPUTS, tmp_path)
    assert model.answers.shape == (2 * PROBES, 3)


def test_an_adapter_is_found_in_wrappers():
    model = teacher()
    assert adapter_of(Normalized(nn.Sequential(model), [0.5], [1.0])) is model
    assert adapter_of(MLP((4,), 3, hidden=[2])) is None


def test_other_adapters_take_one_input():
    model = OnnxTeacher(content(), "m.onnx")
    with pytest.raises(TeacherError, match=r"m\.onnx takes one input, but .* several \(0, mask\)"):
        model(torch.zeros(1, 1, 4, 4), mask=torch.zeros(1))


def test_modules_of_pytorch_are_not_identified_by_answers(tmp_path):
    identify(MLP((4,), 3, hidden=[2]), INPUTS, tmp_path)
