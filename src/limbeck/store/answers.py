"""What a soft-target store holds: a teacher's answers to some samples in all their views, and what
tells them apart.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.checks import without_addresses
from limbeck._base.errors import TeacherError
from limbeck._base.version import __version__
from limbeck.data.dataset import as_float
from limbeck.data.views.base import Views
from limbeck.models import Normalized, model_name
from limbeck.store.key import FORMAT, SPARSE_DTYPE, Header, record_bytes, rows_a_shard
from limbeck.teacher.signal import LiveTeacher

CONVOLUTION_BATCH, LINEAR_BATCH = 128, 2048
"""Inputs a teacher is asked at a time: the maps of a convolution then stay in a processor's cache
(docs/log.md).
"""
TOKENS_BATCH, MOST_LOGITS = 128, 1 << 22
"""Blocks of tokens a teacher is asked at a time, and logits that these may have, unless a single
block has more.
"""
DIGEST_ROWS = 1 << 14
SHOWN_LOGITS = 10


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a store holds: the answers of a teacher to some samples, each in all views of a family.

    Attributes:
        teacher: who answers.
        inputs: of the training split, ``[M, ...]``.
        rows: rows of it whose answers are kept, int64 ``[N]``, ascending.
        views: V views.
        pool: rows that views which mix samples mix in, int64 ``[P]``, all among ``rows``; None for
            ``rows``.
        classes: C.
        device: where to compute.
        precision: the name of the precision in which ``ask`` computes.
        ask: logits ``[B, C]`` for inputs ``[B, ...]``; by default the teacher's answer.
        data_name: of the data set, for people.
        positions: T, where inputs are blocks of T tokens and a teacher answers each token; None
            where it answers each input once.
        vocabulary: a digest of the tokenizer; None where inputs are no tokens.
        temperature: of the objective; only of interest to a store of sampled classes, which are
            drawn at it.
    """

    teacher: LiveTeacher
    inputs: Tensor
    rows: Tensor
    views: Views
    classes: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "32-true"
    ask: Callable[[Tensor], Tensor] | None = None
    data_name: str = "data"
    pool: Tensor | None = None
    positions: int | None = None
    vocabulary: str | None = None
    temperature: float = 1.0

    @property
    def count(self) -> int:
        """Number of inputs a teacher is asked, N x V."""
        return len(self.rows) * self.views.count

    @property
    def whole(self) -> bool:
        """Whether all samples of the split are in."""
        return len(self.rows) == len(self.inputs)

    def header(self, dtype: str, *, kind: str = "dense", k: int = 0) -> Header:
        """The header of the store that would hold them.

        Args:
            dtype: of dense logits.
            kind: one of :data:`~limbeck.store.key.KINDS`.
            k: K, classes that an answer keeps unless it is dense; at most all are kept.
        """
        k, dtype = (0, dtype) if kind == "dense" else (min(k, self.classes), SPARSE_DTYPE)
        drawn = {"temperature": float(self.temperature)} if kind == "sampled" else {}
        tokens = (
            {}
            if self.positions is None
            else {"positions": self.positions, "vocabulary": self.vocabulary}
        )
        positions, size = self.positions or 1, record_bytes(kind, self.classes, k, dtype)
        members = self.teacher.models
        shown = self.inputs if self.whole else self.inputs[self.rows]
        samples = {"inputs": digest_of(shown), "row_numbers": digest_of(self.rows)}
        mixing = {"pool": digest_of(self._pool)} if self.views.mixes else {}
        parts: dict[str, Any] = {
            "teacher": {
                "members": [_model_digest(model) for model in members],
                "combine": self.teacher.combine,
            },
            "samples": {"rows": len(self.rows), **samples},
            "views": {"count": self.views.count, "settings": self.views.settings(), **mixing},
            "normalisation": {"members": [_normalisation(model) for model in members]},
            "precision": {"computed": self.precision},
            "tokens": tokens,
            "format": {"version": FORMAT, "kind": kind, "k": k, "dtype": dtype, **drawn},
        }
        names = [model_name(model) for model in members]
        teacher = names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"
        return Header(
            parts=json.loads(without_addresses(json.dumps(parts, default=_plain))),
            rows=len(self.rows),
            views=self.views.count,
            positions=positions,
            classes=self.classes,
            kind=kind,
            k=k,
            dtype=dtype,
            shard_rows=rows_a_shard(self.views.count * positions, size),
            label={"data": self.data_name, "teacher": teacher, "views": self.views.name},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            limbeck=__version__,
        )

    def placed(self) -> "Answers":
        """The same with inputs and rows on the device."""
        inputs, rows, pool = (part.to(self.device) for part in (self.inputs, self.rows, self._pool))
        return replace(self, inputs=inputs, rows=rows, pool=pool)

    @property
    def _pool(self) -> Tensor:
        return self.rows if self.pool is None else self.pool

    def compute(self, number: Tensor) -> Tensor:
        """Ask for answers by their numbers.

        Args:
            number: int64 ``[B]``, from 0 to N x V - 1: the row's place times V plus the view.

        Returns:
            float32 logits ``[B, C]`` on the device, of blocks of tokens ``[B, T, C]``.

        Raises:
            TeacherError: they are not of that shape, or not all finite.
        """
        number = number.to(self.device)
        place = torch.div(number, self.views.count, rounding_mode="floor")
        seen = self.views.show(
            self.inputs, self.rows[place], number - place * self.views.count, self._pool
        )
        logits = (self.ask or self.teacher.answer)(as_float(seen)).float()
        wanted = (len(number), *(() if self.positions is None else (self.positions,)), self.classes)
        if logits.shape != wanted:
            raise TeacherError(
                f"The teacher answers {len(number)} inputs with logits of shape "
                f"{list(logits.shape)}; "
                f"{list(wanted)} was expected."
            )
        finite = torch.isfinite(logits.amax(-1)) & torch.isfinite(logits.amin(-1))
        if not bool(finite.all()):
            at = (~finite).nonzero()[0].tolist()
            broken = logits[tuple(at)]
            shown = ", ".join(f"{value:g}" for value in broken[:SHOWN_LOGITS].tolist())
            raise TeacherError(
                f"The teacher's logits of training sample {int(self.rows[place[at[0]]])}"
                f"{f', token {at[1]},' if at[1:] else ''} are not all finite: "
                f"{int((~broken.isfinite()).sum())} of "
                f"{len(broken)} are infinite or not a number "
                f"({shown}{', ...' if len(broken) > SHOWN_LOGITS else ''}). "
                "Check the teacher, or compute with trainer.precision=32-true. Where the teacher "
                "means them, as -inf "
                "for masked classes, use store=off: it is then asked in every step, and nothing is "
                "kept or checked."
            )
        return logits

    def batch(self) -> int:
        """How many inputs to ask at a time."""
        if self.positions is not None:
            return max(1, min(TOKENS_BATCH, MOST_LOGITS // (self.positions * self.classes)))
        modules = [module for model in self.teacher.models for module in model.modules()]
        wide = any(p.ndim > 2 for model in self.teacher.models for p in model.parameters())
        if wide or any(
            isinstance(module, (nn.Embedding, nn.MultiheadAttention)) for module in modules
        ):
            return CONVOLUTION_BATCH
        return LINEAR_BATCH


def digest_of(tensor: Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and bytes, in hexadecimal."""
    found = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}\n".encode())
    for part in (
        tensor.detach().split(DIGEST_ROWS) if tensor.ndim else [tensor.detach()]
    ):  # no copy of a mapped file
        found.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _model_digest(model: nn.Module) -> str:
    """Of architecture and weights, without the normalisation of inputs."""
    net = model.net if isinstance(model, Normalized) else model
    found = hashlib.sha256(without_addresses(repr(net)).encode())
    for name, value in sorted({**dict(net.named_buffers()), **net.state_dict()}.items()):
        found.update(f"\n{name} ".encode())
        found.update(
            (
                digest_of(value) if isinstance(value, Tensor) else without_addresses(repr(value))
            ).encode()
        )
    return found.hexdigest()


def _normalisation(model: nn.Module) -> dict[str, list[float]] | None:
    return (
        {"mean": model.mean.tolist(), "std": model.std.tolist()}
        if isinstance(model, Normalized)
        else None
    )


def _plain(value: Any) -> str:
    """What JSON does not know, so that unlike values stay unlike."""
    if isinstance(value, (Tensor, np.ndarray)):
        return digest_of(torch.as_tensor(value))
    return without_addresses(repr(value))
