"""Lowering of PyTorch models to ExecuTorch: raw inputs in, logits out, XNNPACK where it can."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from limbeck._base.compiler_cache import use_private_compiler_cache
from limbeck._base.errors import ConfigError, ResourceError
from limbeck.deploy.exporters import FromRawInputs, cause_of, quiet

INSTALL = "pip install executorch"
DELEGATE = "executorch_call_delegate"
"""Call of a part of the program that XNNPACK computes."""


@dataclass(frozen=True)
class Lowering:
    """A program of ExecuTorch.

    Attributes:
        content: Content of the ``.pte`` file.
        other_operators: Names of the operators that ExecuTorch's own kernels compute, because
            XNNPACK does not have them, each once.
    """

    content: bytes
    other_operators: tuple[str, ...]


def check_executorch_is_installed() -> None:
    """Check that ExecuTorch is installed.

    Raises:
        ResourceError: If it is not.
    """
    if find_spec("executorch") is None:  # importing it takes seconds
        raise ResourceError(
            f"format=executorch needs the package executorch, which is not installed: {INSTALL}."
        )


def lower(model: nn.Module, example: Tensor) -> Lowering:
    """Lower a model to ExecuTorch, for one input at a time.

    The program reserves its memory when it is loaded. For one input it needs the least, and its
    shapes are known, so that XNNPACK can compute more of it.

    Args:
        model: Model on floats or token ids, which is not changed.
        example: At least one input as in the dataset, uint8 or float32 ``[N, ...]``, or token ids
            int32 ``[N, L]``.

    Returns:
        The program. Its method ``forward`` takes one input ``[1, ...]`` and returns the outputs
        ``[1, classes]``.

    Raises:
        ConfigError: If the model cannot be lowered.
        ResourceError: If ExecuTorch is missing or cannot be imported.
    """
    check_executorch_is_installed()
    plain_model = copy.deepcopy(model).float().cpu().eval()
    plain_model.to(memory_format=torch.contiguous_format)
    raw_model = FromRawInputs(plain_model).eval()
    use_private_compiler_cache()
    with quiet():
        to_edge, partitioner = _import()
        try:
            with torch.no_grad(), _PlainLayout():
                exported = torch.export.export(raw_model, (example[:1].cpu(),))
            edge = to_edge(exported, partitioner=[partitioner])
            other_operators = _other_operators(edge)  # of the program that the next step changes
            return Lowering(bytes(edge.to_executorch().buffer), other_operators)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # the exporter documents no common base class
            raise ConfigError(
                f"This model cannot be lowered to ExecuTorch: {cause_of(error)}. Export it without "
                "format=executorch, to ONNX."
            ) from error


class _PlainLayout(TorchFunctionMode):
    """Leaves images in the order channels, height, width.

    Models put channels last, which is faster in PyTorch. XNNPACK does that by itself, and fails on
    programs that have done it before.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function, with another layout if it asks for channels last."""
        kwargs = dict(kwargs or {})
        if kwargs.get("memory_format") is torch.channels_last:
            kwargs["memory_format"] = torch.contiguous_format
        return function(*args, **kwargs)


def _import() -> tuple[Callable[..., Any], Any]:
    """Import the function that lowers programs, and create XNNPACK's partitioner.

    Raises:
        ResourceError: If that fails, such as with another version of PyTorch.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except Exception as error:  # a binary that does not fit raises whatever it likes
        raise ResourceError(
            f"ExecuTorch is installed, but cannot be imported ({cause_of(error)}). Install the "
            f"version for this version of PyTorch: {INSTALL}."
        ) from error
    return to_edge_transform_and_lower, XnnpackPartitioner()


def _other_operators(edge: Any) -> tuple[str, ...]:
    """Return the operators of a lowered program that XNNPACK does not compute."""
    names = set()
    for node in edge.exported_program().graph.nodes:
        if node.op == "call_function":
            names.add(getattr(node.target, "__name__", str(node.target)))
    names -= {DELEGATE, "getitem"}
    return tuple(sorted({name.rpartition(".")[0] for name in names}))
