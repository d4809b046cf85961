"""Programs run in a process of their own, whose failures are one message."""

import numpy as np
import pytest
import torch
from support.executorch_mark import needs_executorch

from limbeck._base.errors import ExportError
from limbeck.deploy.executorch import runtime
from limbeck.deploy.executorch.lowering import lower
from limbeck.deploy.executorch.runtime import run_program
from limbeck.models import MLP

INPUTS = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))


@needs_executorch
def test_groups_of_inputs_have_their_outputs_in_order(tmp_path, monkeypatch):
    model = MLP((5,), 3, hidden=[4]).eval()
    (tmp_path / "model.pte").write_bytes(lower(model, INPUTS).content)
    monkeypatch.setattr("limbeck.data.split.PART_ROWS", 4)  # several messages
    first, second = run_program(tmp_path / "model.pte", INPUTS, INPUTS[:2].neg())
    with torch.no_grad():
        expected = model(INPUTS).numpy(), model(-INPUTS[:2]).numpy()
    np.testing.assert_allclose(first, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second, expected[1], rtol=1e-5, atol=1e-6)


@needs_executorch
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(5000)], ids=["empty", "foreign"])
def test_a_damaged_program_is_one_message(tmp_path, content):
    (tmp_path / "model.pte").write_bytes(content)
    with pytest.raises(ExportError, match="cannot run the exported program, so nothing was writ"):
        run_program(tmp_path / "model.pte", INPUTS)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('failed with error 0x10')", "RuntimeError: failed with error 0x10"),
        ("import os; os.abort()", "its process ended with exit code -6"),
        ("import os; os.write(1, b'short'); os._exit(0)", "ended with exit code 0"),
    ],
    ids=["error", "abort", "short"],
)
def test_a_process_that_fails_is_one_message(tmp_path, monkeypatch, code, message):
    (tmp_path / "failing_worker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(runtime, "WORKER", "failing_worker")
    with pytest.raises(ExportError, match=message):
        run_program(tmp_path / "model.pte", INPUTS)
