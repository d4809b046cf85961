"""Cohorts: students of one architecture with stacked weights, trained at once.

A cohort is a grid of A arms by S seeds. Every arm of a seed reads the same batch, so inputs are
``[S, B, ...]`` and logits ``[A, S, B, C]``. Training a student in a cohort gives the same weights
as training it alone. A student that cannot be stacked is a cohort of one and uses the same code.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from limbeck._base.errors import ConfigError
from limbeck.data.inputs import Inputs, ModelInputs, call, tensors_of
from limbeck.models.huggingface.base import TransformersModel
from limbeck.models.mlp import BoundedLinear
from limbeck.models.output import logits_of
from limbeck.training.cohort.layers import stacked_forward
from limbeck.training.cohort.randomness import SeedStreams, default_state

MAX_STACKED = 100_000_000


def reason_not_to_stack(model: nn.Module, students: int) -> str | None:
    """Why copies of a model cannot be one cohort; None if they can."""
    for module in model.modules():
        if isinstance(module, TransformersModel):
            return "models of transformers have no stacked form"
        if getattr(module, "track_running_stats", False):
            return f"{type(module).__name__} keeps statistics of its batches"
        if isinstance(module, nn.RNNBase):
            return f"{type(module).__name__} has no stacked form"
    if students * sum(p.numel() for p in model.parameters()) > MAX_STACKED:
        return f"{students} copies have over {MAX_STACKED:,} parameters"
    return None


def _structure(model: nn.Module) -> list[Any]:
    """Layers with their settings and the shapes and types of tensors, equal within a cohort."""
    layers = [
        (n, type(m), m.extra_repr(), getattr(m, "max_norm", None)) for n, m in model.named_modules()
    ]
    weights = [(name, p.shape, p.dtype, p.requires_grad) for name, p in model.named_parameters()]
    return [layers, weights, [(name, b.shape, b.dtype) for name, b in model.named_buffers()]]


class Cohort(nn.Module):
    """A grid of students that are trained at once.

    Args:
        members: Grid of students, ``members[a][s]`` for arm a and seed s; all of one architecture.
            Their weights are copied, except for a cohort of one, which trains the module itself.

    Raises:
        ConfigError: If the grid is empty or not rectangular, or the members differ in structure or
            cannot be stacked.
    """

    def __init__(self, members: Sequence[Sequence[nn.Module]]):
        super().__init__()
        self.arms, self.seeds = len(members), len(members[0]) if members else 0
        flat = [member for row in members for member in row]
        if not flat or any(len(row) != self.seeds for row in members):
            raise ConfigError("A cohort is a full grid of arms by seeds with at least one student.")
        self.student = flat[0] if len(flat) == 1 else None
        self._streams: SeedStreams | None = None
        self._draws: bool | None = None  # whether the members draw random numbers under vmap
        if self.student is None:
            self._stack(flat)

    def _stack(self, flat: list[nn.Module]) -> None:
        reason = reason_not_to_stack(flat[0], len(flat))
        if reason:
            raise ConfigError(
                f"These students cannot be stacked: {reason}. Train each as a cohort of one."
            )
        if any(_structure(member) != _structure(flat[0]) for member in flat[1:]):
            raise ConfigError(
                "Students of one cohort should have the same layers, sizes and frozen weights."
            )
        # A tuple keeps the skeleton out of the submodules: its own weights are never used.
        self._skeleton = (copy.deepcopy(flat[0]),)
        self._initial_modes = [(module, module.training) for module in self._skeleton[0].modules()]
        # Seeds first, so that the weights of all arms of a seed are adjacent.
        flat = [
            flat[arm * self.seeds + seed] for seed in range(self.seeds) for arm in range(self.arms)
        ]
        grid = (self.seeds, self.arms)
        self._stacked_forward = stacked_forward(self._skeleton[0])
        self._parameter_names = [name for name, _ in flat[0].named_parameters()]
        own = [dict(member.named_parameters()) for member in flat]
        self.stacked = nn.ParameterList(
            nn.Parameter(
                torch.stack([p[name].detach() for p in own]).unflatten(0, grid),
                requires_grad=own[0][name].requires_grad,
            )
            for name in self._parameter_names
        )
        buffers = [dict(member.named_buffers()) for member in flat]
        self._shared_names, self._own_names = [], []
        for name, first in buffers[0].items():
            if all(torch.equal(b[name], first) for b in buffers):
                self._shared_names.append(name)
                self.register_buffer(f"shared_{len(self._shared_names) - 1}", first.clone())
            else:
                self._own_names.append(name)
                own_buffers = torch.stack([b[name] for b in buffers]).unflatten(0, grid)
                self.register_buffer(f"own_{len(self._own_names) - 1}", own_buffers)

    @property
    def students(self) -> int:
        """Number of students."""
        return self.arms * self.seeds

    @classmethod
    def of_one(cls, student: nn.Module) -> "Cohort":
        """The cohort whose only member is ``student`` itself."""
        return cls([[student]])

    def forward(self, x: ModelInputs) -> Tensor:
        """Logits of every student.

        Args:
            x: Inputs ``[S, B, *shape]``, one batch for each seed; or several inputs of a single
                student, ``[B, ...]`` each.

        Returns:
            ``[A, S, B, C]``.

        Raises:
            ConfigError: If several students should read several inputs, or return no logits.
        """
        if self.student is not None:
            own = x if isinstance(x, Inputs) else x[0]
            logits = logits_of(call(self.student, own), len(tensors_of(own)[0]), "student")
            return logits.reshape(1, 1, *logits.shape)  # a single step of the backward pass
        if isinstance(x, Inputs):
            raise ConfigError(
                "Students with several inputs cannot be stacked. Train each as a cohort of one."
            )
        self._set_modes()
        shared, parameters = self._shared(), self._parameters_by_name()
        streams = self._streams or SeedStreams(self.seeds)
        if (
            self._stacked_forward is not None
            and not self._own_names
            and self._stacked_forward.reads(x)
        ):
            logits = self._stacked_forward(parameters, shared, x, streams)
        else:
            logits = self._forward_with_vmap(parameters, shared, x, streams)
        return logits.transpose(0, 1)

    def set_streams(self, numbers: Sequence[int]) -> None:
        """Restart the random numbers of the students.

        Args:
            numbers: Start of the stream of each seed, which its arms share.
        """
        torch.manual_seed(numbers[0])
        self._streams = SeedStreams(self.seeds, numbers)

    def streams_state(self) -> dict[str, Any] | None:
        """State of the random numbers since :meth:`set_streams`; None if it was not called."""
        return None if self._streams is None else self._streams.state_dict()

    def load_streams_state(self, state: dict[str, Any] | None) -> None:
        """Continue the random numbers of :meth:`streams_state`."""
        self._streams = None
        if state is not None:
            self._streams = SeedStreams(self.seeds)
            self._streams.load_state_dict(state)

    def restored_streams(self) -> AbstractContextManager[None]:
        """Return a context that leaves the random numbers of the students as they are."""
        return nullcontext() if self._streams is None else self._streams.restored()

    def _set_modes(self) -> None:
        """Set the modes of the skeleton's layers from the mode of the cohort."""
        # Not in train(), because code that restores modes sets the flags directly.
        for module, training in self._initial_modes:
            module.training = training and self.training

    def _shared(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"shared_{i}") for i, name in enumerate(self._shared_names)}

    def _parameters_by_name(self) -> dict[str, Tensor]:
        return dict(zip(self._parameter_names, self.stacked, strict=True))

    def _forward_with_vmap(
        self,
        parameters: dict[str, Tensor],
        shared: dict[str, Tensor],
        x: Tensor,
        streams: SeedStreams,
    ) -> Tensor:
        """Logits ``[S, A, B, C]`` of any students."""

        def answer(parameters: dict[str, Tensor], own: dict[str, Tensor], batch: Tensor) -> Tensor:
            output = functional_call(self._skeleton[0], (parameters, own, shared), (batch,))
            return logits_of(output, len(batch), "student")

        own = {name: getattr(self, f"own_{i}") for i, name in enumerate(self._own_names)}
        over_arms = vmap(answer, in_dims=(0, 0, None), randomness="same")
        if self.training and self._draws:
            return _seed_by_seed(over_arms, parameters, own, x, streams)
        before = default_state(x.device) if self._draws is None else None
        try:
            logits = vmap(over_arms, in_dims=(0, 0, 0), randomness="different")(parameters, own, x)
        except RuntimeError as error:
            if not str(error).startswith("vmap"):
                raise
            raise ConfigError(
                "These students cannot be stacked: a layer does not support torch.vmap "
                f"({str(error).splitlines()[0]}). Train each as a cohort of one."
            ) from None
        if self.training and before is not None:
            self._draws = not torch.equal(before, default_state(x.device))
            if self._draws:
                return _seed_by_seed(over_arms, parameters, own, x, streams)
        return logits

    def member(self, arm: int, seed: int) -> nn.Module:
        """Copy of the student at a position, as a separate module on the CPU."""
        if self.student is not None:
            return copy.deepcopy(self.student).cpu()
        state = self._shared()
        state |= {
            name: getattr(self, f"own_{i}")[seed, arm] for i, name in enumerate(self._own_names)
        }
        state |= {
            name: p[seed, arm] for name, p in zip(self._parameter_names, self.stacked, strict=True)
        }
        model = copy.deepcopy(self._skeleton[0]).cpu()
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(state[name].detach())
        return model

    def members(self) -> Iterator[tuple[int, int, nn.Module]]:
        """Iterate over (arm index, seed index, student)."""
        for arm in range(self.arms):
            for seed in range(self.seeds):
                yield arm, seed, self.member(arm, seed)

    @torch.no_grad()
    def bound_norms(self) -> None:
        """Scale the weights of every :class:`~limbeck.models.mlp.BoundedLinear` to their bound."""
        for weight, bound in self._bounded():
            norm = weight.norm(dim=-1, keepdim=True)
            weight.mul_((bound / norm.clamp(min=1e-12)).clamp(max=1.0))

    def _bounded(self) -> list[tuple[Tensor, float]]:
        if not hasattr(self, "_bounds"):
            model = self.student if self.student is not None else self._skeleton[0]
            self._bounds = {
                f"{name}.weight" if name else "weight": module.max_norm
                for name, module in model.named_modules()
                if isinstance(module, BoundedLinear)
            }
        if self.student is not None:
            return [
                (self.student.get_parameter(name), bound) for name, bound in self._bounds.items()
            ]
        return [
            (self.stacked[self._parameter_names.index(name)], bound)
            for name, bound in self._bounds.items()
        ]

    def clip_gradients(self, max_norm: float) -> None:
        """Scale the gradient of each student by itself to a norm of at most ``max_norm``."""
        if self.student is not None:
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), max_norm)
            return
        gradients = [p.grad for p in self.stacked if p.grad is not None]
        if not gradients:
            return
        norm = torch.stack([g.flatten(2).norm(dim=2) for g in gradients]).norm(dim=0)
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(*scale.shape, *[1] * (gradient.ndim - 2)))


@torch.compiler.disable
def _seed_by_seed(
    over_arms: Callable[..., Tensor],
    parameters: dict[str, Tensor],
    own: dict[str, Tensor],
    x: Tensor,
    streams: SeedStreams,
) -> Tensor:
    """Logits ``[S, A, B, C]`` of students that draw random numbers, each seed from its stream."""
    logits = []
    for seed, batch in enumerate(x):
        weights = {name: tensor[seed] for name, tensor in parameters.items()}
        buffers = {name: tensor[seed] for name, tensor in own.items()}
        with streams.as_default(seed, x.device):
            logits.append(over_arms(weights, buffers, batch))
    return torch.stack(logits)
