"""Verify a bundle: its files, and its outputs on this device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .bundle import Bundle
from .errors import BundleError, DifferentOutputsError
from .file_names import GOLDEN, KINDS, SUMS


def verify(
    bundle_path: str | Path, check_signature: Callable[[Bundle], str] | None = None
) -> list[str]:
    """Check the files of a bundle against their checksums, and its outputs on this device.

    Args:
        bundle_path: Folder or zip file of the bundle.
        check_signature: Function that checks who signed the checksums, and returns a line; None for
            no check.

    Returns:
        Lines that describe the checks.

    Raises:
        BundleError: If a file is missing or was changed.
        DifferentOutputsError: If the outputs of a model differ from the exported ones.
    """
    bundle = Bundle(bundle_path)
    lines = [check_signature(bundle)] if check_signature else []
    for name in bundle.files():
        bundle.read(name)
    unexpected_files = bundle.unexpected_files()
    if unexpected_files:
        names = ", ".join(unexpected_files[:5])
        raise BundleError(
            f"{bundle_path}: {names}: not part of this bundle (not listed in {SUMS})."
        )
    lines.append(f"{len(bundle.files())} files are unchanged (SHA-256)")
    golden = bundle.golden()
    for kind in bundle.kinds:
        logits, expected = bundle.load(kind).logits(golden["inputs"]), golden[kind]
        if logits.shape != expected.shape:
            shape = expected.shape
            raise BundleError(
                f"{bundle_path}: {GOLDEN} has logits of shape {shape} for {KINDS[kind]}."
            )
        if not np.isfinite(logits).all():
            raise DifferentOutputsError(
                f"{bundle_path}: {KINDS[kind]}: its logits for the golden inputs are NaN or "
                "infinite. Do not use it on this device."
            )
        distances, outputs = np.abs(logits - expected), "logits"
        if bundle.scale is not None:
            distances, outputs = distances / np.array(bundle.scale), "standardised values"
        difference, tolerance = float(distances.max()), bundle.tolerances[kind]
        line = (
            f"{KINDS[kind]}: {len(expected)} golden inputs, {outputs} differ by at most "
            f"{difference:.2g}"
        )
        if not difference <= tolerance:
            raise DifferentOutputsError(
                f"{bundle_path}: {line}; {tolerance:.2g} is allowed. Do not use it on this device."
            )
        lines.append(f"{line} ({tolerance:.2g} is allowed)")
    return lines
