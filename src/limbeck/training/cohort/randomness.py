"""Random numbers of a cohort: one stream per seed, shared by the arms of the seed.

So the dropout of a student depends neither on the other seeds nor on the other arms, and is that of
the same student trained alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class SeedStreams:
    """A stream of random numbers for each seed of a cohort.

    Args:
        seeds: Number of seeds, S.
        numbers: Seed of each stream; None to draw them from PyTorch's default generator before
            the first use.
    """

    def __init__(self, seeds: int, numbers: Sequence[int] | None = None):
        self.seeds = seeds
        self._numbers = numbers
        self._generators: dict[torch.device, list[torch.Generator]] = {}

    def generators(self, device: torch.device) -> list[torch.Generator]:
        """Return the generator of each stream on a device."""
        if self._numbers is None:
            self._numbers = torch.randint(1 << 31, (self.seeds,)).tolist()
        if device not in self._generators:
            self._generators[device] = [
                torch.Generator(device).manual_seed(number) for number in self._numbers
            ]
        return self._generators[device]

    @torch.compiler.disable
    def dropout_factors(self, shape: Sequence[int], p: float, like: Tensor) -> Tensor:
        """Draw the factors of dropout: 0 with probability p, else ``1 / (1 - p)``.

        Args:
            shape: Shape of the activations of one student.
            p: Dropout probability.
            like: Tensor of the device and type of the activations.

        Returns:
            ``[S, *shape]``.
        """
        if p == 1:
            return like.new_zeros(self.seeds, *shape)
        factors = like.new_empty(self.seeds, *shape)
        for part, generator in zip(factors, self.generators(like.device), strict=True):
            part.bernoulli_(1 - p, generator=generator)
        return factors.div_(1 - p)

    def state_dict(self) -> dict[str, Any]:
        """Start of each stream, and the state of its generators by device."""
        states = {}
        for device, generators in self._generators.items():
            states[str(device)] = [generator.get_state() for generator in generators]
        return {
            "numbers": None if self._numbers is None else list(self._numbers),
            "states": states,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the streams of :meth:`state_dict` on the devices that this machine has."""
        self._numbers = state["numbers"]
        self._generators = {}
        for name, states in state["states"].items():
            device = torch.device(name)
            if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
                continue
            for generator, values in zip(self.generators(device), states, strict=True):
                generator.set_state(values)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore the streams at the end, as if nothing had been drawn."""
        numbers = self._numbers
        states = {
            device: [generator.get_state() for generator in generators]
            for device, generators in self._generators.items()
        }
        yield
        self._numbers = numbers
        self._generators = {device: self._generators[device] for device in states}
        for device, generators in self._generators.items():
            for generator, state in zip(generators, states[device], strict=True):
                generator.set_state(state)

    @contextmanager
    def as_default(self, seed: int, device: torch.device) -> Iterator[None]:
        """Let PyTorch's default generators continue the streams of a seed.

        Args:
            seed: Position of the seed.
            device: Device of the computation.
        """
        devices = {torch.device("cpu"), device}
        streams = {device: self.generators(device)[seed] for device in devices}
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for stream_device, generator in streams.items():
                _set_state(stream_device, generator.get_state())
            yield
            for stream_device, generator in streams.items():
                generator.set_state(default_state(stream_device))


def default_state(device: torch.device) -> Tensor:
    """Return the state of PyTorch's default generator for a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
