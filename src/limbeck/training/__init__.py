"""Training: the loop, its options, and what a step computes."""

import importlib.metadata
import sys
import types


def _import_fabric() -> None:
    """Import Fabric without torchmetrics, of which it reads the version number alone.

    Importing torchmetrics imports torchvision, transformers and half of SciPy: seconds at every
    start. A module that has nothing but the version answers meanwhile.
    """
    name = "torchmetrics"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    if version is None or name in sys.modules:
        return
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__version__ = version  # type: ignore[attr-defined]
    try:
        import lightning_fabric  # noqa: F401
    finally:
        del sys.modules[name]


_import_fabric()
