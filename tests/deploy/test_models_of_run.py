"""Models of a run are read while no other process changes the run."""

import numpy as np
import pytest
import torch
from support.deploy_runs import export
from support.regressions import dataset, study

from limbeck._base.errors import ConfigError
from limbeck.deploy.models_of_run import load_models, models_of_run
from limbeck.deploy.run_cost import cost
from limbeck.run.lock import hold_lock


def test_functions_that_read_a_run_refuse_one_in_progress(data, mlp_run):
    functions = {
        "models": lambda: models_of_run(mlp_run),
        "export": lambda: export(mlp_run, data),
        "cost": lambda: cost(mlp_run, data),
    }
    with hold_lock(mlp_run):
        for function in functions.values():
            with pytest.raises(ConfigError, match="is in use by another process"):
                function()
    assert [model.role for model in models_of_run(mlp_run)] == ["teacher", "control", "student"]


@pytest.mark.slow
def test_models_of_one_value_answer_as_the_run_recorded(tmp_path):
    """A single output of a regression is a value, not the logit of the second of two classes."""
    data = dataset()
    study(data, tmp_path / "run", seeds=1, epochs=1).run()
    models, note = load_models(tmp_path / "run")
    assert note == ""
    with np.load(tmp_path / "run" / "predictions.npz") as arrays:
        recorded = [arrays["teacher"], arrays["students/hard/seed0"], arrays["students/soft/seed0"]]
    for model, values in zip(models, recorded, strict=True):
        outputs = model.logits(data.open_test().inputs)
        torch.testing.assert_close(outputs, torch.from_numpy(values))
