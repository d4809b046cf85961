"""The ONNX files of a bundle in OpenVINO."""

import numpy as np
import pytest
from support.deploy_runs import export

from limbeck._base.runtime.file_names import GOLDEN, KINDS


def test_openvino_computes_the_golden_outputs(data, mlp_run, tmp_path):
    openvino = pytest.importorskip("openvino", reason="it is no dependency of limbeck")
    bundle = export(mlp_run, data, to=tmp_path / "bundle", zipped=False, int8=False).folder
    with np.load(bundle / GOLDEN) as golden:
        inputs, expected = golden["inputs"], golden["fp32"]
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(bundle / KINDS["fp32"]), "CPU", settings)
    np.testing.assert_allclose(model(inputs)[0], expected, rtol=1e-4, atol=1e-4)
