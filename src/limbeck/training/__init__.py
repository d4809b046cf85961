"""Training: the loop, its options and the computation of a step."""

import importlib.metadata
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec


def _import_fabric() -> None:
    """Import Fabric without importing torchmetrics.

    Fabric only reads the version of torchmetrics, whose import takes seconds. A stub with that
    version replaces it during the import of Fabric.
    """
    name = "torchmetrics"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    if version is None or name in sys.modules:
        return
    # with a spec, since importlib.util.find_spec refuses a module without one
    placeholder = module_from_spec(ModuleSpec(name, loader=None))
    placeholder.__version__ = version  # type: ignore[attr-defined]
    sys.modules[name] = placeholder
    try:
        import lightning_fabric  # noqa: F401
    finally:
        del sys.modules[name]


_import_fabric()
