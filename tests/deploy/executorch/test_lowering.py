"""Programs of ExecuTorch compute what the models in PyTorch do."""

import importlib.util
import sys

import pytest
import torch
from support.executorch_mark import needs_executorch
from torch import nn

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.data.dataset import as_float
from limbeck.deploy.executorch.lowering import check_executorch_is_installed, lower
from limbeck.models import MLP, BagOfEmbeddings, ConvNet
from limbeck.models.normalized import Normalized
from limbeck.models.table import TableEncoder, TableModel
from limbeck.models.text_cnn import TextCNN
from limbeck.models.text_encoder import TextEncoder
from limbeck.models.zoo import TorchvisionModel

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randint(0, 256, (6, 3, 12, 10), dtype=torch.uint8, generator=GENERATOR)
ROWS = torch.randn(6, 3, generator=GENERATOR)
ROWS[:, 2] = torch.tensor([0.0, 1.0, 2.0, 0.0, torch.nan, 1.0])
ROWS[0, 0] = torch.nan
IDS = torch.randint(1, 50, (6, 16), dtype=torch.int32, generator=GENERATOR)
IDS[0, 5:], IDS[1, 1:] = 0, 0
TOKENS = {"vocabulary": 50, "padding": 0, "width": 8}


def normalized(net):
    return Normalized(net, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])


def trained(net):
    """A network with BatchNorm whose statistics are not those of the start."""
    net.train()
    for _ in range(3):
        net(torch.rand(16, 3, 12, 10))
    return normalized(net)


def table_net():
    encoder = TableEncoder([0, 0, 3], [0.5, 1, 0], [1, 2, 1], [True, False, True])
    return TableModel(MLP((encoder.width,), 4, hidden=[8]), encoder)


CASES = {
    "mlp": (lambda: normalized(MLP((3, 12, 10), 4, hidden=[8, 6])), PIXELS),
    "convnet": (
        lambda: trained(ConvNet((3, 12, 10), 4, channels=[4, 6, 8], strides=[1, 2, 1])),
        PIXELS,
    ),
    "table": (table_net, ROWS),
    "bag": (lambda: BagOfEmbeddings((16,), 4, **TOKENS), IDS),
    "text_cnn": (lambda: TextCNN((16,), 4, **TOKENS, channels=6), IDS),
}
SLOW_CASES = {
    "encoder": (lambda: TextEncoder((16,), 4, **TOKENS), IDS),
    "resnet": (lambda: trained(TorchvisionModel((3, 12, 10), 4, name="resnet18")), PIXELS),
    "mobilenet": (
        lambda: trained(TorchvisionModel((3, 12, 10), 4, name="mobilenet_v3_small")),
        PIXELS,
    ),
}


@needs_executorch
@pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CASES)]
)
def test_programs_have_the_outputs_of_their_models(case):
    from executorch.runtime import Runtime

    torch.manual_seed(0)
    build, inputs = (CASES | SLOW_CASES)[case]
    model = build().eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    program = lower(model, inputs)

    method = Runtime.get().load_program(program.content).load_method("forward")
    outputs = torch.cat([method.execute([row])[0] for row in inputs.split(1)])

    with torch.no_grad():
        expected = model(as_float(inputs))
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    for name, value in model.state_dict().items():  # the model is not changed
        assert torch.equal(value, weights[name])
        assert value.stride() == weights[name].stride()


@needs_executorch
def test_xnnpack_computes_all_layers_of_an_mlp():
    program = lower(normalized(MLP((3, 12, 10), 4, hidden=[8])), PIXELS)
    assert b"XnnpackBackend" in program.content
    assert program.other_operators == ("dim_order_ops._to_dim_order_copy",)


class Choosy(nn.Module):
    """A model whose layers depend on the values of its inputs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


@needs_executorch
def test_models_that_cannot_be_lowered_are_one_message():
    with pytest.raises(ConfigError, match=r"cannot be lowered to ExecuTorch: .*to ONNX\.$") as info:
        lower(Choosy(), ROWS)
    assert "\n" not in str(info.value)


def test_a_missing_executorch_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("limbeck.deploy.executorch.lowering.find_spec", lambda name: None)
    message = r"needs the package executorch, .*: pip install executorch\.$"
    with pytest.raises(ResourceError, match=message):
        check_executorch_is_installed()
    with pytest.raises(ResourceError, match=message):
        lower(table_net(), ROWS)


def test_an_executorch_that_cannot_be_imported_is_named(monkeypatch):
    spec = importlib.util.find_spec("json")
    monkeypatch.setattr("limbeck.deploy.executorch.lowering.find_spec", lambda name: spec)
    monkeypatch.setitem(sys.modules, "executorch", None)
    for name in ("executorch.exir", "executorch.backends"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = "executorch.backends.xnnpack.partition.xnnpack_partitioner"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ResourceError, match=r"is installed, but cannot be imported .*: pip install executorch"
    ):
        lower(table_net(), ROWS)
