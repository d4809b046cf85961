"""Computation of a teacher's answers in one pass over samples in all their views."""

import copy
import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.checks import without_addresses
from limbeck._base.errors import TeacherError
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.signals import check_interrupt
from limbeck._base.version import __version__
from limbeck.data.dataset import as_float
from limbeck.data.padding import cut_padding
from limbeck.data.split import read_parts
from limbeck.data.views.base import Views
from limbeck.models.batch_size import forward_batch_size
from limbeck.models.normalized import InputWrapper, without_normalization
from limbeck.store.key import FORMAT, SPARSE_DTYPE, Header, rows_per_shard
from limbeck.teacher.signal import LiveTeacher

TOKEN_BLOCKS_BATCH, MAX_LOGITS = 128, 1 << 22
"""Maximum number of token blocks in a batch, and of the logits of several blocks."""
MAX_LISTED_LOGITS = 10


class Precision(Protocol):
    """Precision of a computation, as implemented by the precision plugins of Lightning Fabric."""

    @property
    def precision(self) -> Any:
        """Name of the precision, such as ``bf16-mixed``."""

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""

    def convert_input(self, data: Any) -> Any:
        """Convert inputs to the type that the model expects."""


class FullPrecision:
    """Computation in float32."""

    precision = "32-true"

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return a context that changes nothing."""
        return nullcontext()

    def convert_input(self, data: Any) -> Any:
        """Return the inputs unchanged."""
        return data


@dataclass(frozen=True, kw_only=True)
class TeacherPass:
    """One pass of a teacher over samples, each in all views of a family; its answers are stored.

    Attributes:
        teacher: Teacher that computes the answers.
        inputs: Inputs of the training split, ``[M, ...]``.
        rows: Rows of the split to compute answers for, int64 ``[N]``, ascending.
        views: Family of V views.
        classes: Number of classes, C.
        device: Device of the computation.
        precision: Precision of the computation.
        data_name: Name of the dataset, for display.
        pool: Rows from which mixing views draw, int64 ``[P]``, a subset of ``rows``; None for all
            of ``rows``.
        positions: Number of tokens in a block, T, for a teacher with logits per token; None for one
            with logits per input.
        vocabulary: Digest of the tokenizer; None if the inputs are not tokens.
        temperature: Temperature of the objective; only used by stores of sampled classes.
        padding: Id of the padding of texts of one class each; None for other inputs.
        first: Index in ``rows`` of the first input, if ``inputs`` are those of some rows alone, one
            after the other; None if they are those of the whole split.
    """

    teacher: LiveTeacher
    inputs: Tensor
    rows: Tensor
    views: Views
    classes: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = field(default_factory=FullPrecision)
    data_name: str = "data"
    pool: Tensor | None = None
    positions: int | None = None
    vocabulary: str | None = None
    temperature: float = 1.0
    padding: int | None = None
    first: int | None = None

    @property
    def count(self) -> int:
        """Number of inputs, N x V."""
        return len(self.rows) * self.views.count

    @property
    def covers_split(self) -> bool:
        """Whether the pass covers all samples of the split."""
        return len(self.rows) == len(self.inputs)

    @property
    def batch_size(self) -> int:
        """Number of inputs of a batch."""
        if self.positions is not None:
            return max(1, min(TOKEN_BLOCKS_BATCH, MAX_LOGITS // (self.positions * self.classes)))
        return forward_batch_size(self.teacher.models)

    def header(self, dtype: str, *, kind: str = "dense", k: int = 0) -> Header:
        """Header of the store that holds the answers.

        Args:
            dtype: Type of dense logits.
            kind: Part of an answer to store, one of :data:`~limbeck.store.key.KINDS`.
            k: Number of classes to store per answer, K; ignored for ``dense``.
        """
        if kind == "dense":
            stored: dict[str, Any] = {"k": 0, "dtype": dtype}
        else:
            stored = {"k": min(k, self.classes), "dtype": SPARSE_DTYPE}
        if kind == "sampled":
            stored["temperature"] = float(self.temperature)
        header = Header(
            parts=self._parts({"version": FORMAT, "kind": kind, **stored}),
            classes=self.classes,
            shard_rows=1,
            label=self._label(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            limbeck=__version__,
        )
        row_answers = header.views * header.positions
        return replace(header, shard_rows=rows_per_shard(row_answers, header.record_bytes))

    def _parts(self, stored: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Parts of the store's key."""
        members = self.teacher.models
        rows = None if self.covers_split else self.rows
        views: dict[str, Any] = {"count": self.views.count, "settings": self.views.settings()}
        if self.views.mixes:
            views["pool"] = digest_of(self._pool)
        tokens: dict[str, Any] = {}
        if self.positions is not None:
            tokens = {"positions": self.positions, "vocabulary": self.vocabulary}
        parts = {
            "teacher": {
                "members": [_model_digest(model) for model in members],
                "combine": self.teacher.combine,
            },
            "samples": {
                "rows": len(self.rows),
                "inputs": digest_of(self.inputs, rows),
                "row_numbers": digest_of(self.rows),
            },
            "views": views,
            "normalisation": {"members": [_normalisation(model) for model in members]},
            "precision": {"computed": str(self.precision.precision)},
            "tokens": tokens,
            "format": stored,
        }
        return json.loads(without_addresses(json.dumps(parts, default=_as_text)))

    def _label(self) -> dict[str, str]:
        return {"data": self.data_name, "teacher": self.teacher.name, "views": self.views.name}

    def on(self, device: torch.device) -> "TeacherPass":
        """The same pass on another device, with teacher, inputs and precision."""
        self.teacher.prepare(device)
        precision = copy.copy(self.precision)
        if hasattr(precision, "device"):  # that of a mixed precision, whose name is its type
            precision.device = device.type
        return replace(self, device=device, precision=precision).to_device()

    def to_device(self) -> "TeacherPass":
        """The same pass with inputs and rows on the device."""
        return replace(
            self,
            inputs=self.inputs.to(self.device),
            rows=self.rows.to(self.device),
            pool=self._pool.to(self.device),
        )

    @property
    def _pool(self) -> Tensor:
        return self.rows if self.pool is None else self.pool

    def compute(self, number: Tensor) -> Tensor:
        """Compute answers.

        Args:
            number: Number of each answer, int64 ``[B]``: index of the row times V, plus the view.

        Returns:
            float32 logits ``[B, C]`` on the device, or ``[B, T, C]`` for blocks of tokens.

        Raises:
            TeacherError: If the logits have the wrong shape or are not all finite.
        """
        number = number.to(self.device)
        index = torch.div(number, self.views.count, rounding_mode="floor")
        view = number - index * self.views.count
        inputs = cut_padding(self._show(index, view), self.padding)
        with self.precision.forward_context():
            logits = self.teacher.answer(self.precision.convert_input(as_float(inputs)))
        logits = logits.float()
        self._check(logits, self.rows[index])
        return logits

    def _show(self, index: Tensor, view: Tensor) -> Tensor:
        """Return the views of rows, given their indices."""
        rows = self.rows[index]
        if self.first is None:
            return self.views.show(self.inputs, rows, view, self._pool)
        return self.views.apply(self.inputs.index_select(0, index - self.first), view, rows)

    def part(self, first: int, end: int) -> tuple[Tensor, int]:
        """Return the inputs of a range of answers, for the attributes ``inputs`` and ``first``.

        Views that mix samples need all inputs instead.

        Args:
            first: Number of the first answer.
            end: Number after the last answer.
        """
        start, stop = first // self.views.count, -(-end // self.views.count)
        rows = self.rows[start:stop]
        low, high = int(rows[0]), int(rows[-1]) + 1
        if high - low == len(rows):  # a slice of a memory-mapped file is not read here
            return self.inputs[low:high], start
        return self.inputs.index_select(0, rows), start

    def batch_of(self, count: int) -> int:
        """Number of inputs of a batch that cuts a number of inputs evenly."""
        return -(-count // -(-count // self.batch_size))

    def compute_all(
        self, first: int, end: int, batch: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Compute a range of answers in batches.

        Args:
            first: Number of the first answer.
            end: Number after the last answer.
            batch: Number of inputs of a batch; None for batches of similar size.

        Yields:
            Numbers int64 ``[B]`` and logits of each batch, see :meth:`compute`.
        """
        for number in torch.arange(first, end).split(batch or self.batch_of(end - first)):
            check_interrupt()
            yield number, self.compute(number)
            MAPPED_FILES.release()

    def _check(self, logits: Tensor, rows: Tensor) -> None:
        expected = [len(rows), self.classes]
        if self.positions is not None:
            expected.insert(1, self.positions)
        if list(logits.shape) != expected:
            raise TeacherError(
                f"The teacher returned logits of shape {list(logits.shape)} for {len(rows)} "
                f"inputs. Expected {expected}."
            )
        finite = torch.isfinite(logits.amax(-1)) & torch.isfinite(logits.amin(-1))
        if bool(finite.all()):
            return
        position = (~finite).nonzero()[0].tolist()
        answer = logits[tuple(position)]
        values = [f"{value:g}" for value in answer[:MAX_LISTED_LOGITS].tolist()]
        if len(answer) > MAX_LISTED_LOGITS:
            values.append("...")
        where = f"training sample {int(rows[position[0]])}"
        if self.positions is not None:
            where += f", token {position[1]},"
        raise TeacherError(
            f"The teacher's logits of {where} are not all finite: "
            f"{int((~answer.isfinite()).sum())} of {len(answer)} are infinite or not a number "
            f"({', '.join(values)}). Check the teacher, or compute with "
            "trainer.precision=32-true. If they are intended, such as -inf for masked classes, use "
            "store=off: the teacher then runs in every step."
        )


def digest_of(tensor: Tensor, rows: Tensor | None = None) -> str:
    """SHA-256 of a tensor's dtype, shape and bytes, in hexadecimal.

    Args:
        tensor: Any tensor.
        rows: Rows to use, int64 ``[N]``; None for all.
    """
    tensor = tensor.detach()
    shape = list(tensor.shape) if rows is None else [len(rows), *tensor.shape[1:]]
    digest = hashlib.sha256(f"{tensor.dtype} {shape}\n".encode())
    for part in _parts_of(tensor, rows):  # so that a memory-mapped file is not copied as a whole
        digest.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parts_of(tensor: Tensor, rows: Tensor | None) -> Iterator[Tensor]:
    if rows is not None:
        for some in read_parts(rows):
            yield from read_parts(tensor[some])
    elif tensor.ndim:
        yield from read_parts(tensor)
    else:
        yield tensor


def _model_digest(model: nn.Module) -> str:
    """SHA-256 of architecture and weights, excluding the normalisation of inputs."""
    net = without_normalization(model)
    digest = hashlib.sha256(without_addresses(repr(net)).encode())
    state = {**dict(net.named_buffers()), **net.state_dict()}
    for name, value in sorted(state.items()):
        text = digest_of(value) if isinstance(value, Tensor) else without_addresses(repr(value))
        digest.update(f"\n{name} {text}".encode())
    return digest.hexdigest()


def _normalisation(model: nn.Module) -> dict[str, Any] | None:
    return model.settings() if isinstance(model, InputWrapper) else None


def _as_text(value: Any) -> str:
    """Unique text for a value that JSON cannot represent."""
    if isinstance(value, (Tensor, np.ndarray)):
        return digest_of(torch.as_tensor(value))
    return without_addresses(repr(value))
