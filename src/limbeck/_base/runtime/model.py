"""An ONNX model, run by ONNX Runtime."""

import re
from collections.abc import Sequence

import numpy as np

from .errors import BundleError, MissingLibraryError, one_line

_EXTERNAL = re.compile(rb"[\x00\x08]location")
"""The key ``location``, under which a tensor names an external data file. ONNX files store the
length of a string before its bytes: 8, which may be padded to end in 0.
"""
_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")


class Model:
    """An ONNX model, run by ONNX Runtime on the CPU.

    Args:
        content: Bytes of the file.
        name: Name of the model, for messages.
        labels: Names of the classes.
        temperature: Divisor of the logits for calibrated confidences.
        threads: Number of threads; None for all cores.

    Raises:
        BundleError: If it is not an ONNX model, or if it reads other files.
        MissingLibraryError: If ONNX Runtime is not installed.
    """

    def __init__(
        self,
        content: bytes,
        name: str,
        labels: Sequence[str],
        temperature: float = 1.0,
        threads: int | None = None,
    ):
        # If a model is loaded from bytes, ONNX Runtime reads external files from the working
        # directory, and old versions from anywhere.
        if _EXTERNAL.search(content):
            raise BundleError(
                f"{name} contains the key 'location', with which a model reads other files. Models "
                "of a bundle must not read other files."
            )
        try:
            import onnxruntime
        except ImportError:
            raise MissingLibraryError(
                "ONNX Runtime is not installed: pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:
            _raise_shortage(error)
            raise BundleError(f"{name} cannot be loaded ({one_line(error)}).") from None
        self._input = self._session.get_inputs()[0].name
        self.name, self.labels, self.temperature = name, labels, temperature

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the logits, float32 ``[N, classes]``, of inputs ``[N, ...]``.

        Raises:
            BundleError: If the model does not accept the inputs, or its output has a wrong shape.
        """
        try:
            (logits,) = self._session.run(None, {self._input: inputs})
        except Exception as error:
            _raise_shortage(error)
            raise BundleError(f"{self.name} cannot be run ({one_line(error)}).") from None
        shape = getattr(logits, "shape", None)
        if shape != (len(inputs), len(self.labels)):
            counts = f"{len(inputs)} inputs and {len(self.labels)} classes"
            raise BundleError(f"{self.name} outputs logits of shape {shape} for {counts}.")
        return logits

    def confidences(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the softmax of logits divided by the temperature, float64 ``[N, classes]``.

        A row is NaN if its logits are NaN or infinite.
        """
        scaled = self.logits(inputs).astype(np.float64) / self.temperature
        scaled[~np.isfinite(scaled).all(1)] = np.nan
        scaled -= scaled.max(1, keepdims=True)
        weights = np.exp(scaled)
        return weights / weights.sum(1, keepdims=True)


def _raise_shortage(error: Exception) -> None:
    """Raise an error of memory that ONNX Runtime reports as one of its own."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
        raise MemoryError from None
