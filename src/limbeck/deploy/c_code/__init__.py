"""Students as C source code, for microcontrollers: small networks of dense layers."""

from limbeck.deploy.c_code.export import CExport, export_c

__all__ = ["CExport", "export_c"]
