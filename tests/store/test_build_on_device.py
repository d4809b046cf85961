"""Stored answers on an accelerator."""

import pytest
import torch
from support.store_cases import POSITIONS, SAMPLES, VIEWS, image_pass, open_quietly, text_pass

from limbeck.store.sampling import most_probable, probabilities, systematic_sample
from limbeck.teacher import signal

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


@pytest.mark.parametrize("rows", [None, torch.tensor([2, 3, 5, 30])])
@pytest.mark.parametrize("most", [1 << 30, 0], ids=["on the device", "looked up on the CPU"])
def test_answers_of_a_device(tmp_path, monkeypatch, rows, most):
    """A store is the same wherever it was computed."""
    monkeypatch.setattr(signal, "MAX_DEVICE_BYTES", most)
    options = {} if rows is None else {"rows": rows}
    there = open_quietly(image_pass(device=CUDA, **options), tmp_path)
    here = open_quietly(image_pass(**options), tmp_path)
    assert torch.equal(there.records, here.records)
    sample = (torch.arange(SAMPLES) if rows is None else rows).repeat_interleave(VIEWS)
    view = torch.arange(len(sample)) % VIEWS
    answer = there(torch.zeros(len(sample), 1, device=CUDA), sample.to(CUDA), view.to(CUDA))
    assert answer.device.type == "cuda"
    expected = here(torch.zeros(len(sample), 1), sample, view)
    torch.testing.assert_close(answer.cpu(), expected, rtol=0, atol=0)
    assert (there.records.device.type == "cuda") == (most > 0)


@pytest.mark.parametrize("kind", ["topk", "sampled"])
@pytest.mark.parametrize("most", [1 << 30, 0], ids=["on the device", "looked up on the CPU"])
def test_a_part_of_the_classes_on_a_device(tmp_path, monkeypatch, kind, most):
    monkeypatch.setattr(signal, "MAX_DEVICE_BYTES", most)
    there = open_quietly(text_pass(device=CUDA, temperature=2.0), tmp_path, kind=kind, k=5)
    here = open_quietly(text_pass(temperature=2.0), tmp_path, kind=kind, k=5)
    sample = torch.tensor([[3, 0, 29], [7, 7, 1]])
    view, x = torch.zeros_like(sample), torch.zeros(2, 3, POSITIONS, dtype=torch.int64)
    answer = there(x.to(CUDA), sample.to(CUDA), view.to(CUDA))
    expected = here(x, sample, view)
    assert answer.log_p.device.type == "cuda"
    assert torch.equal(answer.ids.cpu(), expected.ids)
    torch.testing.assert_close(answer.log_p.cpu(), expected.log_p)
    assert (answer.tail is None) == (kind == "sampled")
    assert (there.records.device.type == "cuda") == (most > 0)


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
