"""Search space: the students, and how they are trained."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from limbeck._base.checks import check_count, check_keys, check_seed, did_you_mean, field_names
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.models import (
    MLP,
    BagOfEmbeddings,
    ConvNet,
    TextCNN,
    TextEncoder,
    TimmModel,
    TorchvisionModel,
)

LIBRARIES = {"timm": TimmModel, "torchvision": TorchvisionModel}
LOWEST_LR, HIGHEST_LR = 1 / 3, 10.0
"""Smallest and largest learning rate as multiples of the study's. Small students bear more."""
ARCHITECTURE = ("width", "depth", "stride")
"""Numbers of an architecture."""
MAX_WIDTH, MAX_DEPTH = 4096, 32
MIN_SIDE = 3
"""Side of an image, in pixels, below which a convolution no longer halves it."""

Builder = Callable[..., Any]
Range = tuple[float, float]


@dataclass(frozen=True)
class Parameter:
    """A number that the search chooses.

    Attributes:
        name: Name of the setting.
        low: Smallest value.
        high: Largest value.
        is_whole: Whether it is a whole number.
        is_log: Whether values are spread evenly over orders of magnitude.
    """

    name: str
    low: float
    high: float
    is_whole: bool = False
    is_log: bool = False


@dataclass(frozen=True)
class StudentKind:
    """A kind of student, whose width and depth the search chooses.

    Attributes:
        name: Name in ``search.students``.
        build: Function from width, depth, first stride and shape of an input to a builder.
        suits: Function that says whether a dataset has inputs for it.
        width: Smallest and largest width.
        depth: Smallest and largest depth; equal if it has no depth.
        stride: Smallest and largest stride of the first convolution; None for a kind without one.
    """

    name: str
    build: Callable[[int, int, int, Sequence[int]], Builder]
    suits: Callable[[Dataset], bool]
    width: Range
    depth: Range
    stride: Range | None = None


def _mlp(width: int, depth: int, stride: int, shape: Sequence[int]) -> Builder:
    return partial(MLP, hidden=[width] * depth)


def _convnet(width: int, depth: int, stride: int, shape: Sequence[int]) -> Builder:
    """Halve the image and double the channels in every second layer, down to a smallest image.

    With a stride of 2, the first layer halves it, and does not double the width. A stride of 1
    costs more multiply-adds.
    """
    side = min(shape[-2:])
    channels: list[int] = []
    strides: list[int] = []
    for layer in range(depth):
        is_halving = layer % 2 == stride % 2 and math.ceil(side / 2) >= MIN_SIDE
        if is_halving:
            side = math.ceil(side / 2)
            width = width if layer == 0 else min(2 * width, MAX_WIDTH)
        channels.append(width)
        strides.append(2 if is_halving else 1)
    return partial(ConvNet, channels=channels, strides=strides, dropout=0.0)


def _bag(width: int, depth: int, stride: int, shape: Sequence[int]) -> Builder:
    return partial(BagOfEmbeddings, width=width, hidden=[width] * depth)


def _text_cnn(width: int, depth: int, stride: int, shape: Sequence[int]) -> Builder:
    return partial(TextCNN, width=width, channels=width)


def _encoder(width: int, depth: int, stride: int, shape: Sequence[int]) -> Builder:
    return partial(TextEncoder, width=2 * width, layers=depth, heads=2)


def _is_text(data: Dataset) -> bool:
    return data.tokenizer is not None


def _is_image(data: Dataset) -> bool:
    return not _is_text(data) and data.columns is None and len(data.shape) == 3


KINDS = {
    kind.name: kind
    for kind in (
        StudentKind("mlp", _mlp, lambda data: not _is_text(data), (4, 256), (1, 2)),
        StudentKind("convnet", _convnet, _is_image, (4, 32), (1, 6), (1, 2)),
        StudentKind("bag", _bag, _is_text, (4, 256), (0, 1)),
        StudentKind("text_cnn", _text_cnn, _is_text, (4, 128), (1, 1)),
        StudentKind("encoder", _encoder, _is_text, (8, 64), (1, 2)),
    )
}
"""Kinds of students by name. A new one needs an entry, and a builder that can be exported."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What the search may choose. The defaults fit the data.

    Attributes:
        students: Kinds of students: ``mlp`` and ``convnet`` for images, ``bag``, ``text_cnn`` and
            ``encoder`` for texts, and models of libraries, such as ``timm/mobilenetv3_small_050``
            or ``torchvision/resnet18``. None for those of limbeck that fit the data.
        width: Smallest and largest width of a student: units of a hidden layer, channels of the
            first convolution, features per token. None for a default of each kind.
        depth: Smallest and largest number of layers. None for a default of each kind.
        stride: Smallest and largest stride of the first convolution, 1 or 2.
        temperature: Smallest and largest temperature of the soft targets.
        soft_weight: Smallest and largest weight of the soft loss. The hard loss has the rest of 1.
        lr: Smallest and largest learning rate. None for a third of that of the study to ten
            times as much.
        variants: Number of students of one architecture in a round. They differ in temperature,
            weights and learning rate, and are trained together. Architectures that cannot be
            stacked, such as those with BatchNorm, have one student each.
        architectures: Number of architectures in a round if they have variants. A round has
            ``variants * architectures`` students.
        pruning: Whether to stop students after a short training if two others were better and need
            no more of the budget.
        seed: Seed of the proposals.

    Raises:
        ConfigError: If a value is out of range.
    """

    students: Sequence[str] | None = None
    width: Sequence[int] | None = None
    depth: Sequence[int] | None = None
    stride: Sequence[int] | None = None
    temperature: Sequence[float] = (1.0, 20.0)
    soft_weight: Sequence[float] = (0.1, 1.0)
    lr: Sequence[float] | None = None
    variants: int = 4
    architectures: int = 2
    pruning: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.students is not None:
            object.__setattr__(self, "students", _names(self.students))
        for name, (low, high) in {
            "width": (1, MAX_WIDTH),
            "depth": (0, MAX_DEPTH),
            "stride": (1, 2),
            "temperature": (1e-3, 1e3),
            "soft_weight": (1e-3, 1.0),
            "lr": (1e-8, 1e3),
        }.items():
            value = getattr(self, name)
            if value is not None:
                is_whole = name in ARCHITECTURE
                checked = _range(f"search.{name}", value, low, high, is_whole=is_whole)
                object.__setattr__(self, name, checked)
        check_count("search.variants", self.variants)
        check_count("search.architectures", self.architectures)
        if not isinstance(self.pruning, bool):
            raise ConfigError(f"search.pruning={self.pruning!r} should be true or false.")
        check_seed("search.seed", self.seed)

    @classmethod
    def of(cls, settings: "SearchSpace | Mapping[str, Any] | None") -> "SearchSpace":
        """Create a search space from a group of settings; None is the default one.

        Raises:
            ConfigError: If a setting is unknown or its value is out of range.
        """
        if isinstance(settings, SearchSpace):
            return settings
        if settings is None:
            return cls()
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"search={settings!r} should be settings, as in search.students=[mlp]."
            )
        check_keys(settings, field_names(cls), "search")
        return cls(**settings)

    def kinds(self, data: Dataset) -> list[str]:
        """Return the kinds of students to propose for a dataset.

        Raises:
            ConfigError: If a kind has no use for its inputs.
        """
        if self.students is None:
            return [kind.name for kind in KINDS.values() if kind.suits(data)]
        for name in self.students:
            fits = KINDS[name].suits(data) if name in KINDS else _is_image(data)
            if not fits:
                suitable = [kind.name for kind in KINDS.values() if kind.suits(data)]
                raise ConfigError(
                    f"search.students: {name} does not take the inputs of {data.name}. Choose "
                    f"among {', '.join(suitable)}."
                )
        return list(self.students)

    def parameters_of_student(self, name: str) -> list[Parameter]:
        """Return the numbers to choose for an architecture of a kind."""
        if name not in KINDS:
            return []
        kind = KINDS[name]
        width, depth = self.width or kind.width, self.depth or kind.depth
        parameters = [Parameter("width", width[0], width[1], is_whole=True, is_log=True)]
        if kind.depth[0] < kind.depth[1]:
            parameters.append(Parameter("depth", depth[0], depth[1], is_whole=True))
        if kind.stride is not None:
            low, high = self.stride or kind.stride
            parameters.append(Parameter("stride", low, high, is_whole=True))
        return parameters

    def cheapest(self, name: str) -> dict[str, Any]:
        """Return the settings of the cheapest architecture of a kind."""
        settings: dict[str, Any] = {"student": name}
        for parameter in self.parameters_of_student(name):
            number = parameter.high if parameter.name == "stride" else parameter.low
            settings[parameter.name] = int(number)
        return settings

    def parameters_of_training(self, lr: float, *, has_temperature: bool) -> list[Parameter]:
        """Return the numbers to choose for the training of a student.

        Args:
            lr: Learning rate of the study.
            has_temperature: Whether the soft loss has a temperature.
        """
        parameters = []
        if has_temperature:
            low, high = self.temperature
            parameters.append(Parameter("temperature", low, high, is_log=True))
        low, high = self.soft_weight
        parameters.append(Parameter("soft_weight", low, high))
        low, high = self.lr or (LOWEST_LR * lr, HIGHEST_LR * lr)
        return [*parameters, Parameter("lr", low, high, is_log=True)]


def student_builder(settings: Mapping[str, Any], shape: Sequence[int]) -> Builder:
    """Return the builder of the student that a trial describes.

    Args:
        settings: Settings of the trial: ``student``, and ``width``, ``depth`` and ``stride`` as far
            as it has them.
        shape: Shape of an input of the data.

    Raises:
        ConfigError: If there is no such student, or it has no width.
    """
    name = settings["student"]
    library, _, model = name.partition("/")
    if library in LIBRARIES:
        return partial(LIBRARIES[library], name=model)
    if name not in KINDS or "width" not in settings:
        raise ConfigError(f"The search has a student that this version does not know: {name!r}.")
    kind = KINDS[name]
    depth, stride = settings.get("depth", kind.depth[0]), settings.get("stride", 2)
    return kind.build(int(settings["width"]), int(depth), int(stride), shape)


def architecture_key(settings: Mapping[str, Any]) -> str:
    """Return a key that trials share whose students have the same architecture.

    Args:
        settings: Settings of a trial.
    """
    return str([settings.get(name) for name in ("student", *ARCHITECTURE)])


def _names(value: Any) -> tuple[str, ...]:
    """Check the names of kinds of students."""
    names = [value] if isinstance(value, str) else value
    is_list = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    if not is_list or not names or len(set(names)) < len(names):
        raise ConfigError(
            f"search.students={value!r} should be a list of different kinds, as in "
            "search.students=[mlp,convnet]."
        )
    for name in names:
        library, slash, model = name.partition("/")
        if name in KINDS or (library in LIBRARIES and slash and model):
            continue
        hint = did_you_mean(name, KINDS)
        known = ", ".join([*KINDS, *(f"{library}/NAME" for library in LIBRARIES)])
        raise ConfigError(f"search.students: {name!r} is unknown.{hint} Known: {known}.")
    return tuple(names)


def _range(
    name: str, value: Any, smallest: float, largest: float, *, is_whole: bool
) -> tuple[float, float]:
    """Check the two ends of a range; a number stands for a range of this value alone."""
    ends = [value, value] if isinstance(value, int | float) else value
    kind = int if is_whole else (int, float)
    is_pair = (
        isinstance(ends, Sequence)
        and len(ends) == 2
        and all(isinstance(end, kind) and not isinstance(end, bool) for end in ends)
    )
    if not is_pair or not smallest <= ends[0] <= ends[1] <= largest:
        what = "whole numbers" if is_whole else "numbers"
        raise ConfigError(
            f"{name}={value!r} should be two {what}, the smaller first, from {smallest:g} to "
            f"{largest:g}, as in {name}=[{_example(name)}]."
        )
    return ends[0], ends[1]


def _example(name: str) -> str:
    examples = {
        "width": "8,64",
        "depth": "1,2",
        "stride": "1,2",
        "temperature": "1,8",
        "soft_weight": "0.5,1",
        "lr": "0.001,0.01",
    }
    return examples[name.partition(".")[2]]
