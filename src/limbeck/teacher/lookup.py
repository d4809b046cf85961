"""A teacher that is known by its answers to some inputs, such as the samples of a dataset."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError, UntrustedFileError
from limbeck.teacher.adapter import Adapter


class LookupTeacher(Adapter):
    """The answers of a model of which there is no copy, looked up by input.

    Views of a sample and generated samples are other inputs, to which it has no answer.

    Args:
        name: Name of the model that gave the answers.
        keys: Keys of the inputs from :func:`input_keys`, int64 ``[N]``, ascending.
        logits: Answers, float32 ``[N, C]``.
        padding: Id of the padding of texts, which is not part of them; None for other inputs.
    """

    keys: Tensor
    logits: Tensor
    padding: Tensor | None

    def __init__(self, name: str, keys: Tensor, logits: Tensor, *, padding: int | None = None):
        super().__init__(name)
        self.register_buffer("keys", keys)
        self.register_buffer("logits", logits)
        self.register_buffer("padding", None if padding is None else torch.tensor(padding))

    @classmethod
    def from_weights(cls, name: str, weights: Mapping[str, Tensor], file: Path) -> "LookupTeacher":
        """Create the teacher from the tensors in its file.

        Args:
            name: Name of the model that gave the answers.
            weights: Tensors of the file by name.
            file: File, for messages.

        Raises:
            UntrustedFileError: If they are not keys and answers.
        """
        keys, logits = weights.get("keys"), weights.get("logits")
        are_answers = (
            keys is not None
            and logits is not None
            and keys.dtype == torch.int64
            and logits.dtype == torch.float32
            and keys.ndim == 1
            and logits.ndim == 2
            and 0 < len(keys) == len(logits)
            and bool((keys.diff() > 0).all())
        )
        if keys is None or logits is None or not are_answers:
            raise UntrustedFileError(
                f"{file} is damaged: expected ascending keys [N] and their answers [N, C]."
            )
        padding = weights.get("padding")
        if padding is None:
            return cls(name, keys, logits)
        if padding.shape != () or padding.dtype != torch.int64:
            raise UntrustedFileError(f"{file} is damaged: expected the id of a padding.")
        return cls(name, keys, logits, padding=int(padding))

    def compute(self, x: Tensor) -> Tensor:
        """Look up the logits ``[B, C]`` of inputs ``[B, ...]``.

        Raises:
            TeacherError: If an input has no answer.
        """
        if x.dtype in (torch.float16, torch.bfloat16):
            raise TeacherError(
                f"The answers of {self.name} are looked up by the inputs, but these are rounded to "
                "16 bits. Use trainer.precision=32-true, 16-mixed or bf16-mixed."
            )
        padding = None if self.padding is None else int(self.padding)
        keys = input_keys(x, padding).to(self.keys.device)
        rows = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        if not torch.equal(self.keys[rows], keys):
            raise TeacherError(
                f"{self.name} is known by its answers to the samples of its run alone, but an "
                "input is none of them. Use the data of that run, as it is: views=none, "
                "transfer.source=null and no teacher.normalization."
            )
        return self.logits[rows].to(x.device)


def input_keys(x: Tensor, padding: int | None = None) -> Tensor:
    """Return a key for each input: 64 bits of the BLAKE2b hash of its values in float32.

    Args:
        x: Inputs as models take them, ``[N, ...]``.
        padding: Id of the padding of texts, which does not count; None for other inputs.

    Returns:
        int64 ``[N]``.
    """
    values = x.detach().flatten(1).cpu().float()
    # equal numbers have equal bytes: there are two zeros, and many kinds of NaN
    values = torch.where(values == 0, 0.0, values)
    values = torch.where(values.isnan(), torch.nan, values)
    keys = []
    for row in values.numpy():
        row = row if padding is None else row[row != padding]
        digest = hashlib.blake2b(row.tobytes(), digest_size=8).digest()
        keys.append(int.from_bytes(digest, "little", signed=True))
    return torch.tensor(keys, dtype=torch.int64)
