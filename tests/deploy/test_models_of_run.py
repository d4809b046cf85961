"""Models of a run are read while no other process changes the run."""

import pytest
from support.deploy_runs import export

from limbeck._base.errors import ConfigError
from limbeck.deploy.models_of_run import models_of_run
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
