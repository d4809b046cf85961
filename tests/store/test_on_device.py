"""Stored answers on an accelerator."""

import pytest
import torch
from support.store_cases import POSITIONS, SAMPLES, VIEWS, image_pass, open_quietly, text_pass

from limbeck.store.sampling import most_probable, probabilities, systematic_sample
from limbeck.teacher import signal

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


@pytest.mark.parametrize("rows", [None, torch.tensor([2, 3, 5, 30])])
@pytest.mark.parametrize("most", [1 << 30, 0], ids=["on the device", "picked on the CPU"])
def test_answers_of_a_device(tmp_path, monkeypatch, rows, most):
    monkeypatch.setattr(signal, "MOST_ON_DEVICE", most)
    arguments = {} if rows is None else {"rows": rows}
    teacher_pass = image_pass(device=CUDA, **arguments)
    stored, again = (
        open_quietly(teacher_pass, tmp_path),
        open_quietly(image_pass(**arguments), tmp_path),
    )
    assert torch.equal(stored.records, again.records), (
        "a store is the same wherever it was computed"
    )
    sample = (torch.arange(SAMPLES) if rows is None else rows).repeat_interleave(VIEWS)
    view = torch.arange(len(sample)) % VIEWS
    stored = stored(torch.zeros(len(sample), 1, device=CUDA), sample.to(CUDA), view.to(CUDA))
    assert stored.device.type == "cuda"
    expected = again(torch.zeros(len(sample), 1), sample, view)
    torch.testing.assert_close(stored.cpu(), expected, rtol=0, atol=0)
    assert (stored.records.device.type == "cuda") == (most > 0)


@pytest.mark.parametrize("kind", ["topk", "sampled"])
@pytest.mark.parametrize("most", [1 << 30, 0], ids=["on the device", "picked on the CPU"])
def test_some_classes_on_a_device(tmp_path, monkeypatch, kind, most):
    monkeypatch.setattr(signal, "MOST_ON_DEVICE", most)
    teacher_pass = text_pass(device=CUDA, temperature=2.0)
    stored, again = (
        open_quietly(one, tmp_path, kind=kind, k=5)
        for one in (teacher_pass, text_pass(temperature=2.0))
    )
    sample = torch.tensor([[3, 0, 29], [7, 7, 1]])
    view, x = torch.zeros_like(sample), torch.zeros(2, 3, POSITIONS, dtype=torch.int64)
    stored, expected = stored(x.to(CUDA), sample.to(CUDA), view.to(CUDA)), again(x, sample, view)
    assert stored.log_p.device.type == "cuda"
    assert torch.equal(stored.ids.cpu(), expected.ids)
    torch.testing.assert_close(stored.log_p.cpu(), expected.log_p)
    assert (stored.tail is None) == (kind == "sampled")
    assert (stored.records.device.type == "cuda") == (most > 0)


def test_choosing_classes_on_a_device():
    logits = 3 * torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    here, there = most_probable(logits, 12), most_probable(logits.to(CUDA), 12)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other.cpu())
    uniform = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    here = systematic_sample(probabilities(logits), 12, uniform)
    there = systematic_sample(probabilities(logits.to(CUDA)), 12, uniform.to(CUDA))
    same = (here[0] == there[0].cpu()).all(-1)
    assert same.float().mean() > 0.99, "a number near an edge may fall on either side"
    torch.testing.assert_close(here[1][same], there[1].cpu()[same])
