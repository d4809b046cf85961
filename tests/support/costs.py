"""Costs of two models, as in ``cost.json``."""

from limbeck.run.cost import Cost, CostRow, Latency, Timing


def timing(median):
    quartiles = (0.9 * median, 1.2 * median)
    return Timing(
        latency_ms=Latency(median=median, quartiles=quartiles, runs=419), per_second=46728.8
    )


def row(model, runtime, precision, **fields):
    values = {
        "kind": "mlp",
        "params": 2410,
        "bytes": 70544,
        "macs": 454464,
        "memory": 606126080,
        "errors": 7,
        "threads": {"1": timing(0.156), "2": timing(1.7)},
    }
    return CostRow(model=model, runtime=runtime, precision=precision, **(values | fields))


COST = Cost(
    schema=1,
    rows=(
        row("teacher", "torch", "fp32"),
        row("soft", "onnx", "int8", errors=22, threads={"1": timing(0.0086)}),
    ),
    hardware={"cpu": "Some CPU"},
    versions={"torch": "2.14.1"},
    batch=64,
)
