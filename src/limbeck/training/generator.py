"""Transfer set from a generator that is trained against the teacher, without any data.

The generator turns noise into images. It is trained to produce images that the teacher classifies
with certainty, that are balanced over the classes, whose statistics match those in the teacher's
BatchNorm layers, and on which an auxiliary student, the adversary, disagrees with the teacher.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from limbeck._base.checks import check_count, check_seed
from limbeck._base.errors import ConfigError, DivergedError, TeacherError
from limbeck._base.progress import StageProgress
from limbeck.data.sources.base import Source, SourceTeacher
from limbeck.data.sources.noise import Noise, StrokeNoise
from limbeck.losses.divergences import kl_divergence
from limbeck.models import ConvNet
from limbeck.models.output import logits_of
from limbeck.teacher.adapter import adapter_of
from limbeck.training.generator_checkpoint import GeneratorCheckpoints
from limbeck.training.generator_losses import (
    balance_loss,
    certainty_loss,
    disagreement,
    statistics_of,
)

SNAPSHOTS = 10
"""Number of times during training at which images are drawn, for variety."""
QUICK_STEPS = 10
CONTRAST = 10.0
"""Difference of the logits of white and black in unchanged noise."""
CHANGE = 5.0
"""Factor of the change, because steps of Adam are small compared with the contrast."""
JITTER = 2
"""Largest shift of the images of a step in pixels, against artefacts of the teacher's grid."""
BATCH = 128
TEMPERATURE = 4.0
"""Temperature of the adversary's soft targets."""


@dataclass(frozen=True, kw_only=True)
class Generated(Source):
    """Images of a generator trained against the frozen teacher.

    Attributes:
        samples: Number of images. Half of them are the initial noise; the others are drawn in equal
            parts at ten points during training.
        steps: Number of training steps, each with 128 images.
        seed: Seed of the weights and the random numbers.
        start: Noise that is turned into images; its own samples and seed are ignored.
        lr: Learning rate of Adam, for generator and adversary.
        certainty: Weight of the cross-entropy between the teacher's answer and its own top class
            (Chen et al. 2019).
        balance: Weight of the distance of the mean answer from a uniform one (Chen et al. 2019).
        statistics: Weight of the distance from the running statistics of the teacher's BatchNorm
            layers (Yin et al. 2020).
        disagreement: Weight of the divergence between the teacher and a small convolutional student
            that is trained on the same images; the generator maximises it (Fang et al. 2019). 0
            for no such student.

    Raises:
        ConfigError: If a setting is out of range.

    References:
        Chen et al., "Data-Free Learning of Student Networks", ICCV 2019 (DAFL).
        Fang et al., "Data-Free Adversarial Distillation", 2019 (DFAD).
        Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR
        2020.
    """

    samples: int = 60_000
    steps: int = 1000
    seed: int = 0
    start: Noise = field(default_factory=StrokeNoise)
    lr: float = 2e-3
    certainty: float = 0.5
    balance: float = 5.0
    statistics: float = 2.0
    disagreement: float = 1.0

    needs_teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("transfer.source.samples", self.samples)
        check_count("transfer.source.steps", self.steps)
        check_seed("transfer.source.seed", self.seed)
        for name in ("lr", "certainty", "balance", "statistics", "disagreement"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value < math.inf
            ):
                raise ConfigError(
                    f"transfer.source.{name}={value!r} should be a finite number, not negative."
                )
        if not isinstance(self.start, Noise):
            raise ConfigError(
                f"transfer.source.start={self.start!r} should be noise, such as "
                "limbeck.data.sources.noise.StrokeNoise."
            )
        if self.lr == 0:
            raise ConfigError("transfer.source.lr=0 learns nothing; 2e-3 is the default.")

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "generated"

    def small(self, samples: int) -> "Generated":
        """A source of at most ``samples`` images after a few steps."""
        return replace(self, samples=min(samples, self.samples), steps=min(self.steps, QUICK_STEPS))

    def check(self, shape: Sequence[int]) -> None:
        """Check that the noise supports the shape of the inputs.

        Raises:
            ConfigError: If the inputs are not images of a supported shape.
        """
        if len(shape) != 3:
            raise ConfigError(
                "transfer.source: a generator makes images [C, H, W], but the data has inputs of "
                f"shape {list(shape)}."
            )
        self.start.check(shape)

    def make(
        self,
        *,
        shape: Sequence[int],
        classes: int,
        teacher: SourceTeacher | None,
        progress: StageProgress,
        checkpoints: Path | None = None,
    ) -> Tensor:
        """Train the generator and draw the images, uint8 ``[samples, C, H, W]``.

        Args:
            shape: Shape of an image.
            classes: Number of classes of the teacher.
            teacher: Teacher that the generator is trained against.
            progress: Progress display.
            checkpoints: Folder of checkpoints, which a resumed training goes on from.

        Raises:
            ConfigError: If the inputs are not images.
            TeacherError: If there is no teacher, or it has no gradients.
            DivergedError: If a loss is infinite or not a number.
        """
        if teacher is None:
            raise TeacherError(
                "transfer.source: a generator is trained against a teacher, and the study has none."
            )
        for adapter in filter(None, map(adapter_of, teacher.models)):
            raise TeacherError(
                "transfer.source: a generator learns from the gradients of its teacher, but "
                f"{adapter.name} has none. Use a teacher of PyTorch."
            )
        self.check(shape)
        first = next(teacher.models[0].parameters(), torch.empty(0))
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(self.seed)
            training = AdversarialTraining(teacher.models, shape, classes, self, first.device)
            images = self._train(training, self.samples // 2, progress, checkpoints)
        noise = replace(self.start, samples=self.samples - self.samples // 2, seed=self.seed)
        unchanged = noise.make(shape=shape, classes=classes, teacher=None, progress=progress)
        return torch.cat([unchanged, images])

    def _train(
        self,
        training: "AdversarialTraining",
        samples: int,
        progress: StageProgress,
        checkpoints: Path | None,
    ) -> Tensor:
        """Train the generator, and draw a part of the samples after each tenth of the steps."""
        parts: list[Tensor] = []
        saver = GeneratorCheckpoints(checkpoints, training, f"{self} {training.shape}")
        first_step = saver.load(parts)
        with (
            statistics_of(training.models) as terms,
            progress.stage("generator", self.steps) as advance,
        ):
            for step in range(first_step, self.steps + 1):
                losses = training.step(terms)
                if not all(map(math.isfinite, losses.values())):
                    raise DivergedError(
                        f"The generator's losses are {losses} in step {step} of {self.steps}. "
                        f"Use a smaller transfer.source.lr than {self.lr}."
                    )
                while len(parts) < SNAPSHOTS and step * SNAPSHOTS >= (len(parts) + 1) * self.steps:
                    start, end = (samples * (len(parts) + k) // SNAPSHOTS for k in (0, 1))
                    parts.append(training.draw(end - start))
                saver.save_if_due(step, parts)
                advance(
                    step, note=", ".join(f"{name} {value:.2f}" for name, value in losses.items())
                )
        return torch.cat(parts)


class Generator(nn.Module):
    """A network from noise to images.

    Convolutions at half the resolution compute a change of the noise; initially it is zero.

    Args:
        channels: Number of channels of an image.
        width: Number of channels of the hidden layers.
    """

    def __init__(self, channels: int, width: int = 32):
        super().__init__()
        hidden = 8
        self.coarse = nn.Sequential(
            *_block(channels, width, stride=2), *_block(width, width), nn.Conv2d(width, hidden, 1)
        ).to(memory_format=torch.channels_last)
        last = nn.Conv2d(hidden, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.fine = nn.Sequential(
            nn.BatchNorm2d(hidden + channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden + channels, hidden, 3, padding=1),
            nn.LeakyReLU(0.2),
            last,
        ).to(memory_format=torch.channels_last)
        self.contrast = nn.Parameter(torch.tensor(CONTRAST))

    def forward(self, noise: Tensor) -> Tensor:
        """Images from 0 to 1 of noise from 0 to 1, both ``[B, C, H, W]``."""
        # Bilinear, because nearest-neighbour upsampling leaves a grid in the images.
        coarse = interpolate(self.coarse(noise), size=noise.shape[-2:], mode="bilinear")
        change = self.fine(torch.cat([coarse, noise], 1))
        return torch.sigmoid(self.contrast * (noise - 0.5) + CHANGE * change)


def _block(channels: int, next_channels: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, next_channels, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(next_channels), nn.LeakyReLU(0.2)]


class AdversarialTraining:
    """Joint training of the generator and the adversary.

    Args:
        models: Members of the teacher, which are not changed.
        shape: Shape of an image.
        classes: Number of classes of the teacher.
        settings: Learning rate and weights of the losses.
        device: Device of the teacher.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        shape: Sequence[int],
        classes: int,
        settings: Generated,
        device: torch.device,
    ):
        self.models = [model.eval() for model in models]
        self.settings, self.device = settings, device
        self.shape = tuple(shape)
        self.random = torch.Generator().manual_seed(settings.seed)
        self.generator = Generator(shape[0]).to(device)
        self.optimizer = torch.optim.Adam(
            self.generator.parameters(), settings.lr, betas=(0.5, 0.999)
        )
        self.adversary: nn.Module | None = None
        if settings.disagreement > 0:
            self.adversary = ConvNet(
                shape, classes, channels=(16, 32, 64), strides=(2, 2, 1), dropout=0
            ).to(device)
            self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), settings.lr)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers and random numbers."""
        state = {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "noise": self.random.get_state(),
            "random": torch.get_rng_state(),
        }
        if self.adversary is not None:
            state["adversary"] = self.adversary.state_dict()
            state["adversary_optimizer"] = self.adversary_optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of :meth:`state_dict`."""
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])
            self.adversary_optimizer.load_state_dict(state["adversary_optimizer"])
        self.random.set_state(state["noise"])
        torch.set_rng_state(state["random"])

    def noise(self, count: int) -> Tensor:
        """Draw inputs ``[count, C, H, W]``, on the CPU so that they are equal on all devices."""
        return self.settings.start.draw((count, *self.shape), self.random).to(self.device)

    def step(self, terms: list[Tensor]) -> dict[str, float]:
        """Train the generator and the adversary for one step on the same images.

        Args:
            terms: List of :func:`statistics_of`, filled during the teacher's forward pass.

        Returns:
            The generator's losses by name, without their weights.
        """
        down, across = torch.randint(-JITTER, JITTER + 1, (2,)).tolist()
        images = self.generator(self.noise(BATCH)).roll((down, across), (2, 3))
        terms.clear()
        answers = [logits_of(model(images), len(images), "teacher") for model in self.models]
        answer = torch.stack(answers).mean(0).float()
        losses = {"certainty": certainty_loss(answer).mean(), "balance": balance_loss(answer)}
        if terms:
            losses["statistics"] = torch.stack(terms).mean()
        if self.adversary is not None:
            losses["disagreement"] = disagreement(self.adversary(images), answer).mean()
        weights = {name: getattr(self.settings, name) for name in losses} | {
            "disagreement": -self.settings.disagreement
        }
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        self.optimizer.zero_grad()
        # Without ``inputs``, the teacher's parameters would accumulate gradients.
        loss.backward(inputs=list(self.generator.parameters()))
        self.optimizer.step()
        if self.adversary is not None:
            self._train_adversary(images.detach(), answer.detach())
        return {name: float(value.detach()) for name, value in losses.items()}

    def _train_adversary(self, images: Tensor, answer: Tensor) -> None:
        """Train the adversary for one step on the teacher's soft targets."""
        assert self.adversary is not None
        loss = (
            TEMPERATURE**2
            * kl_divergence(self.adversary(images), answer, temperature=TEMPERATURE).mean()
        )
        self.adversary_optimizer.zero_grad()
        loss.backward()
        self.adversary_optimizer.step()

    @torch.no_grad()
    def draw(self, count: int) -> Tensor:
        """Draw images from the generator, uint8 ``[count, C, H, W]``."""
        images = [self.generator(self.noise(BATCH)) for _ in range(0, count, BATCH)]
        empty = torch.empty((0, *self.shape), device=self.device)
        return (torch.cat([empty, *images])[:count] * 255).round().to(torch.uint8).cpu()
