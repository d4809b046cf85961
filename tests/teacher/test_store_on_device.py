"""Stored answers on an accelerator."""

import pytest
import torch
from store_cases import SAMPLES, VIEWS, answers, opened

from limbeck.teacher import signal

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


@pytest.mark.parametrize("rows", [None, torch.tensor([2, 3, 5, 30])])
@pytest.mark.parametrize("most", [1 << 30, 0], ids=["on the device", "picked on the CPU"])
def test_answers_of_a_device(tmp_path, monkeypatch, rows, most):
    monkeypatch.setattr(signal, "MOST_ON_DEVICE", most)
    given = {} if rows is None else {"rows": rows}
    made = answers(device=CUDA, **given)
    stored, again = opened(made, tmp_path), opened(answers(**given), tmp_path)
    assert torch.equal(stored.logits, again.logits), "a store is the same wherever it was computed"
    sample = (torch.arange(SAMPLES) if rows is None else rows).repeat_interleave(VIEWS)
    view = torch.arange(len(sample)) % VIEWS
    found = stored(torch.zeros(len(sample), 1, device=CUDA), sample.to(CUDA), view.to(CUDA))
    assert found.device.type == "cuda"
    wanted = again(torch.zeros(len(sample), 1), sample, view)
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=0)
    assert (stored.logits.device.type == "cuda") == (most > 0)
